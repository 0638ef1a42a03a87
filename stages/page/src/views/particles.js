/* Langevin dynamics on both maps, each with its own score: the truth's or a method's. */

import { colourOf } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { part } from "../data.js";
import { langevinStep, scoreAt } from "../diffusing.js";
import { format, TRUTH } from "../learned.js";
import { drawParticles, shares, WeightBars } from "../weights.js";

/** Steps per second, and most steps at once after a pause of the browser. */
const STEPS_PER_SECOND = 120;
const MOST_STEPS = 12;
/** Most particles on a side. */
const MAX_PARTICLES = 4000;
/** Particles per click. */
const DROPPED = 200;
/** Seconds in which annealing takes σ from its largest value to its smallest. */
const COOLING = 6;
/** Most points of a particle's path, and the smallest distance between two of them. */
const PATH = 1200;
const APART = 0.02;

/** A standard normal random number. */
const normal = d3.randomNormal();

export class ParticlesView {
  static uses = ["seed", "contours", "methods"];

  constructor(above, host, app, panels) {
    this.app = app;
    this.panels = panels;
    this.cooling = null;
    const { domain } = app;
    this.smallest = domain.mixture.smallestVariance;
    this.box = [domain.grid.x, domain.grid.y].map((axis) => [axis[0], axis.at(-1)]);
    const row = controls.row(above, "Particles");
    controls.button(row, "Drop 1,000 everywhere", () => this.scatter(1000));
    const middle = this.box.map((ends) => d3.mean(ends));
    controls.button(row, `Drop ${DROPPED} in the middle`, () => this.drop(...middle, DROPPED));
    controls.button(row, "Drop one", () => this.drop(...middle, 1));
    this.play = controls.button(row, "Run", () => this.run(!this.running));
    this.anneal = controls.button(row, "Anneal σ", () => {
      this.cooling = 0;
      this.run(true);
    });
    controls.button(row, "Clear", () => this.clear());
    this.heat = controls.slider(row, "Temperature", { high: 2, step: 0.05, value: 1, show: (t) => t.toFixed(2), changed: (temperature) => app.set({ temperature }) });
    this.slider = controls.slider(row, "σ", {
      high: 1,
      show: (place) => (this.schedule ? format(this.schedule[Math.min(place, this.schedule.length - 1)]) : ""),
      changed: (level) => {
        this.cooling = null;
        app.set({ level });
      },
    });
    this.words = d3.select(host).append("p").attr("class", "note").node();
    const bars = d3.select(host).append("div").attr("class", "sides");
    this.movers = ["a", "b"].map((side) => {
      const box = bars.append("div");
      return {
        side,
        /** @type {[number, number][]} */
        points: [],
        /** @type {number[][][]} */
        paths: [],
        map: panels[side].map,
        bars: new WeightBars(box.node(), domain.weights),
        away: box.append("p").attr("class", "note").node(),
        // What moves the particles; `setUp` fills it in. The field is null for the true score, and undefined without a score.
        name: "",
        sigma: 0,
        step: 0,
        truth: app.truth().mixture,
        /** @type {{grid: import("../fields.js").Grid, values: Float32Array} | null | undefined} */
        field: null,
      };
    });
    this.key = "";
  }

