/* A map: a scalar field as colours on a canvas; axes, contours, points, arrows and marks as SVG on top. */

import * as d3 from "./d3.js";

/** Range of the colour scale of an energy, in nats above its minimum. */
export const DEPTH = 12;
/** Contour levels of the analytic log-density, in nats below its maximum. */
export const LEVELS = [-8, -5, -3, -2, -1, -0.5, -0.1];

/**
 * 256 colours of a colour scale, as RGB bytes.
 *
 * @returns {Uint8Array<ArrayBuffer>}
 */
function colours(interpolate) {
  return Uint8Array.from(d3.range(256).flatMap((i) => Object.values(d3.rgb(interpolate(i / 255))).slice(0, 3)));
}

/** Energy is perceptually uniform and dark where low, so a well looks deep; differences diverge. Both suit colour blindness. */
export const SCALES = { energy: colours(d3.interpolateViridis), difference: colours((t) => d3.interpolatePuOr(1 - t)) };

/** Paint a field, rows from the bottom up, on a canvas with one pixel per node; CSS scales the canvas. */
export function paint(canvas, grid, values, [low, high], scale) {
  const width = grid.x.length;
  const height = grid.y.length;
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const factor = 255 / (high - low || 1);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = values[(height - 1 - row) * width + column];
      const colour = 3 * Math.max(0, Math.min(255, Math.round((value - low) * factor)));
      const pixel = 4 * (row * width + column);
      image.data[pixel] = scale[colour];
      image.data[pixel + 1] = scale[colour + 1];
      image.data[pixel + 2] = scale[colour + 2];
      image.data[pixel + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

export const percent = (value, of) => `${(100 * value) / of}%`;

/** Pixels left of, right of, above and below the box, for the numbers at the axes. */
const MARGINS = [28, 8, 8, 22];

/** Maps made so far; each needs an ID of its own. */
let counted = 0;

export class PlaneMap {
  /**
   * A map of the box of `grid` in the element `host`. `label` is for screen readers; without it they skip the map.
   *
   * @param {Element} host
   * @param {import("./fields.js").Grid} grid
   * @param {{size?: number, axes?: boolean, label?: string, role?: string}} options
   */
  constructor(host, grid, { size = 480, axes = true, label, role = "img" }) {
    this.grid = grid;
    const [width, height] = [size, (size * (grid.y.at(-1) - grid.y[0])) / (grid.x.at(-1) - grid.x[0])];
    this.x = d3.scaleLinear([grid.x[0], grid.x.at(-1)], [0, width]);
    this.y = d3.scaleLinear([grid.y[0], grid.y.at(-1)], [height, 0]);
    this.size = { width, height };
    this.figure = d3.select(host).append("div").attr("class", "map");
    const canvas = () => this.figure.append("canvas").attr("aria-hidden", true).node();
    this.canvas = canvas();
    this.particles = axes ? canvas() : null;
    this.svg = this.figure
      .append("svg")
      .attr("role", label ? role : null)
      .attr("aria-label", label ?? null)
      .attr("aria-hidden", label ? null : true);
    this.layers = Object.fromEntries(
      ["contours", "points", "arrows", "lines", "marks"].map((name) => [name, this.svg.append("g").attr("class", name)]),
    );
    if (axes) {
      new ResizeObserver(() => this.fit(this.figure.node().clientWidth)).observe(this.figure.node());
      // Lines may leave the box; the axes stay free of them.
      const id = `box-${counted++}`;
      this.svg.append("clipPath").attr("id", id).append("rect").attr("width", width).attr("height", height);
      this.layers.lines.attr("clip-path", `url(#${id})`);
      this.svg.append("g").attr("class", "axis").attr("transform", `translate(0,${height})`).call(d3.axisBottom(this.x).ticks(6));
      this.svg.append("g").attr("class", "axis").call(d3.axisLeft(this.y).ticks(6));
      Object.assign(this.particles, { width: 2 * width, height: 2 * height });
    }
    // Until its width on the screen is known.
    this.fit(size);
  }

  /** Set the margins, so that they, marks and letters keep their size on the screen however wide the map is there, in pixels. */
  fit(pixels) {
    if (!pixels) {
      return;
    }
    const [left, right, top, bottom] = this.particles ? MARGINS : [0, 0, 0, 0];
    const { width, height } = this.size;
    const unit = width / Math.max(40, pixels - left - right);
    const full = [width + (left + right) * unit, height + (top + bottom) * unit];
    this.frame = { left: left * unit, top: top * unit, full };
    this.svg.style("--unit", unit.toFixed(3)).attr("viewBox", `${-this.frame.left} ${-this.frame.top} ${full[0]} ${full[1]}`);
    this.figure.style("aspect-ratio", `${full[0]} / ${full[1]}`);
    if (this.particles) {
      this.cover(this.particles, 0, 0);
    }
    if (this.shown) {
      this.settle(this.shown);
    } else {
      this.cover(this.canvas, 0, 0);
    }
  }

  /** Let a canvas cover the box, and a fraction of its width and height beyond each side. */
  cover(canvas, across, up) {
    const { width, height } = this.size;
    const { left, top, full } = this.frame;
    Object.assign(canvas.style, {
      left: percent(left - across * width, full[0]),
      top: percent(top - up * height, full[1]),
      width: percent(width * (1 + 2 * across), full[0]),
      height: percent(height * (1 + 2 * up), full[1]),
    });
  }

  /** Show a field on a grid of the same box. Nodes are pixel centres, so the outer half of the edge pixels is clipped. */
  show(grid, values, range, scale = SCALES.energy) {
    paint(this.canvas, grid, values, range, scale);
    if (this.shown !== grid) {
      this.settle(grid);
    }
  }

  /** Show no field. */
  clear() {
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Place the canvas of a field on a grid. */
  settle(grid) {
    this.shown = grid;
    this.cover(this.canvas, ...[grid.x, grid.y].map((axis) => 0.5 / (axis.length - 1)));
    const [across, up] = [grid.x, grid.y].map((axis) => `${50 / axis.length}%`);
    this.canvas.style.clipPath = `inset(${up} ${across})`;
  }

  /** Draw contour lines of a field on the map's own grid; none if `values` is null. */
  contours(values, levels) {
    const { x, y } = this.grid;
    const lines = values ? d3.contours().size([x.length, y.length]).thresholds(levels)(values) : [];
    const place = d3.geoTransform({
      point(column, row) {
        this.stream.point(at(x, column), at(y, row));
      },
    });
    // In d3 a node is the centre of a cell of side 1.
    const step = (axis) => (axis.at(-1) - axis[0]) / (axis.length - 1);
    const scales = new Map([
      [x, this.x],
      [y, this.y],
    ]);
    const at = (axis, cell) => scales.get(axis)(axis[0] + (cell - 0.5) * step(axis));
    this.layers.contours.selectAll("path").data(lines).join("path").attr("d", d3.geoPath(place));
  }

  /** Draw small dots at points [[x, y], …]. */
  points(points) {
    this.layers.points
      .selectAll("circle")
      .data(points)
      .join("circle")
      .attr("r", 1.4)
      .attr("cx", (p) => this.x(p[0]))
      .attr("cy", (p) => this.y(p[1]));
  }

  /** Draw arrows [[x, y, u, v], …]. Their lengths saturate, because scores grow with the distance from the data. */
  arrows(arrows) {
    const length = (u, v) => 13 * (1 - Math.exp(-Math.hypot(u, v) / 2));
    this.layers.arrows
      .selectAll("path")
      .data(arrows)
      .join("path")
      .attr("d", ([x, y, u, v]) => {
        const [a, b] = [this.x(x), this.y(y)];
        const [s, t] = [length(u, v), Math.atan2(-v, u)];
        const [c, d] = [a + s * Math.cos(t), b + s * Math.sin(t)];
        const head = (turn) => `${c - 3.5 * Math.cos(t + turn)},${d - 3.5 * Math.sin(t + turn)}`;
        return `M${a},${b}L${c},${d}M${head(0.5)}L${c},${d}L${head(-0.5)}`;
      });
  }

  /** Draw lines, each a list of points [[x, y], …]. */
  line(lines) {
    this.layers.lines
      .selectAll("path")
      .data(lines)
      .join("path")
      .attr("d", d3.line((p) => this.x(p[0]), (p) => this.y(p[1])));
  }

  /**
   * The point of the plane at a pointer event.
   *
   * @returns {[number, number]}
   */
  at(event) {
    const [a, b] = d3.pointer(event, this.svg.node());
    return [this.x.invert(a), this.y.invert(b)];
  }

  /** Whether a point of the plane is on the map. */
  holds([x, y]) {
    const [[left, right], [low, high]] = [this.x.domain(), this.y.domain()];
    return x >= left && x <= right && y >= low && y <= high;
  }

  /**
   * Call `moved(x, y)` while the pointer is dragged, `clicked(x, y)` when the map is clicked or tapped, `hovered(x, y)` when the
   * pointer moves over the map, and `hovered()` when it leaves. Touch drags only the element that matches `mark`; elsewhere it
   * scrolls the page.
   */
  listen({ moved, clicked, hovered, mark }) {
    const node = this.svg.node();
    let held = false;
    node.addEventListener("pointerdown", (event) => {
      const grabbed = event.pointerType !== "touch" || /** @type {Element} */ (event.target).matches(mark);
      held = grabbed && event.button === 0 && this.holds(this.at(event));
      if (held) {
        node.setPointerCapture(event.pointerId);
      }
    });
    node.addEventListener("pointermove", (event) => {
      const point = this.at(event);
      if (held) {
        moved(...point);
      }
      this.holds(point) ? hovered(...point) : hovered();
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      node.addEventListener(end, () => (held = false));
    }
    node.addEventListener("pointerleave", () => hovered());
    this.svg.on("click", (event) => {
      const point = this.at(event);
      if (this.holds(point)) {
        clicked(...point);
      }
    });
  }
}
