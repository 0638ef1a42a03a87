/* Langevin dynamics with the learned score and, beside it, with the true score. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { part } from "./data.js";
import { vectorAt } from "./fields.js";
import { DEPTH, PlaneMap } from "./map.js";

/** Step size, as a fraction of σ² plus the smallest variance of a mode: the inverse of the largest curvature of −log p_σ. */
const STEP = 0.2;
const STEPS_A_FRAME = 2;
/** Most particles on a side. */
const MAX_PARTICLES = 4000;
/** Particles per click. */
const DROPPED = 200;
/** Frames in which annealing takes σ from its largest value to its smallest. */
const COOLING = 360;
/** Without a noise schedule: positions of the σ slider, evenly spaced in log σ, and its ends. */
const PLACES = 200;
const FREE = [0.1, 10];

/** A standard normal random number. */
const normal = d3.randomNormal();

export class Particles {
  constructor(host, learned, domain) {
    this.learned = learned;
    this.domain = domain;
    this.seed = 0;
    this.temperature = 1;
    this.cooling = null;
    this.schedule = learned.content.noise_schedule && d3.sort(learned.content.noise_schedule.sigmas);
    this.smallest = d3.min(domain.covariances, ([[a, b], [, d]]) => (a + d) / 2 - Math.hypot((a - d) / 2, b));
    this.box = [domain.grid.x, domain.grid.y].map((axis) => [axis[0], axis.at(-1)]);
    const own = learned.content.sigma;
    // As in the pipeline: noise rarely takes a particle beyond the box by more than its size plus 6 σ.
    const margin = 6 * (this.schedule ? d3.max(this.schedule) : FREE[1]);
    this.limits = this.box.map(([low, high]) => [2 * low - high - margin, 2 * high - low + margin]);

    const section = d3.select(host).append("section").attr("class", "particles");
    section.append("h4").text("Langevin dynamics");
    section
      .append("p")
      .text("Click on either map to drop particles there. Both sides start from the same points with independent noise. Bars show the fraction of particles in each mode, marks the true mode weights.");
    const row = controls.row(section.node(), "Particles");
    controls.button(row, "Drop 1,000 everywhere", () => this.scatter(1000));
    controls.button(row, "Drop 200 in the middle", () => this.drop(...this.box.map((ends) => d3.mean(ends))));
    this.play = controls.button(row, "Pause", () => this.run(!this.running));
    controls.button(row, "Anneal σ", () => {
      this.cooling = 0;
      this.run(true);
    });
    controls.button(row, "Clear", () => this.clear());
    controls.slider(row, "Temperature", { high: 2, step: 0.05, value: 1, show: (t) => t.toFixed(2), changed: (t) => (this.temperature = t) });
    this.places = this.schedule ? this.schedule.length - 1 : PLACES;
    this.slider = controls.slider(row, this.schedule ? "σ" : "σ of the true score", {
      high: this.places,
      value: this.schedule ? d3.minIndex(this.schedule, (sigma) => Math.abs(Math.log(sigma / own))) : PLACES * Math.max(0, Math.log(own / FREE[0]) / Math.log(FREE[1] / FREE[0])),
      show: (place) => this.sigmaAt(place).toFixed(2),
      changed: (place) => {
        this.cooling = null;
        this.noise(this.sigmaAt(place));
      },
    });
    section
      .append("p")
      .attr("class", "note")
      .text(
        this.schedule
          ? `${learned.name} has ${this.schedule.length} noise levels; both sides use the same one. The learned score is that of the first seed. Both maps show the true energy.`
          : `${learned.name} has one noise level, σ = ${d3.format(".2~g")(own)}; the slider changes the true score only.`,
      );
    const sides = section.append("div").attr("class", "sides");
    this.sides = ["learned", "true"].map((which) => {
      const side = sides.append("div");
      side.append("h5").text(which === "learned" ? `learned score of ${learned.name}` : "true score");
      const map = new PlaneMap(side.node(), domain.grid, { size: 360, label: `particles moved by the ${which} score` });
      map.onClick((x, y) => this.drop(x, y));
      return { which, map, bars: side.append("div").attr("class", "weights"), points: [] };
    });
    this.noise(this.schedule ? this.sigmaAt(this.slider.value) : own);
    this.slider.say(this.sigma.toFixed(2));
    this.run(false);
    this.draw();
  }

  /** σ at a position of the slider: a level of the noise schedule, if the method has one. */
  sigmaAt(place) {
    return this.schedule ? this.schedule[Math.round(place)] : FREE[0] * (FREE[1] / FREE[0]) ** (place / PLACES);
  }

  changed({ seed }) {
    if (seed !== this.seed) {
      this.seed = seed;
      this.noise(this.sigma);
    }
  }