  /** The σ of both sides: the chosen level of a noise schedule, or the one σ of a method without a schedule. */
  setUp(state) {
    const { app } = this;
    const methods = ["a", "b"].map((side) => (state[side] === TRUTH ? null : app.get(state[side])));
    const scheduled = methods.find((one) => one?.details?.noise_schedule);
    this.schedule = scheduled && d3.sort(scheduled.details.noise_schedule.sigmas);
    const own = methods.find((one) => one && !one.embeds)?.sigma ?? 0;
    const nearest = this.schedule ? d3.minIndex(this.schedule, (sigma) => Math.abs(Math.log(sigma / (own || 1)))) : 0;
    this.level = this.schedule ? Math.min(state.level ?? nearest, this.schedule.length - 1) : null;
    this.sigma = this.schedule ? this.schedule[this.level] : own;
    for (const [i, one] of this.movers.entries()) {
      const method = methods[i];
      const schedule = method?.details?.noise_schedule;
      one.name = state[one.side];
      one.sigma = method && !schedule ? method.sigma : this.sigma;
      one.truth = app.truth(one.sigma).mixture;
      one.step = langevinStep(one.sigma, this.smallest);
      one.field = !method ? null : method.embeds ? undefined : schedule ? this.levelOf(schedule) : method.score(state.seed);
    }
    this.seeds = network(methods, state);
    // As in the pipeline: noise rarely takes a particle beyond the box by more than its size plus 6 σ.
    const margin = 6 * Math.max(this.sigma, this.schedule ? this.schedule.at(-1) : 0);
    this.limits = this.box.map(([low, high]) => [2 * low - high - margin, 2 * high - low + margin]);
  }

  levelOf({ sigmas, scores }) {
    const place = d3.minIndex(sigmas, (sigma) => Math.abs(Math.log(sigma / this.sigma)));
    return { grid: this.app.domain.grid, values: part(scores, place) };
  }

  /** Set up anew when what moves the particles has changed. */
  follow(state) {
    const key = [state.a, state.b, state.level, state.seed, ...["a", "b"].map((side) => Boolean(this.app.learned.get(state[side])?.details))].join();
    if (key !== this.key) {
      this.key = key;
      this.setUp(state);
    }
  }

  render(state) {
    this.follow(state);
    this.heat.set(state.temperature);
    const { input } = this.slider;
    input.parentElement.hidden = !this.schedule;
    this.anneal.hidden = !this.schedule;
    if (this.schedule) {
      input.max = String(this.schedule.length - 1);
      this.slider.set(this.level);
    }
    this.words.textContent = this.seeds;
    this.temperature = state.temperature;
    this.draw();
  }

  /** The energy of the true density at the chosen noise level, under both kinds of particles. */
  field(side, state) {
    this.follow(state);
    const one = this.movers.find((each) => each.side === side);
    if (!this.schedule) {
      return null;
    }
    const { mixture, field } = this.app.truth(one.sigma);
    const title = one.name === TRUTH ? "The true score" : `Learned score: ${this.app.methods.get(one.name)?.title ?? one.name}`;
    return [{ ...field, title, note: `over the true energy at σ = ${format(one.sigma)}` }, { contours: this.app.state.contours ? mixture : null }];
  }

  over(side) {
    const one = this.movers.find((each) => each.side === side);
    return { reference: undefined, points: [], lines: this.app.state.trail ? one.paths : [] };
  }

  /**
   * A click or a tap on a map, or a button, drops particles on both maps. One particle takes the place of those before it. Where
   * paths are drawn, a click drops one particle, unless there are many.
   */
  drop(x, y, count = this.app.state.trail && this.movers[0].points.length < 2 ? 1 : DROPPED) {
    for (const side of this.movers) {
      for (let i = 0; i < count; i++) {
        side.points.push(count === 1 ? [x, y] : [x + normal() / 4, y + normal() / 4]);
      }
      side.points.splice(0, side.points.length - (count === 1 ? 1 : MAX_PARTICLES));
      side.paths = count === 1 ? [[[x, y]]] : [];
    }
    this.run(true);
  }

  scatter(count) {
    /** @type {[number, number][]} */
    const points = d3.range(count).map(() => {
      const [x, y] = this.box.map(([low, high]) => low + Math.random() * (high - low));
      return [x, y];
    });
    for (const side of this.movers) {
      side.points = points.map(([x, y]) => [x, y]);
      side.paths = [];
    }
    this.run(true);
  }

  clear() {
    for (const side of this.movers) {
      side.points = [];
      side.paths = [];
    }
    this.cooling = null;
    this.run(false);
    this.app.render();
  }

