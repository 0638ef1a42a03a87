/* Training in the browser on modes that the visitor drags. */

import { COLOURS, chart } from "../charts.js";
import { ARROWS, controls } from "../controls.js";
import * as d3 from "../d3.js";
import { cosineEnergy } from "../fields.js";
import { extent, format } from "../learned.js";
import { DEPTH, SCALES } from "../map.js";
import { Run } from "../sandbox/run.js";
import { LOSSES, potential, SETTINGS } from "../sandbox/trainer.js";
import { Mixture } from "../truth.js";

/** Distance by which an arrow key moves a mode, in units of x. */
const STEP = 0.25;

export class SandboxView {
  static uses = ["contours"];

  constructor(above, host, app, panels) {
    this.app = app;
    this.panels = panels;
    const row = controls.row(above, "Your own training");
    this.choice = controls.choice(row, "Loss", Object.entries(LOSSES), (loss) => app.set({ loss }));
    this.button = controls.button(row, "Train", () => {
      if (this.run.training) {
        this.run.stop();
        app.render();
      } else {
        this.train();
      }
    });
    this.words = d3.select(host).append("output").attr("class", "readout").node();
    this.chart = d3.select(host).append("div").attr("class", "chart").node();
    this.kept = null;
    this.smooth = null;
    const { coarse } = app.domain;
    this.points = Float64Array.from(d3.range(coarse.size).flatMap((node) => coarse.point(node)));
    // The training outlives the view.
    app.run ??= new Run(() => app.render());
    /** @type {Run} */
    this.run = app.run;
    this.handles();
  }

  /** The means of the modes: the visitor's, or those of the data. */
  get means() {
    const { modes } = this.app.state;
    const { means } = this.app.domain;
    return modes.length === 2 * means.length ? means.map((_, k) => modes.slice(2 * k, 2 * k + 2)) : means;
  }

  get mixture() {
    const { weights, covariances } = this.app.domain;
    const key = this.means.join();
    if (this.kept?.key !== key) {
      this.kept = { key, mixture: new Mixture(weights, this.means, covariances) };
    }
    return this.kept.mixture;
  }

  /** The mixture that the maps show: with the noise of denoising score matching, for that loss. */
  get truth() {
    const sigma = (this.run.out?.loss ?? this.app.state.loss) === "dsm" ? SETTINGS.sigma : 0;
    const key = `${this.kept?.key} ${sigma}`;
    const { mixture } = this;
    if (this.smooth?.key !== key) {
      this.smooth = { key, sigma, mixture: sigma ? mixture.smoothed(sigma) : mixture };
    }
    return this.smooth;
  }

  /** Handles on the modes: dragged, or moved by the arrow keys. */
  handles() {
    const { app } = this;
    const { map } = this.panels.a;
    this.grips = map.layers.marks.append("g").attr("class", "grips");
    this.grips
      .selectAll("circle")
      .data(this.means.map((_, k) => k))
      .join("circle")
      .attr("tabindex", 0)
      .attr("role", "slider")
      .attr("aria-valuemin", 0)
      .attr("aria-valuemax", app.domain.grid.size - 1)
      .attr("aria-label", (k) => `Mode ${k + 1}; arrow keys move it`)
      .on("pointerdown", (event, k) => {
        event.stopPropagation();
        event.target.setPointerCapture(event.pointerId);
        this.held = k;
      })
      .on("pointermove", (event, k) => this.held === k && this.place(k, map.at(event)))
      .on("pointerup pointercancel", () => {
        this.held = null;
      })
      .on("keydown", (event, k) => {
        const step = ARROWS[event.key];
        if (step) {
          event.preventDefault();
          this.place(k, this.means[k].map((value, d) => value + STEP * step[d]));
        }
      });
  }

  place(k, [x, y]) {
    const { grid } = this.app.domain;
    const means = this.means.map((mean) => [...mean]);
    means[k] = grid.within(x, y);
    // What was learned on other modes says nothing about these.
    this.run.clear();
    this.app.set({ modes: means.flat() });
  }

