/* A map with its title, legend and readout. */

import { ARROWS } from "./controls.js";
import * as d3 from "./d3.js";
import { Grid } from "./fields.js";
import { fixed, format } from "./learned.js";
import { LEVELS, PlaneMap, paint } from "./map.js";

const BAR = new Grid(d3.range(256), [0]);
const STEPS = d3.range(256);

export class Panel {
  /** `side` is "a" or "b"; `listeners` as those of `PlaneMap.listen`. */
  constructor(host, domain, side, { moved, clicked }) {
    this.domain = domain;
    this.box = d3.select(host).append("div").attr("class", "panel").attr("data-side", side);
    const head = this.box.append("h3");
    this.title = head.append("span").node();
    this.badge = head.append("span").attr("class", "badge").attr("hidden", true).text("collapsed").node();
    this.map = new PlaneMap(this.box.node(), domain.grid, { size: 400, label: "map", role: "group" });
    const legend = this.box.append("div").attr("class", "legend");
    this.low = legend.append("span").node();
    this.bar = legend.append("canvas").attr("width", 256).attr("height", 1).attr("aria-hidden", true).node();
    this.high = legend.append("span").node();
    this.unit = legend.append("span").attr("class", "unit").node();
    this.note = this.box.append("p").attr("class", "note").node();
    this.readout = this.box.append("output").attr("class", "readout").node();
    this.map.listen({ moved, clicked, hovered: (x, y) => this.tell(x, y), mark: ".reference" });
    domain.means.forEach(([x, y], k) => {
      this.map.layers.marks.append("text").attr("class", "mode").attr("x", this.map.x(x)).attr("y", this.map.y(y)).text(k + 1);
    });
    this.mark = this.reference(moved);
  }

  /** The reference point: the pointer drags it, and the arrow keys move it by one node of the grid that is shown. */
  reference(moved) {
    // The circle that the pointer grabs is larger than the dot that is seen.
    this.dot = this.map.layers.marks.append("circle").attr("class", "dot").style("display", "none");
    const mark = this.map.layers.marks.append("circle").attr("class", "reference").attr("tabindex", 0);
    mark.attr("role", "slider").attr("aria-label", "Reference point; arrow keys move it").attr("aria-valuemin", 0).style("display", "none");
    mark.on("keydown", (event) => {
      const step = ARROWS[event.key];
      if (step && this.steps) {
        event.preventDefault();
        const grid = this.steps;
        const { column, row } = grid.nearest(...this.at);
        const kept = (axis, place) => axis[Math.max(0, Math.min(axis.length - 1, place))];
        moved(kept(grid.x, column + step[0]), kept(grid.y, row + step[1]));
      }
    });
    return mark;
  }

  /**
   * Show a field; what lies over it depends on `over`: the mixture whose contours are drawn, test points, arrows
   * [[x, y, u, v], …], and the reference point, as a `ring` where the colours under it matter.
   *
   * @param {import("./learned.js").Field} field
   * @param {{contours?: any, points?: number[][], arrows?: number[][], reference?: number[], ring?: boolean, steps?: import("./fields.js").Grid, collapsed?: boolean, lines?: number[][][]}} over
   */
  show(field, { contours, points = [], arrows = [], reference, ring = false, steps = field.grid, collapsed = false, lines = [] }) {
    this.shown = field;
    const { map } = this;
    const empty = field.empty ?? false;
    this.box.attr("data-empty", empty ? "" : null).attr("data-ring", ring ? "" : null);
    empty ? map.clear() : map.show(field.grid, field.values, field.range, field.scale);
    this.title.textContent = field.title;
    this.badge.hidden = !collapsed;
    paint(this.bar, BAR, STEPS, [0, 255], field.scale);
    this.low.textContent = `${field.clipped && field.range[0] < 0 ? "≤ " : ""}${format(field.range[0])}`;
    this.high.textContent = `${field.clipped ? "≥ " : ""}${format(field.range[1])}`;
    this.unit.textContent = field.unit;
    this.note.textContent = field.note;
    map.svg.attr("aria-label", `${field.title}: ${field.note}, in the plane`);
    if (this.contoured !== contours) {
      this.contoured = contours;
      const top = contours && Math.max(...contours.means.map((mean) => contours.logDensity(...mean)));
      map.contours(contours ? this.domain.grid.sample((x, y) => contours.logDensity(x, y) - top) : null, LEVELS);
    }
    if (this.pointed !== points) {
      this.pointed = points;
      map.points(points);
    }
    map.arrows(arrows);
    map.line(lines);
    /** The grid of the reference points that have a value; null without a reference point. */
    this.steps = reference ? steps : null;
    this.mark.style("display", reference ? null : "none");
    this.dot.style("display", reference ? null : "none");
    if (reference) {
      // On a coarser grid the mark sits at the node whose value is shown.
      const node = steps.node(...reference);
      this.at = steps.point(node);
      this.dot.attr("cx", map.x(this.at[0])).attr("cy", map.y(this.at[1]));
      this.mark
        .attr("cx", map.x(this.at[0]))
        .attr("cy", map.y(this.at[1]))
        .attr("aria-valuemax", steps.size - 1)
        .attr("aria-valuenow", node)
        .attr("aria-valuetext", `x ${this.at[0].toFixed(2)}, y ${this.at[1].toFixed(2)}`);
    }
    this.tell(...(this.pointer ?? []));
  }

  /** Show the value at the pointer. */
  tell(x, y) {
    this.pointer = x === undefined ? null : [x, y];
    if (!this.pointer || !this.shown || this.shown.empty) {
      this.readout.textContent = "";
      return;
    }
    const value = this.shown.values[this.shown.grid.node(x, y)];
    this.readout.textContent = `at (${fixed(x)}, ${fixed(y)}): ${fixed(value, 3)} ${this.shown.unit}`;
  }
}