  /** Run or pause. The loop ends when there are no particles and σ is not being annealed. */
  run(on) {
    this.running = on && (this.movers[0].points.length > 0 || this.cooling !== null);
    this.play.textContent = this.running ? "Pause" : "Run";
    cancelAnimationFrame(this.frame);
    if (!this.running) {
      return;
    }
    let last = performance.now();
    let owed = 0;
    const next = (now) => {
      const seconds = Math.max(0, now - last) / 1000;
      owed = Math.min(MOST_STEPS, owed + seconds * STEPS_PER_SECOND);
      last = now;
      this.cool(seconds);
      for (; owed >= 1; owed--) {
        this.step();
      }
      if (this.app.state.trail) {
        for (const { side, paths } of this.movers) {
          this.panels[side].map.line(paths);
        }
      }
      this.draw();
      if (this.running) {
        this.frame = requestAnimationFrame(next);
      }
    };
    this.frame = requestAnimationFrame(next);
  }

  /** Lower σ while it is being annealed. */
  cool(seconds) {
    if (this.cooling === null || !this.schedule) {
      return;
    }
    this.cooling += seconds / COOLING;
    const level = Math.max(0, Math.round((this.schedule.length - 1) * (1 - this.cooling)));
    if (level !== this.level) {
      this.app.set({ level });
    }
    if (this.cooling >= 1) {
      this.cooling = null;
    }
  }

  /** A Langevin step x ← x + η s(x) + √(2 η T) ξ. A particle beyond the limits has escaped and no longer moves. */
  step() {
    const slope = [0, 0];
    for (const { points, paths, truth, field, step, sigma } of this.movers) {
      if (field === undefined) {
        continue; // a joint embedding has no score
      }
      const noise = Math.sqrt(2 * step * this.temperature);
      for (const point of points) {
        if (this.escaped(point)) {
          continue;
        }
        field ? scoreAt(field.values, field.grid, sigma * sigma + this.smallest, ...point, slope) : truth.score(...point, slope);
        point[0] += step * slope[0] + noise * normal();
        point[1] += step * slope[1] + noise * normal();
      }
      if (paths.length && points.length) {
        const [x, y] = paths[0].at(-1);
        if (Math.hypot(points[0][0] - x, points[0][1] - y) > APART) {
          paths[0].push([...points[0]]);
          paths[0].splice(0, paths[0].length - PATH);
        }
      }
    }
  }

  escaped([x, y]) {
    const [[left, right], [low, high]] = this.limits;
    return !(x > left && x < right && y > low && y < high);
  }

  draw() {
    for (const { side, map, points, paths, bars, away, truth } of this.movers) {
      // One particle alone is drawn over the numbers of the modes, many lie below them.
      const single = paths.length ? points : [];
      drawParticles(map, paths.length ? [] : points);
      map.layers.marks
        .selectAll(".particle")
        .data(single)
        .join("circle")
        .attr("class", "particle")
        .attr("cx", (point) => map.x(point[0]))
        .attr("cy", (point) => map.y(point[1]));
      const there = points.filter((point) => !this.escaped(point));
      bars.show(shares(there, truth), colourOf(this.app.state[side]));
      const gone = points.length - there.length;
      away.textContent = gone ? `${gone} escaped` : "";
    }
  }

  close() {
    this.run(false);
    for (const { map } of this.movers) {
      drawParticles(map, []);
      map.layers.marks.selectAll(".particle").remove();
    }
  }
}

/** Which network moves the particles. */
function network(methods, { seed, at }) {
  const score = methods.find((one) => one && !one.embeds);
  if (!score) {
    return methods.some(Boolean) ? "A joint embedding has no score, so its particles rest." : "Both sides move by the true score.";
  }
  const scheduled = methods.some((one) => one?.details?.noise_schedule);
  const which = scheduled ? "seed 0" : `seed ${seed}`;
  return `Scores of ${which} at the end of training${at === null ? "" : ", whatever step the maps show"}. Both sides start from the same points with independent noise; bars show the fraction of particles in each mode, marks the true mode weights.`;
}
