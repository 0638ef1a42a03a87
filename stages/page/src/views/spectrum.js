/* What an embedding keeps: R² of the eigenfunctions of the positive pairs, after and before training, with maps of them. */

import { COLOURS, chart, colourOf } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { pageData, part } from "../data.js";
import { SCALES } from "../map.js";
import { results } from "../results.js";

export class SpectrumView {
  constructor(above, host, app) {
    this.app = app;
    this.functions = null;
    this.problem = "";
    const row = controls.row(above, "The eigenfunction");
    this.slider = controls.slider(row, "Eigenfunction", { low: 1, high: 16, value: 1, show: (k) => `ψ${k}`, changed: (k) => app.set({ k: k - 1 }) });
    this.chart = d3.select(host).append("div").attr("class", "chart").node();
    this.words = d3.select(host).append("output").attr("class", "readout").node();
    pageData.get("spectrum", "page_data/spectrum.js").then(
      (found) => {
        this.functions = found;
        app.render();
      },
      (error) => {
        this.problem = error.message;
        app.render();
      },
    );
  }

  get found() {
    return results.spectrum[this.app.state.b] ?? results.spectrum[this.app.state.a];
  }

  field(side, state) {
    const { found } = this;
    if (side === "b" || !this.functions?.functions.shape[0] || this.functions.view_noise !== found?.view_noise) {
      return null;
    }
    const { functions, largest } = this.functions;
    const k = Math.min(state.k, functions.shape[0] - 1);
    const { mixture } = this.app.truth();
    const field = {
      grid: this.app.domain.grid,
      values: part(functions, k),
      range: [-largest, largest],
      scale: SCALES.difference,
      unit: "",
      title: `The truth: eigenfunction ψ${k + 1}`,
      note: `of the positive pairs x + sε with s = ${found.view_noise}; λ = ${found.eigenvalues[k]?.toFixed(3) ?? "–"}; 0 where there is no data`,
      clipped: true,
    };
    return [field, { contours: state.contours ? mixture : null }];
  }

  render(state) {
    const { found } = this;
    if (!found) {
      this.words.textContent = "This method has no metrics of the spectrum.";
      this.chart.replaceChildren();
      return;
    }
    const count = found.eigenvalues.length;
    const k = Math.min(state.k, count - 1);
    this.slider.input.max = String(count);
    this.slider.set(k + 1);
    const name = results.spectrum[state.b] ? state.b : state.a;
    const { title } = this.app.methods.get(name);
    const rows = found.eigenvalues.map((value, i) => ({ k: i + 1, value, before: found.before[i], after: found.after[i] }));
    const colour = colourOf(name);
    const spread = ({ ruleX }, when, shift, stroke) =>
      ruleX(rows, { x: "k", y1: (one) => Math.max(0, one[when].mean - one[when].std), y2: (one) => Math.min(1, one[when].mean + one[when].std), stroke, dx: shift });
    chart(this.chart, `R² of each eigenfunction by ${title}`, (Plot) => ({
      x: { type: "band", label: "eigenfunction", labelOffset: 34, tickSize: 0 },
      y: { domain: [0, 1], label: "λ (bars), R² (○ before training, ● after)", grid: true },
      marks: [
        Plot.barY(rows, { x: "k", y: "value", fill: COLOURS.truth, fillOpacity: (one) => (one.k === k + 1 ? 0.9 : 0.35) }),
        spread(Plot, "before", -5, "currentColor"),
        spread(Plot, "after", 5, colour),
        Plot.dot(rows, { x: "k", y: (one) => one.before.mean, dx: -5, stroke: "currentColor", fill: "var(--ground)", r: 3.5 }),
        Plot.dot(rows, { x: "k", y: (one) => one.after.mean, dx: 5, fill: colour, r: 3.5 }),
      ],
    }));
    const one = rows[k];
    this.words.textContent = `ψ${k + 1}: λ = ${one.value.toFixed(3)}; R² by ${title}: ${one.before.mean.toFixed(3)} before training, ${one.after.mean.toFixed(3)} after, means over ${this.app.domain.seeds} seeds.`;
  }
}
