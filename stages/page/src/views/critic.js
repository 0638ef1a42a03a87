/* Pointwise mutual information of two views, true and estimated by a critic. */

import * as d3 from "../d3.js";
import { numbers } from "../data.js";
import { Grid } from "../fields.js";
import { SCALES } from "../map.js";

/** Range of the colours, in nats. */
const MOST = 6;

export class CriticView {
  static uses = ["contours", "methods"];

  constructor(_above, host, app) {
    this.app = app;
    /** @type {Grid | null} the first views of the critic */
    this.steps = null;
    this.words = d3.select(host).append("p").attr("class", "note").node();
  }

  get learned() {
    return this.app.get(this.app.state.b) ?? null;
  }

  /** The critic's estimate, the node of the first view that is nearest to the reference point, and this point. */
  get chosen() {
    const critic = this.learned?.details?.critic;
    if (!critic) {
      return null;
    }
    const { coarse } = this.app.domain;
    const second = (axis) => axis.filter((_, i) => i % 2 === 0);
    this.steps ??= new Grid(second(coarse.x), second(coarse.y));
    const place = this.steps.node(...this.app.reference);
    return { critic, place, point: this.steps.point(place) };
  }

  field(side) {
    const { app, chosen, learned } = this;
    if (!chosen) {
      return null;
    }
    const { critic, place, point } = chosen;
    const { coarse, mixture } = app.domain;
    const shared = { range: [-MOST, MOST], scale: SCALES.difference, unit: "nats", clipped: true };
    const contours = app.state.contours ? app.truth().mixture : null;
    if (side === "b") {
      const size = critic.pmi.shape[2] * critic.pmi.shape[3];
      const values = numbers(critic.pmi).subarray(place * size, (place + 1) * size);
      return [{ ...shared, grid: coarse, values, title: `${learned.title}: critic`, note: `estimated PMI of each second view and the marked first view; ${learned.when({})}` }, { contours, reference: point, ring: true, steps: this.steps }];
    }
    const grid = app.domain.grid;
    if (this.truth?.key !== point.join()) {
      const given = mixture.secondView(point, critic.first, critic.second);
      const alone = mixture.smoothed(critic.second);
      this.truth = { key: point.join(), values: grid.sample((x, y) => given.logDensity(x, y) - alone.logDensity(x, y)) };
    }
    return [{ ...shared, grid, values: this.truth.values, title: "The truth: PMI", note: `log p(x' | x) / p(x') of each second view x' and the marked first view x; noise of the views ${critic.first} and ${critic.second}` }, { contours, reference: point, ring: true, steps: this.steps }];
  }

  render() {
    this.words.textContent = this.chosen || !this.learned?.details ? "" : `${this.learned.title} has no critic.`;
  }
}
