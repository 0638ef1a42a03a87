/* What an embedding keeps: R² of the eigenfunctions of the positive pairs, after and before training, with maps of them. */

import * as d3 from "./d3.js";
import { part } from "./data.js";
import { LEVELS, PlaneMap, SCALES } from "./map.js";

export class Spectrum {
  /** `found` has the method's metrics (stages/report.py); `domain.spectrum` the eigenfunctions on the grid, for one noise of the views. */
  constructor(host, section, found) {
    this.found = found;
    this.domain = section.domain;
    this.shown = 0;
    const box = d3.select(host).append("section").attr("class", "spectrum");
    box.append("h4").text("What the embedding keeps");
    box
      .append("p")
      .text(
        `Two views of a point, x + sε with s = ${found.view_noise}, both noisy, define functions that hardly differ between them: eigenfunctions ψ with large eigenvalues λ. Dots show how much of each (R²) can be read linearly from the embedding, mean and standard deviation over seeds.`,
      );
    this.svg = box.append("svg").attr("viewBox", "0 0 560 230").attr("role", "group").attr("class", "density").attr("aria-label", "R² of each eigenfunction");
    this.readout = box.append("output").attr("class", "readout").node();
    const { spectrum } = this.domain;
    if (spectrum && spectrum.view_noise === found.view_noise && spectrum.functions.shape[0]) {
      const side = box.append("div").attr("class", "sides").append("div");
      this.title = side.append("h5").node();
      this.map = new PlaneMap(side.node(), this.domain.grid, { size: 240, label: "eigenfunction" });
    }
    const { grid, mixture } = this.domain;
    const density = grid.sample((x, y) => mixture.logDensity(x, y));
    const highest = Math.max(...density);
    this.logDensity = density.map((value) => value - highest);
    this.draw();
    this.choose(0);
  }

  draw() {
    const { found } = this;
    const count = found.eigenvalues.length;
    const x = d3.scaleBand(d3.range(count), [40, 550]).padding(0.25);
    const y = d3.scaleLinear([0, 1], [180, 12]);
    this.svg.append("g").attr("class", "axis").attr("transform", "translate(40,0)").call(d3.axisLeft(y).ticks(5));
    this.svg.append("text").attr("x", 295).attr("y", 216).attr("text-anchor", "middle").text("eigenfunction; choose one to see it");
    this.bars = found.eigenvalues.map((value, k) => {
      const bar = this.svg.append("g").attr("class", "eigenfunction").attr("tabindex", 0).attr("role", "button").attr("aria-label", this.label(k));
      bar.append("rect").attr("class", "behind").attr("x", x(k)).attr("width", x.bandwidth()).attr("y", 8).attr("height", 190);
      bar.append("rect").attr("class", "eigenvalue").attr("x", x(k)).attr("width", x.bandwidth()).attr("y", y(value)).attr("height", y(0) - y(value));
      bar.append("text").attr("x", x(k) + x.bandwidth() / 2).attr("y", 196).attr("text-anchor", "middle").text(k + 1);
      for (const [kind, { mean, std }] of [["before", found.before[k]], ["after", found.after[k]]]) {
        const at = x(k) + x.bandwidth() * (kind === "before" ? 0.3 : 0.7);
        bar.append("path").attr("class", kind).attr("d", `M${at},${y(Math.max(0, mean - std))}V${y(Math.min(1, mean + std))}`);
        bar.append("circle").attr("class", kind).attr("cx", at).attr("cy", y(mean)).attr("r", 4);
      }
      bar.on("click", () => this.choose(k));
      bar.on("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          this.choose(k);
        }
      });
      return bar;
    });
    const legend = [["eigenvalue λ", "eigenvalue"], ["R² before training", "before"], ["R² after training", "after"]];
    legend.forEach(([name, kind], i) => {
      const row = this.svg.append("g").attr("transform", `translate(${50 + 170 * i},226)`);
      row.append(kind === "eigenvalue" ? "rect" : "circle").attr("class", kind).attr("r", 4).attr("y", -5).attr("x", -5).attr("width", 10).attr("height", 10);
      row.append("text").attr("x", 10).attr("y", 4).text(name);
    });
  }

  /** The numbers of eigenfunction `k`, counted from 0. */
  label(k) {
    const { eigenvalues, after, before } = this.found;
    return `ψ${k + 1}: λ = ${eigenvalues[k].toFixed(3)}; R² ${before[k].mean.toFixed(3)} before training, ${after[k].mean.toFixed(3)} after`;
  }

  choose(k) {
    this.shown = k;
    this.readout.textContent = this.label(k);
    for (const [place, bar] of this.bars.entries()) {
      bar.attr("aria-pressed", place === k);
    }
    if (this.map) {
      const values = part(this.domain.spectrum.functions, k);
      const most = this.domain.spectrum.largest;
      this.map.show(this.domain.grid, values, [-most, most], SCALES.difference);
      this.map.contours(this.logDensity, LEVELS);
      this.title.textContent = `eigenfunction ψ${k + 1}`;
      this.map.svg.attr("aria-label", `eigenfunction ${k + 1} in the plane`);
    }
  }

  changed(_state) {}

  close() {}
}
