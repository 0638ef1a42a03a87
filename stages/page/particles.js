"use strict";
/* Langevin dynamics under the learned score and, beside it, under the true one. */

/** A step is this much over the field's largest curvature, 1 / (σ² + the smallest variance of a mode). */
const STEP = 0.2;
const STEPS_A_FRAME = 2;
const MOST = 4000;
const DROPPED = 200;
/** Frames in which σ falls from its largest value to its smallest. */
const COOLING = 360;
/** Places of the slider of σ, which are evenly spaced in log σ. */
const PLACES = 200;

/** A standard normal number. */
const normal = d3.randomNormal();

class Particles {
  constructor(host, learned, world) {
    Object.assign(this, { learned, world, seed: 0 });
    this.sigmas = learned.content.sigmas;
    this.temperature = 1;
    this.smallest = d3.min(world.covariances, ([[a, b], [, d]]) => (a + d) / 2 - Math.hypot((a - d) / 2, b));
    const [low, high] = [Math.min(0.1, ...this.sigmas.filter(Boolean)), Math.max(10, ...this.sigmas)];
    this.toSigma = (place) => low * (high / low) ** (place / PLACES);
    this.toPlace = (sigma) => (PLACES * Math.log(sigma / low)) / Math.log(high / low);
    const own = learned.content.sigma || low;

    const section = d3.select(host).append("section").attr("class", "particles");
    section.append("h4").text("Particles under the score");
    section
      .append("p")
      .text("Click into either map to drop particles there. Both sides start alike and have a noise of their own; the bars count which mode each particle is in.");
    const row = controls.row(section.node(), "Particles");
    controls.button(row, "Drop 1,000 everywhere", () => this.scatter(1000));
    this.play = controls.button(row, "Pause", () => this.run(!this.running));
    controls.button(row, "Let σ fall", () => {
      this.cooling = 0;
      this.run(true);
    });
    controls.button(row, "Clear", () => this.clear());
    controls.slider(row, "Temperature", { high: 2, step: 0.05, value: 1, show: (t) => t.toFixed(2), changed: (t) => (this.temperature = t) });
    this.slider = controls.slider(row, "σ", {
      high: PLACES,
      value: this.toPlace(own),
      show: (place) => this.toSigma(place).toFixed(2),
      changed: (place) => {
        this.cooling = null;
        this.noise(this.toSigma(place));
      },
    });
    this.knows = section.append("p").attr("class", "note").node();
    const sides = section.append("div").attr("class", "sides");
    this.sides = ["learned", "true"].map((which) => {
      const side = sides.append("div");
      side.append("h5").text(which === "learned" ? `the learned score of ${learned.name}` : "the true score");
      const map = new PlaneMap(side.node(), world.grid, { size: 360, label: `particles under the ${which} score; click to drop more` });
      map.listen({ moved: (x, y, first) => first && this.drop(x, y) });
      const bars = side.append("div").attr("class", "weights");
      return { which, map, bars, points: [] };
    });
    this.noise(own);
    this.run(true);
  }

  changed({ seed }) {
    if (seed !== this.seed) {
      this.seed = seed;
      this.noise(this.sigma);
    }
  }

  /** Set the noise level of both fields. */
  noise(sigma) {
    const { learned, world } = this;
    const own = this.sigmas[learned.level(sigma)];
    this.sigma = sigma;
    this.truth = world.mixture.smoothed(sigma);
    this.field = learned.score({ seed: this.seed, sigma });
    this.size = STEP * (sigma * sigma + this.smallest);
    this.knows.textContent =
      this.sigmas.length === 1
        ? `${learned.name} knows one noise level, σ = ${own.toPrecision(2)}: the slider smooths the truth alone, and sets the steps of both.`
        : `${learned.name} knows ${this.sigmas.length} noise levels; the one next to the slider is σ = ${own.toPrecision(2)}. Behind both lies the true energy at that of the slider.`;
    const energy = world.grid.sample((x, y) => -this.truth.logDensity(x, y));
    for (const { which, map } of this.sides) {
      const values = which === "true" || this.sigmas.length > 1 ? energy : numbers(learned.content.energy);
      map.show(world.grid, values, [d3.min(values), d3.min(values) + DEPTH]);
    }
  }