  train() {
    const { weights, covariances } = this.app.domain;
    const loss = Object.hasOwn(LOSSES, this.app.state.loss) ? this.app.state.loss : "dsm";
    this.run.start({ loss, means: this.means, covariances, weights }, this.points);
    this.app.render();
  }

  field(side) {
    const { app } = this;
    const { coarse } = app.domain;
    const { mixture, sigma } = this.truth;
    const contours = app.state.contours ? mixture : null;
    const energy = { range: [0, DEPTH], scale: SCALES.energy, unit: "nats", clipped: true, grid: coarse };
    const above = (values) => {
      const [low] = extent(values);
      return Float32Array.from(values, (value) => value - low);
    };
    if (side === "a") {
      const values = above(coarse.sample((x, y) => -mixture.logDensity(x, y)));
      return [{ ...energy, values, title: "Your mixture", note: `true energy above its minimum${sigma ? ` at the noise level σ = ${format(sigma)}` : ""}; drag the modes` }, { contours }];
    }
    const { out } = this.run;
    const title = "Your own run";
    if (!out) {
      return [{ ...energy, values: [], empty: true, title, note: "nothing is trained yet" }, {}];
    }
    const note = `${LOSSES[out.loss]}, step ${out.step} of ${SETTINGS.steps}, trained in this browser`;
    if (out.loss === "dsm") {
      const spacing = (axis) => (axis.at(-1) - axis[0]) / (axis.length - 1);
      const values = above(potential(out.values, coarse.x.length, coarse.y.length, spacing(coarse.x), spacing(coarse.y)));
      return [{ ...energy, values, title, note: `potential of the score at σ = ${format(SETTINGS.sigma)}: ${note}` }, { contours }];
    }
    const values = cosineEnergy(out.values, SETTINGS.dimension, coarse.node(...app.reference), new Float32Array(coarse.size));
    return [{ ...energy, values, range: [-1, 1], unit: "−cos", clipped: false, title, note }, { contours, reference: app.reference }];
  }

  render(state) {
    const { run } = this;
    this.choice.value = state.loss;
    this.button.textContent = run.training ? "Stop" : "Train";
    const { map } = this.panels.a;
    this.grips
      .selectAll("circle")
      .attr("cx", (k) => map.x(this.means[/** @type {number} */ (k)][0]))
      .attr("cy", (k) => map.y(this.means[/** @type {number} */ (k)][1]))
      .attr("aria-valuenow", (k) => this.app.domain.grid.node(...this.means[/** @type {number} */ (k)]))
      .attr("aria-valuetext", (k) => this.means[/** @type {number} */ (k)].map(format).join(", "));
    map.svg.selectAll(".mode").style("display", "none");
    this.panels.b.map.svg.selectAll(".mode").style("display", "none");
    const last = run.curve.at(-1);
    const own = run.out && run.out.loss !== "dsm";
    const found = last && `Loss ${last.loss.toPrecision(3)}${own ? `, spread of the embeddings ${last.spread.toFixed(2)}` : ""} at step ${last.step}.`;
    this.words.textContent = run.problem || `${found ?? "A small network trains in a worker of this browser."} This run is yours: no number of the project comes from it.`;
    if (run.curve.length > 1) {
      const y = own ? { key: "spread", label: "spread of the L2-normalised embeddings (0: collapsed)", domain: [0, 1] } : { key: "loss", label: "loss" };
      chart(this.chart, `${y.label} over the steps of this run`, ({ lineY }) => ({
        height: 150,
        marginLeft: 56,
        x: { label: "step", labelOffset: 34, domain: [0, SETTINGS.steps] },
        y: { label: y.label, domain: y.domain, grid: true },
        marks: [lineY(run.curve, { x: "step", y: y.key, stroke: COLOURS.learned, strokeWidth: 2 })],
      }));
    } else {
      this.chart.replaceChildren();
    }
  }

  close() {
    this.grips.remove();
    for (const panel of Object.values(this.panels)) {
      panel.map.svg.selectAll(".mode").style("display", null);
    }
  }
}