  /** Set the noise level of the true score and, if the method has a noise schedule, of the learned score. */
  noise(sigma) {
    const { learned, domain, schedule } = this;
    this.sigma = sigma;
    this.truth = domain.mixture.smoothed(sigma);
    const level = schedule && learned.content.noise_schedule.sigmas.indexOf(sigma);
    this.field = schedule ? { grid: domain.grid, values: part(learned.content.noise_schedule.scores, level) } : learned.score(this.seed);
    const step = (level) => STEP * (level * level + this.smallest);
    this.steps = { true: step(sigma), learned: step(schedule ? sigma : learned.content.sigma) };
    const energy = { grid: domain.grid, values: domain.grid.sample((x, y) => -this.truth.logDensity(x, y)) };
    for (const { which, map } of this.sides) {
      const { grid, values } = which === "true" || schedule ? energy : learned.energy({ seed: this.seed });
      map.show(grid, values, [d3.min(values), d3.min(values) + DEPTH]);
    }
  }

  drop(x, y) {
    for (const side of this.sides) {
      for (let i = 0; i < DROPPED; i++) {
        side.points.push([x + normal() / 4, y + normal() / 4]);
      }
      side.points.splice(0, side.points.length - MAX_PARTICLES);
    }
    this.run(true);
  }

  scatter(count) {
    const points = d3.range(count).map(() => this.box.map(([low, high]) => low + Math.random() * (high - low)));
    for (const side of this.sides) {
      side.points = points.map((point) => [...point]);
    }
    this.run(true);
  }

  clear() {
    for (const side of this.sides) {
      side.points = [];
    }
    this.draw();
  }

  /** Run or pause. The loop ends when there are no particles and σ is not being annealed. */
  run(on) {
    this.running = on;
    this.play.textContent = on ? "Pause" : "Run";
    cancelAnimationFrame(this.frame);
    if (on) {
      const next = () => {
        this.step();
        this.draw();
        if (this.sides[0].points.length || this.cooling !== null) {
          this.frame = requestAnimationFrame(next);
        }
      };
      this.frame = requestAnimationFrame(next);
    }
  }

  close() {
    this.run(false);
  }

  /** A few Langevin steps x ← x + η s(x) + √(2 η T) ξ. A particle beyond the limits has escaped and no longer moves. */
  step() {
    if (this.cooling !== null) {
      this.cooling += 1;
      const place = this.places * (1 - this.cooling / COOLING);
      this.slider.set(place);
      const sigma = this.sigmaAt(place);
      if (sigma !== this.sigma) {
        this.noise(sigma);
      }
      this.cooling = this.cooling < COOLING ? this.cooling : null;
    }
    const slope = [0, 0];
    for (const { which, points } of this.sides) {
      const size = this.steps[which];
      const noise = Math.sqrt(2 * size * this.temperature);
      for (let i = 0; i < STEPS_A_FRAME; i++) {
        for (const point of points) {
          if (this.escaped(point)) {
            continue;
          }
          which === "true" ? this.truth.score(...point, slope) : vectorAt(this.field.values, this.field.grid, ...point, slope);
          point[0] += size * slope[0] + noise * normal();
          point[1] += size * slope[1] + noise * normal();
        }
      }
    }
  }

  escaped([x, y]) {
    const [[left, right], [low, high]] = this.limits;
    return !(x > left && x < right && y > low && y < high);
  }

  /** Mode weights of the particles that have not escaped: the mean of P(mode | x), as in the pipeline. */
  shares(points) {
    const sums = this.domain.weights.map(() => 0);
    const there = points.filter((point) => !this.escaped(point));
    for (const [x, y] of there) {
      const log = this.truth.logDensity(x, y);
      for (const [k, joint] of this.truth.joint.entries()) {
        sums[k] += Math.exp(joint - log);
      }
    }
    return sums.map((sum) => (there.length ? sum / there.length : 0));
  }

  draw() {
    const { weights } = this.domain;
    for (const { map, points, bars } of this.sides) {
      const context = map.particles.getContext("2d");
      context.clearRect(0, 0, map.particles.width, map.particles.height);
      context.fillStyle = "#fff";
      context.strokeStyle = "#000a";
      for (const [x, y] of points) {
        context.beginPath();
        context.arc(2 * map.x(x), 2 * map.y(y), 4, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      }
      const shares = this.shares(points);
      const percent = d3.format(".0%");
      bars
        .selectAll(".weight")
        .data(shares)
        .join((enter) => {
          const bar = enter.append("div").attr("class", "weight");
          bar.append("span").attr("class", "name");
          const drawn = bar.append("span").attr("class", "share");
          drawn.append("i");
          drawn.append("b");
          return bar;
        })
        .call((bar) => {
          bar.select(".name").text((share, k) => `mode ${k + 1}: ${percent(share)} (${percent(weights[k])})`);
          bar.select("i").style("width", (share) => `${100 * share}%`);
          bar.select("b").style("left", (_, k) => `${100 * weights[k]}%`);
        });
      const away = points.filter((point) => this.escaped(point)).length;
      bars.selectAll(".away").data(away ? [away] : []).join("div").attr("class", "away note").text((count) => `${count} escaped`);
      bars.attr("data-shares", shares.map((share) => share.toFixed(4)).join(" "));
    }
  }
}
