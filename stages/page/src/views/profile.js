/* The energy along the line between two modes: the true one and the learned one. */

import { COLOURS, chart, colourOf } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { scalarAt } from "../fields.js";
import { fixed, TRUTH } from "../learned.js";
import { DEPTH } from "../map.js";

/** Samples along the line, and how far it goes beyond the modes, as a fraction of their distance. */
const SAMPLES = 161;
const BEYOND = 0.25;

export class ProfileView {
  constructor(above, host, app) {
    this.app = app;
    /** @type {number[] | null} */
    this.range = null;
    const row = controls.row(above, "The line");
    const modes = app.domain.means.map((_, k) => [String(k), String(k + 1)]);
    this.from = controls.choice(row, "From mode", modes, (k) => app.set({ from: Number(k) }));
    this.to = controls.choice(row, "to mode", modes, (k) => app.set({ to: Number(k) }));
    this.chart = d3.select(host).append("div").attr("class", "chart").node();
    this.words = d3.select(host).append("output").attr("class", "readout").node();
  }

  /** The points of the line, with their positions t: 0 at one mode, 1 at the other. */
  get line() {
    const { means } = this.app.domain;
    const [first, second] = this.ends.map((k) => means[k]);
    return d3.range(SAMPLES).map((i) => {
      const t = (i / (SAMPLES - 1)) * (1 + 2 * BEYOND) - BEYOND;
      return { t, x: first[0] + t * (second[0] - first[0]), y: first[1] + t * (second[1] - first[1]) };
    });
  }

  /** A range for the energies along all lines: those of the truth, with room for the errors of a method. */
  reach(mixture) {
    const { means } = this.app.domain;
    const energies = means.map((mean) => -mixture.logDensity(...mean));
    const gap = Number(d3.max(energies)) - Number(d3.min(energies));
    let top = 0;
    for (const [i, one] of means.entries()) {
      for (const other of means.slice(i + 1)) {
        for (const t of d3.range(0, 1, 0.02)) {
          const energy = -mixture.logDensity(one[0] + t * (other[0] - one[0]), one[1] + t * (other[1] - one[1]));
          top = Math.max(top, energy - Math.min(energies[i], energies[means.indexOf(other)]));
        }
      }
    }
    return [-Math.ceil(gap + 0.5), Math.min(DEPTH, Math.ceil(top + 1))];
  }

  get ends() {
    const last = this.app.domain.means.length - 1;
    const from = Math.min(this.app.state.from, last);
    const to = Math.min(this.app.state.to, last);
    // Two modes, unless the mixture has one.
    return [from, to === from && last > 0 ? (from + 1) % (last + 1) : to];
  }

  over() {
    return { lines: [this.line.map(({ x, y }) => [x, y])], reference: undefined };
  }

  render(state) {
    const { app, line } = this;
    [this.from.value, this.to.value] = this.ends.map(String);
    for (const [select, other] of [[this.from, this.to], [this.to, this.from]]) {
      for (const option of select.options) {
        option.disabled = option.value === other.value;
      }
    }
    const name = [state.b, state.a].find((one) => one !== TRUTH);
    const learned = name && app.get(name);
    if (!learned || learned.embeds) {
      this.words.textContent = learned ? `${learned.title} has no energy of single points.` : "";
      this.chart.replaceChildren();
      return;
    }
    const { mixture } = app.truth(learned.sigma);
    const { grid, values } = learned.energy(state);
    // Both are shown relative to the first mode: an energy is known up to a constant.
    const relative = (energy) => {
      const start = energy(line.find(({ t }) => t >= 0));
      return line.map((point) => ({ t: point.t, energy: energy(point) - start }));
    };
    this.range ??= this.reach(mixture);
    const truth = relative(({ x, y }) => -mixture.logDensity(x, y));
    const found = relative(({ x, y }) => scalarAt(values, grid, x, y));
    const [from, to] = this.ends.map((k) => k + 1);
    chart(this.chart, `Energy along the line from mode ${from} to mode ${to}`, ({ lineY, ruleX }) => ({
      x: { label: `position: 0 at mode ${from}, 1 at mode ${to}`, labelOffset: 34 },
      y: { label: `energy above that at mode ${from}, nats`, grid: true, domain: this.range, clamp: true },
      marks: [
        ruleX([0, 1], { stroke: "currentColor", strokeDasharray: "2 3" }),
        lineY(truth, { x: "t", y: "energy", stroke: COLOURS.truth, strokeWidth: 2.5 }),
        lineY(found, { x: "t", y: "energy", stroke: colourOf(name), strokeWidth: 2.5, strokeDasharray: "6 3" }),
      ],
    }));
    const at = (curve) => curve.reduce((best, one) => (Math.abs(one.t - 1) < Math.abs(best.t - 1) ? one : best)).energy;
    const error = at(found) - at(truth);
    this.words.textContent = `Energy at mode ${to} minus that at mode ${from}: ${fixed(at(truth))} nats for the truth (solid), ${fixed(at(found))} for ${learned.title} (dashed). The error of ${fixed(error)} nats multiplies the ratio of the two modes' weights by ${Math.exp(-error).toPrecision(2)}.`;
  }
}
