/* Collapse: the embeddings of the test points over training, and what prevents collapse in the ablation study. */

import { COLOURS, chart, colourOf, LABEL as label } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { part } from "../data.js";
import { TRUTH } from "../learned.js";
import { results } from "../results.js";
import { CLASS_COLOURS } from "../scatter.js";
import { Training } from "../training.js";

/** Half the side of the scatter plots; embeddings of length 1 minus their mean lie within 2. */
const REACH = 1.5;
const SIDE = 360;
const FLOOR = "variance floor (VICReg)";

export class CollapseView {
  static uses = ["methods"];

  sides = [];

  constructor(above, host, app) {
    this.app = app;
    /** @type {number[] | null} */
    this.modes = null;
    const row = controls.row(above, "Training of the shown methods");
    this.training = new Training(row, app);
    const sides = d3.select(host).append("div").attr("class", "sides");
    this.plots = ["a", "b"].map((side) => {
      const box = sides.append("figure").attr("class", "cloud");
      const head = box.append("h3");
      const title = head.append("span").node();
      const badge = head.append("span").attr("class", "badge").text("collapsed").node();
      const canvas = box.append("canvas").attr("width", SIDE).attr("height", SIDE).attr("role", "img").node();
      return { side, title, badge, canvas, caption: box.append("figcaption").node() };
    });
    d3.select(host).append("p").attr("class", "note").text("L2-normalised embeddings of the test points minus their mean, on two principal components, coloured by mode.");
    const study = d3.select(host).append("section").attr("class", "ablation");
    study.append("h3").text("What prevents it? The EMA JEPA without some of its parts, in the runs of a study");
    const switches = controls.row(study.node(), "Parts of the method");
    this.switches = {
      stop: controls.tick(switches, "stop-gradient", false, (stop) => app.set({ stop })),
      predictor: controls.tick(switches, "predictor", false, (predictor) => app.set({ predictor })),
      ema: controls.tick(switches, "EMA target", false, (ema) => app.set({ ema })),
      floor: controls.tick(switches, FLOOR, false, (floor) => app.set({ floor })),
    };
    this.chart = study.append("div").attr("class", "chart").node();
    this.words = study.append("output").attr("class", "readout").node();
  }

  render(state) {
    this.training.render(state);
    for (const plot of this.plots) {
      this.scatter(plot, state);
    }
    for (const [key, input] of Object.entries(this.switches)) {
      input.checked = state[key];
    }
    this.ablation(state);
  }

  scatter({ side, title, badge, canvas, caption }, state) {
    const name = state[side];
    const learned = name === TRUTH ? null : this.app.get(name);
    const packed = learned?.details?.points;
    canvas.parentElement.hidden = !packed;
    if (!packed) {
      return;
    }
    const { domain } = this.app;
    this.modes ??= domain.points.map(([x, y]) => domain.mixture.mode(x, y));
    const values = part(packed, state.at === null ? packed.shape[0] - 1 : learned.snapshot(state.at));
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, SIDE, SIDE);
    const place = (value) => (SIDE / 2) * (1 + value / REACH);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 0.5;
    for (const [i, mode] of this.modes.entries()) {
      context.fillStyle = CLASS_COLOURS[mode % CLASS_COLOURS.length];
      context.beginPath();
      context.arc(place(values[2 * i]), SIDE - place(values[2 * i + 1]), 2.8, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    const spread = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / this.modes.length);
    canvas.setAttribute("aria-label", `Embeddings of the test points by ${learned.title}: root mean square distance from their mean ${spread.toFixed(2)}`);
    title.textContent = learned.title;
    badge.hidden = state.at !== null || !this.app.methods.get(name).collapsed;
    caption.textContent = `${learned.when({ at: state.at })}; root mean square distance from the mean: ${spread.toFixed(2)}`;
  }

  /** The measured spread for the chosen parts, from the study's own runs. */
  ablation(state) {
    const wanted = state.floor ? FLOOR : nameOf({ stop_gradient: state.stop, predictor: state.predictor, ema: state.ema });
    if (wanted === this.drawn) {
      return;
    }
    this.drawn = wanted;
    const { runs, floor, threshold } = results.ablation;
    const shown = runs.map((one) => ({ ...one, name: nameOf(one) }));
    if (floor) {
      shown.push({ ...floor, name: FLOOR });
    }
    shown.sort((one, other) => one.mean - other.mean);
    const found = shown.find((one) => one.name === wanted);
    chart(this.chart, "Normalised standard deviation of the embeddings for each combination", ({ barX, ruleX, text }) => ({
      height: 34 * shown.length + 56,
      marginLeft: 8,
      marginRight: 90,
      x: { domain: [0, 1], label: "normalised standard deviation of the embeddings", labelOffset: 34 },
      y: { axis: null, domain: shown.map((one) => one.name) },
      marks: [
        ruleX([threshold], { stroke: COLOURS.soft, strokeDasharray: "3 3" }),
        text(shown, { x: 0, y: "name", text: "name", dx: 2, dy: -8, textAnchor: "start", ...label }),
        barX(shown, { x: "mean", y: "name", insetTop: 17, fill: (one) => (one === found ? colourOf(one.name === FLOOR ? "vicreg" : "jepa_ema") : COLOURS.soft) }),
        text(shown, { x: "mean", y: "name", text: (one) => `${one.mean.toFixed(2)} ± ${one.std.toFixed(2)}`, dx: 6, dy: 8, textAnchor: "start", ...label }),
      ],
    }));
    this.words.textContent = found
      ? `${wanted}: ${found.mean.toFixed(3)} ± ${found.std.toFixed(3)} over ${found.seeds} seeds, ${found.mean < threshold ? "collapsed" : "not collapsed"} (threshold ${threshold}).`
      : "The study has no run of this combination: an EMA target gets no gradient, so it comes with a stop-gradient.";
  }

  close() {
    this.training.close();
  }
}

/** The parts of a run in words. */
function nameOf({ stop_gradient: stop, predictor, ema }) {
  const parts = [stop && "stop-gradient", predictor && "predictor", ema && "EMA target"].filter(Boolean);
  return parts.join(" + ") || "none of them";
}
