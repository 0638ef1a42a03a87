/* The parts of d3 that the page uses. */

export { ascending, descending, extent, max, mean, min, minIndex, range, sort, sum } from "d3-array";
export { axisBottom, axisLeft } from "d3-axis";
export { rgb } from "d3-color";
export { contours } from "d3-contour";
export { format } from "d3-format";
export { geoPath, geoTransform } from "d3-geo";
export { quadtree } from "d3-quadtree";
export { randomNormal } from "d3-random";
export { scaleLinear } from "d3-scale";
export { interpolatePuOr, interpolateViridis } from "d3-scale-chromatic";
export { pointer, select } from "d3-selection";
export { line } from "d3-shape";