  drop(x, y) {
    for (const side of this.sides) {
      for (let i = 0; i < DROPPED; i++) {
        side.points.push([x + normal() / 4, y + normal() / 4]);
      }
      side.points.splice(0, side.points.length - MOST);
    }
    this.run(true);
  }

  scatter(count) {
    const { x, y } = this.world.grid;
    const uniform = (axis) => axis[0] + Math.random() * (axis.at(-1) - axis[0]);
    const points = d3.range(count).map(() => [uniform(x), uniform(y)]);
    this.sides.forEach((side) => (side.points = points.map((point) => [...point])));
    this.run(true);
  }

  clear() {
    this.sides.forEach((side) => (side.points = []));
    this.draw();
  }

  run(on) {
    this.running = on;
    this.play.textContent = on ? "Pause" : "Go on";
    cancelAnimationFrame(this.frame);
    if (on) {
      const next = () => {
        this.step();
        this.draw();
        this.frame = requestAnimationFrame(next);
      };
      this.frame = requestAnimationFrame(next);
    }
  }

  close() {
    this.run(false);
  }

  /** x ← x + η s(x) + √(2 η T) ξ, a few times; beyond the box by its own size a particle stops. */
  step() {
    if (this.cooling != null) {
      this.cooling += 1;
      const place = PLACES * Math.max(1 - this.cooling / COOLING, 0);
      this.slider.set(place);
      this.noise(this.toSigma(place));
      this.cooling = this.cooling < COOLING ? this.cooling : null;
    }
    const { x, y } = this.world.grid;
    const limits = [x, y].map((axis) => [2 * axis[0] - axis.at(-1), 2 * axis.at(-1) - axis[0]]);
    const noise = Math.sqrt(2 * this.size * this.temperature);
    const slope = [0, 0];
    for (const { which, points } of this.sides) {
      for (let i = 0; i < STEPS_A_FRAME; i++) {
        for (const point of points) {
          which === "true" ? this.truth.score(point[0], point[1], slope) : vectorAt(this.field.values, this.field.grid, point[0], point[1], slope);
          for (let d = 0; d < 2; d++) {
            point[d] = Math.max(limits[d][0], Math.min(limits[d][1], point[d] + this.size * slope[d] + noise * normal()));
          }
        }
      }
    }
  }

  draw() {
    const { world } = this;
    for (const { map, points, bars } of this.sides) {
      const context = map.particles.getContext("2d");
      context.clearRect(0, 0, map.particles.width, map.particles.height);
      context.fillStyle = "#fff";
      context.strokeStyle = "#0008";
      for (const [x, y] of points) {
        context.beginPath();
        context.arc(2 * map.x(x), 2 * map.y(y), 4, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      }
      const counts = world.weights.map(() => 0);
      points.forEach(([x, y]) => (counts[this.truth.component(x, y)] += 1));
      const shares = counts.map((count) => (points.length ? count / points.length : 0));
      bars
        .selectAll("div")
        .data(shares)
        .join((enter) => {
          const bar = enter.append("div").attr("class", "weight");
          bar.append("span").attr("class", "name");
          bar.append("span").attr("class", "bar").call((b) => b.append("i")).call((b) => b.append("b"));
          return bar;
        })
        .call((bar) => {
          bar.select(".name").text((share, k) => `mode ${k + 1}: ${(100 * share).toFixed(0)} % (${(100 * world.weights[k]).toFixed(0)} %)`);
          bar.select("i").style("width", (share) => `${100 * share}%`);
          bar.select("b").style("left", (_, k) => `${100 * world.weights[k]}%`);
        });
      bars.attr("data-shares", shares.map((share) => share.toFixed(4)).join(" "));
    }
  }
}
