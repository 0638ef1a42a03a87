/* The hidden coordinate given the visible one: the true density, and what masked methods predict. */

import { COLOURS, chart, colourOf } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { part } from "../data.js";
import { fixed, TRUTH } from "../learned.js";
import { lineDensity } from "../truth.js";

const FINE = 401;

export class ConditionalView {
  constructor(above, host, app) {
    this.app = app;
    const row = controls.row(above, "The line");
    this.choice = controls.choice(
      row,
      "Visible",
      [
        ["1", "second coordinate (horizontal line)"],
        ["0", "first coordinate (vertical line)"],
      ],
      (seen) => app.set({ seen: Number(seen) }),
    );
    this.slider = controls.slider(row, "at", {
      high: app.domain.grid.x.length - 1,
      show: (place) => {
        const value = this.axes[this.seen][place];
        return value === undefined ? "" : fixed(value);
      },
      changed: (place) => {
        const ref = [...app.reference];
        ref[this.seen] = this.axes[this.seen][place];
        app.set({ ref });
      },
    });
    this.chart = d3.select(host).append("div").attr("class", "chart").node();
    this.words = d3.select(host).append("output").attr("class", "readout").node();
  }

  get seen() {
    return this.app.state.seen === 0 ? 0 : 1;
  }

  get axes() {
    const { grid } = this.app.domain;
    return [grid.x, grid.y];
  }

  /** The grid index of the visible coordinate. */
  get place() {
    const { column, row } = this.app.domain.grid.nearest(...this.app.reference);
    return this.seen ? row : column;
  }

  over() {
    const value = this.axes[this.seen][this.place];
    const along = this.axes[1 - this.seen];
    return { lines: [[along[0], along.at(-1)].map((end) => (this.seen ? [end, value] : [value, end]))] };
  }

  render(state) {
    const { app, seen, place } = this;
    this.choice.value = String(seen);
    this.slider.input.max = String(this.axes[seen].length - 1);
    this.slider.set(place);
    const [value, along] = [this.axes[seen][place], this.axes[1 - seen]];
    const truth = app.domain.mixture.conditional(seen, value);
    const curve = d3.range(FINE).map((i) => {
      const x = along[0] + (i / (FINE - 1)) * (along.at(-1) - along[0]);
      return { x, density: lineDensity(truth, x) };
    });
    const mean = d3.sum(truth.weights, (weight, k) => weight * truth.means[k]);
    const [densities, points] = [[], []];
    const words = [`true mean ${fixed(mean)}`];
    for (const name of new Set([state.a, state.b].filter((one) => one !== TRUTH))) {
      const learned = app.get(name);
      const conditional = learned?.details?.conditional;
      if (!conditional) {
        words.push(learned?.details ? `${learned.title} predicts no coordinate` : `${name} is loading`);
        continue;
      }
      const stroke = colourOf(name);
      if (conditional.density) {
        const count = along.length;
        const values = part(conditional.density, seen).subarray(place * count, (place + 1) * count);
        densities.push({ stroke, rows: [...along].map((x, i) => ({ x, density: values[i] })) });
        words.push(`${learned.title}: density (line)`);
      } else {
        const point = part(conditional.point, seen)[place];
        points.push({ stroke, point });
        words.push(`${learned.title}: point prediction ${fixed(point)} (dashed)`);
      }
    }
    chart(this.chart, `Density of the ${seen ? "first" : "second"} coordinate given the other`, ({ areaY, lineY, ruleX }) => ({
      x: { label: `${seen ? "first" : "second"} coordinate`, labelOffset: 34, domain: [along[0], along.at(-1)] },
      y: { label: "density", grid: true },
      marks: [
        areaY(curve, { x: "x", y: "density", fill: COLOURS.truth, fillOpacity: 0.25 }),
        lineY(curve, { x: "x", y: "density", stroke: COLOURS.truth, strokeWidth: 2 }),
        ruleX([mean], { stroke: COLOURS.truth, strokeWidth: 2 }),
        ...densities.map(({ stroke, rows }) => lineY(rows, { x: "x", y: "density", stroke, strokeWidth: 2 })),
        ...points.map(({ stroke, point }) => ruleX([point], { stroke, strokeWidth: 2, strokeDasharray: "5 4" })),
      ],
    }));
    this.words.textContent = `${seen ? "second" : "first"} coordinate ${fixed(value)}: ${words.join("; ")}. Seed 0, end of training.`;
  }
}
