/* The truth: points drawn from the mixture, then its density. */

import { controls } from "../controls.js";
import { Player } from "../training.js";

export class DrawView {
  static uses = ["contours", "points"];

  sides = ["a"];

  constructor(above, _host, app, panels) {
    this.app = app;
    this.numbers = panels.a.map.svg.selectAll(".mode");
    /** @type {import("../learned.js").Field | null} */
    this.blank = null;
    this.cut = { count: -1, points: [] };
    this.total = app.domain.points.length;
    const row = controls.row(above, "Points drawn from the mixture");
    this.slider = controls.slider(row, "Points", {
      high: this.total,
      value: this.total,
      changed: (count) => {
        this.player.stop();
        this.set(count);
      },
    });
    this.player = new Player(row, {
      label: "Draw points",
      beat: 40,
      begin: () => this.count >= this.total && this.set(0),
      next: () => {
        this.set(Math.min(this.total, this.count + Math.ceil(this.total / 100)));
        return this.count < this.total;
      },
    });
  }

  get count() {
    return this.app.state.drawn ?? this.total;
  }

  set(count) {
    this.app.set({ drawn: count >= this.total ? null : count });
  }

  /** The density appears with the last point. */
  field(_side, state) {
    const { mixture, field } = this.app.truth();
    if (this.cut.count !== this.count) {
      this.cut = { count: this.count, points: this.app.domain.points.slice(0, this.count) };
    }
    const done = this.count >= this.total;
    this.blank ??= { ...field, values: [], empty: true, title: "Points from an unknown density", note: "its energy appears with the last point" };
    return [done ? field : this.blank, { contours: done && state.contours ? mixture : null, points: state.points ? this.cut.points : [] }];
  }

  render() {
    this.slider.set(this.count);
    // The numbers of the modes would give them away.
    this.numbers.style("display", this.count >= this.total ? null : "none");
  }

  close() {
    this.player.stop();
    this.numbers.style("display", null);
  }
}
