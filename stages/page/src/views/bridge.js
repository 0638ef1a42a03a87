/* Noise as a bridge: test points become noise, and two methods turn the same noise back into points. */

import { colourOf } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { annealed, flow, forward } from "../diffusing.js";
import { format, TRUTH } from "../learned.js";
import { normal, uniform } from "../sandbox/mlp.js";
import { Player } from "../training.js";
import { drawParticles, shares, WeightBars } from "../weights.js";

/** Points on each map. */
const POINTS = 500;
const LINES = 40;

export class BridgeView {
  static uses = ["contours", "methods"];

  constructor(above, host, app, panels) {
    this.app = app;
    this.panels = panels;
    const row = controls.row(above, "Noise");
    this.slider = controls.slider(row, "Time", {
      high: 1,
      show: (phase) => this.tell(phase),
      changed: (phase) => {
        this.player.stop();
        app.set({ phase });
      },
    });
    this.player = new Player(row, {
      label: "Play",
      beat: 280,
      begin: () => app.state.phase >= this.last && app.set({ phase: 0 }),
      next: () => {
        const more = app.state.phase < this.last;
        if (more) {
          app.set({ phase: app.state.phase + 1 });
        }
        return more;
      },
    });
    this.words = d3.select(host).append("p").attr("class", "note").node();
    const sides = d3.select(host).append("div").attr("class", "sides");
    this.bars = ["a", "b"].map((side) => ({ side, bars: new WeightBars(sides.append("div").node(), app.domain.weights) }));
    this.smallest = app.domain.mixture.smallestVariance;
    this.frames = new Map();
  }

  /** The noise levels of a side, in decreasing order, or null. */
  schedule(side) {
    return this.app.get(this.app.state[side])?.details?.noise_schedule ?? null;
  }

  get last() {
    const found = this.schedule("a") ?? this.schedule("b");
    return found ? 2 * found.sigmas.length : 0;
  }

  /** σ at a phase, and whether noise is being added. */
  phase(phase) {
    const sigmas = (this.schedule("a") ?? this.schedule("b"))?.sigmas ?? [0];
    const count = sigmas.length;
    return phase <= count ? { sigma: phase ? sigmas[count - phase] : 0, adding: true } : { sigma: sigmas[phase - count - 1], adding: false };
  }

  tell(phase) {
    const { sigma, adding } = this.phase(Math.min(phase, this.last));
    return `${adding ? "adding noise" : "removing it"}, σ = ${format(sigma)}`;
  }

  /** The points of a side at the phases so far; null without a noise schedule. Each phase is computed when it is first shown. */
  points(side) {
    const schedule = this.schedule(side);
    const name = this.app.state[side];
    if (schedule && !this.frames.has(name)) {
      const { grid, points } = this.app.domain;
      const noise = normal(uniform(1));
      const added = forward(points.slice(0, POINTS), [...schedule.sigmas].reverse(), noise);
      const start = added.at(-1);
      const deterministic = this.app.methods.get(name).flow;
      const removed = deterministic ? flow(start, schedule, grid, this.smallest) : annealed(start, schedule, grid, this.smallest, noise);
      this.frames.set(name, { shown: added, removed });
    }
    if (!schedule) {
      return null;
    }
    const { shown, removed } = this.frames.get(name);
    while (shown.length <= Math.min(this.app.state.phase, this.last)) {
      const { value, done } = removed.next();
      if (done) {
        break;
      }
      shown.push(value);
    }
    return shown;
  }

  field(side, state) {
    const { app } = this;
    const { sigma } = this.phase(Math.min(state.phase, this.last));
    const { mixture, field } = app.truth(sigma);
    const method = app.methods.get(state[side]);
    const how = !this.schedule(side) ? "no noise schedule" : method.flow ? "probability-flow ODE" : "annealed Langevin dynamics";
    return [
      { ...field, title: method ? `${method.title}: ${how}` : "The truth", note: `points over the true energy at σ = ${format(sigma)}; scores of seed 0, beyond the map those of a Gaussian tail` },
      { contours: state.contours ? mixture : null },
    ];
  }

  over(side) {
    const found = this.points(side);
    const phase = Math.min(this.app.state.phase, this.last);
    const count = this.schedule(side)?.sigmas.length ?? 0;
    const lines = found && phase > count + 1 && this.app.methods.get(this.app.state[side]).flow ? d3.range(LINES).map((i) => found.slice(count + 1, phase + 1).map((frame) => frame[i])) : [];
    return { lines };
  }

  render(state) {
    const phase = Math.min(state.phase, this.last);
    this.slider.input.max = String(Math.max(1, this.last));
    this.slider.set(phase);
    const { sigma } = this.phase(phase);
    const { mixture } = this.app.truth(sigma);
    for (const { side, bars } of this.bars) {
      const points = this.points(side)?.[phase] ?? [];
      drawParticles(this.panels[side].map, points);
      bars.show(shares(points, mixture), colourOf(state[side]));
    }
    const without = ["a", "b"].filter((side) => (state[side] === TRUTH || this.app.get(state[side])?.details) && !this.schedule(side));
    this.words.textContent = without.length
      ? `${without.map((side) => this.app.methods.get(state[side])?.title ?? "The truth").join(" and ")} ${without.length > 1 ? "have" : "has"} no scores at several noise levels.`
      : `Both methods start from the same noise, x + σε at the largest σ. Lines are paths of ${LINES} points along the ODE.`;
  }

  close() {
    this.player.stop();
    for (const { map } of Object.values(this.panels)) {
      drawParticles(map, []);
    }
  }
}
