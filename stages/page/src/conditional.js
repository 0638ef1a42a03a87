/* Conditional density of one coordinate given the other, true and predicted by a masked method, along a line in the plane. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { part } from "./data.js";
import { lineDensity } from "./truth.js";

export class Conditional {
  constructor(host, learned, section) {
    this.learned = learned;
    this.section = section;
    this.domain = section.domain;
    this.seen = 1;
    const box = d3.select(host).append("section").attr("class", "conditional");
    box.append("h4").text("Conditional density of one coordinate given the other");
    box.append("p").text("The line fixes the observed coordinate and follows the reference point on the map. The plot shows the true density of the hidden coordinate along the line and the method's prediction of it, for the first seed at the end of training.");
    const row = controls.row(box.node(), "The line");
    controls.choice(
      row,
      "The line is",
      [
        [1, "horizontal: the second coordinate is observed"],
        [0, "vertical: the first coordinate is observed"],
      ],
      (seen) => this.line(Number(seen)),
    );
    const { grid } = this.domain;
    this.place = controls.slider(row, "at", { high: grid.x.length - 1, show: (place) => (this.seen ? grid.y : grid.x)[place].toFixed(2), changed: () => this.draw() });
    this.svg = box.append("svg").attr("viewBox", "0 0 560 240").attr("role", "img").attr("class", "density");
    this.words = box.append("output").attr("class", "readout").node();
    this.changed(section.state);
  }

  line(seen) {
    this.seen = seen;
    this.reference = null;
    this.changed(this.section.state);
  }

  /** Move the line through the reference point when that has moved. */
  changed({ reference }) {
    if (reference !== this.reference) {
      const { column, row } = this.domain.grid.nearest(...reference);
      this.place.set(this.seen ? row : column);
      this.reference = reference;
      this.draw();
    }
  }

  close() {
    this.section.map.layers.lines.selectAll("*").remove();
  }

  draw() {
    const { domain, learned, seen } = this;
    const { conditional } = learned.content;
    const axes = [domain.grid.x, domain.grid.y];
    const [value, along] = [axes[seen][this.place.value], axes[1 - seen]];
    const truth = domain.mixture.conditional(seen, value);
    const fine = d3.range(0, 401).map((i) => along[0] + (i / 400) * (along.at(-1) - along[0]));
    const curves = [{ name: "true density", kind: "true", points: fine.map((x) => [x, lineDensity(truth, x)]) }];
    if (conditional.density) {
      const count = along.length;
      const values = part(conditional.density, seen).subarray(this.place.value * count, (this.place.value + 1) * count);
      curves.push({ name: "learned density", kind: "learned", points: along.map((x, i) => [x, values[i]]) });
    }
    const mean = d3.sum(truth.weights, (weight, k) => weight * truth.means[k]);
    const point = part(conditional.point, seen)[this.place.value];
    const marks = [
      { name: "true mean", kind: "true", at: mean },
      { name: "learned prediction", kind: "learned", at: point },
    ];
    const x = d3.scaleLinear([along[0], along.at(-1)], [40, 550]);
    const highest = d3.max(curves, (curve) => d3.max(curve.points, (p) => p[1]));
    const y = d3.scaleLinear([0, highest], [205, 12]);
    this.svg.selectAll("*").remove();
    this.svg.append("g").attr("class", "axis").attr("transform", "translate(0,205)").call(d3.axisBottom(x).ticks(8));
    this.svg.append("g").attr("class", "axis").attr("transform", "translate(40,0)").call(d3.axisLeft(y).ticks(4));
    this.svg.append("text").attr("x", 295).attr("y", 236).attr("text-anchor", "middle").text(seen ? "first coordinate" : "second coordinate");
    const line = d3.line((p) => x(p[0]), (p) => y(p[1]));
    for (const { name, kind, points } of curves) {
      this.svg.append("path").attr("class", `curve ${kind}`).attr("d", line(/** @type {[number, number][]} */ (points))).append("title").text(name);
    }
    for (const { name, kind, at } of marks) {
      this.svg.append("path").attr("class", `mean ${kind}`).attr("d", `M${x(at)},12V205`).append("title").text(name);
    }
    const legend = [...curves.map((c) => [c.name, `curve ${c.kind}`]), ...marks.map((m) => [m.name, `mean ${m.kind}`])];
    legend.forEach(([name, kind], i) => {
      const row = this.svg.append("g").attr("transform", `translate(${x(along[0]) + 8},${18 + 15 * i})`);
      row.append("path").attr("class", kind).attr("d", "M0,0H18");
      row.append("text").attr("x", 24).attr("y", 4).text(name);
    });
    this.words.textContent = `${seen ? "second" : "first"} coordinate ${value.toFixed(2)}: true mean ${mean.toFixed(2)}, learned prediction ${point.toFixed(2)}`;
    this.svg.attr("aria-label", this.words.textContent);
    const { map } = this.section;
    const ends = [
      [along[0], along.at(-1)].map((end) => (seen ? [end, value] : [value, end])),
    ];
    map.layers.lines
      .selectAll("path")
      .data(ends)
      .join("path")
      .attr("d", (points) => d3.line((p) => map.x(p[0]), (p) => map.y(p[1]))(points));
  }
}
