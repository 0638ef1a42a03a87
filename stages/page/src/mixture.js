/* The mixture: a small map of every method, and a large one of the selected method. */

import { Conditional } from "./conditional.js";
import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { numbers, pageData, part } from "./data.js";
import { cosineEnergy, Grid, ranks } from "./fields.js";
import { DEPTH, LEVELS, PlaneMap, paint, SCALES } from "./map.js";
import { Particles } from "./particles.js";
import { results } from "./results.js";
import { Spectrum } from "./spectrum.js";

class Learned {
  /** What one method learned; `content` is its page data (stages/mog/evaluation/page_data.py). */
  constructor(name, content, domain) {
    this.name = name;
    this.content = content;
    this.domain = domain;
    this.embeds = content.kind === "embedding";
    this.truth = this.embeds ? domain.mixture : domain.mixture.smoothed(content.sigma);
    this.fine = domain.grid;
    this.coarse = domain.grid.coarser(domain.coarse);
    this.trueEnergy = this.fine.sample((x, y) => -this.truth.logDensity(x, y));
    this.last = content.steps.length - 1;
  }

  /** A grid and the energy on it: of a trained seed, or of the first seed at a snapshot. */
  energy({ seed = 0, snapshot = null, reference = this.domain.reference }) {
    const packed = seed ? this.content.other_seeds : snapshot === null ? null : this.content.snapshots;
    const grid = packed ? this.coarse : this.fine;
    const whole = this.embeds ? this.content.embedding : this.content.energy;
    const found = packed ? part(packed, seed ? seed - 1 : Math.min(snapshot, this.last)) : numbers(whole);
    if (!this.embeds) {
      return { grid, values: found };
    }
    this.space = this.space?.length === grid.size ? this.space : new Float32Array(grid.size);
    return { grid, values: cosineEnergy(found, whole.shape.at(-1), grid.node(...reference), this.space) };
  }

  /** A grid and the score of a trained seed on it, at the noise level σ of the method. */
  score(seed) {
    return seed
      ? { grid: this.coarse, values: part(this.content.other_scores, seed - 1) }
      : { grid: this.fine, values: numbers(this.content.score) };
  }
}

export class MixtureSection {
  constructor(host, domain) {
    this.domain = domain;
    const reference = domain.grid.point(domain.grid.node(...domain.reference));
    this.state = { name: null, view: "learned", seed: 0, snapshot: null, reference, shared: false, contours: true, points: true, arrows: true };
    this.learned = new Map();
    this.build(host);
  }

  build(host) {
    const { domain } = this;
    const top = controls.row(host, "Contents of the maps");
    const views = [
      ["learned", "learned energy"],
      ["true", "true energy"],
      ["difference", "learned − true"],
    ];
    controls.choice(top, "Maps show", views, (view) => this.change({ view }));
    this.seed = controls.slider(top, "Seed", { high: domain.seeds - 1, changed: (seed) => this.change({ seed, snapshot: null }) });
    this.snapshot = controls.slider(top, "Training", {
      high: 1,
      value: 1,
      show: (place) => this.stepWords(place),
      changed: (place) => this.change({ seed: 0, snapshot: place === this.chosen.last ? null : place }),
    });
    controls.tick(top, "contours of the true log-density", true, (contours) => this.change({ contours }));
    controls.tick(top, "test points", true, (points) => this.change({ points }));
    controls.tick(top, "score arrows", true, (arrows) => this.change({ arrows }));
    controls.tick(top, "shared colour scale", false, (shared) => this.change({ shared }));

    const body = d3.select(host).append("div").attr("class", "mixture");
    const large = body.append("div").attr("class", "large");
    this.title = large.append("h3").node();
    this.map = new PlaneMap(large.node(), domain.grid, { label: "map", role: "group" });
    this.legend = large.append("div").attr("class", "legend");
    this.legend.append("span").attr("class", "low");
    this.legend.append("canvas").attr("width", 256).attr("height", 1).attr("aria-hidden", true);
    this.legend.append("span").attr("class", "high");
    this.legend.append("span").attr("class", "unit");
    this.note = large.append("p").attr("class", "note").node();
    this.readout = large.append("output").attr("class", "readout").node();
    this.map.listen({ moved: (x, y) => this.drag(x, y), hovered: (x, y) => this.tell(x, y), mark: ".reference" });
    this.mark();

    const small = body.append("div").attr("class", "small").attr("role", "group").attr("aria-label", "Methods on the mixture");
    this.small = domain.methods.map(({ name, title }) => {
      const button = small.append("button").attr("type", "button").attr("class", "thumb").attr("data-method", name).attr("title", title);
      const map = new PlaneMap(button.node(), domain.grid, { size: 120, axes: false });
      button.append("span").text(name.replaceAll("_", "_\u200b"));
      button.on("click", () => this.change({ name }));
      return { name, map, button };
    });
    this.below = d3.select(host).append("div").attr("class", "below").node();
  }

  /** The reference point; the pointer drags it and the arrow keys move it from node to node. */
  mark() {
    this.reference = this.map.layers.marks
      .append("circle")
      .attr("class", "reference")
      .attr("r", 7)
      .attr("tabindex", 0)
      .attr("role", "slider")
      .attr("aria-label", "Reference point; arrow keys move it")
      .attr("aria-valuemin", 0)
      .attr("aria-valuemax", this.domain.grid.size - 1);
    this.reference.on("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (step) {
        event.preventDefault();
        const { x, y } = this.domain.grid;
        const { column, row } = this.domain.grid.nearest(...this.state.reference);
        const kept = (axis, place) => axis[Math.max(0, Math.min(axis.length - 1, place))];
        this.drag(kept(x, column + step[0]), kept(y, row + step[1]));
      }
    });
  }

  /** Load and show the first method, then load the others in the background. */
  async start() {
    const [first, ...others] = this.domain.methods.map(({ name }) => name);
    await this.load(first);
    this.change({ name: this.wanted ?? first });
    const failed = [];
    for (const name of others) {
      await this.load(name).catch((error) => failed.push(error.message));
      this.draw();
    }
    if (failed.length) {
      throw new Error(failed.join("; "));
    }
  }

  async load(name) {
    const content = await pageData.get(`mog/${name}`, `page_data/mog/${name}.js`);
    if (!this.learned.has(name)) {
      this.learned.set(name, new Learned(name, content, this.domain));
    }
  }

  get chosen() {
    return this.learned.get(this.state.name);
  }

  /**
   * Apply the changes of a control. A new method is shown once its data are loaded, unless another was chosen since.
   *
   * @param {{name?: string, [key: string]: any}} changes
   */
  change({ name, ...others }) {
    Object.assign(this.state, others);
    this.wanted = name ?? this.wanted;
    if (this.wanted && !this.learned.has(this.wanted)) {
      const { wanted } = this;
      this.load(wanted).then(() => this.wanted === wanted && this.change({ name: wanted }), () => {});
    } else if (this.wanted && this.wanted !== this.state.name) {
      this.state.name = this.wanted;
      this.tools?.close();
      this.below.replaceChildren();
      this.tools = new MethodTools(this.below, this.chosen, this);
    }
    if (this.chosen) {
      this.snapshot.input.max = this.chosen.last;
      this.snapshot.set(this.state.snapshot ?? this.chosen.last);
      this.seed.set(this.state.seed);
      this.tools.changed(this.state);
      this.draw();
    }
  }

  /** The training step at a position of the slider. */
  stepWords(place) {
    return this.chosen ? `step ${this.chosen.content.steps[Math.min(place, this.chosen.last)]}` : "";
  }

  /** Move the reference point to the node nearest to (x, y), where the pipeline computed the embedding. */
  drag(x, y) {
    this.state.reference = this.domain.grid.point(this.domain.grid.node(x, y));
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.tools?.changed(this.state);
      this.draw({ dragged: true });
    });
  }

  /** The field on the map of a method: grid, values, range and colours of the scale, unit. */
  shown(learned) {
    const { view, shared } = this.state;
    const deep = (low) => [low, low + DEPTH];
    if (view === "true") {
      const low = shared ? this.deepest() : d3.min(learned.trueEnergy);
      return { grid: learned.fine, values: learned.trueEnergy, range: deep(low), scale: SCALES.energy, unit: "nats" };
    }
    const { grid, values } = learned.energy(this.state);
    if (view === "difference") {
      const truth = grid === learned.fine ? learned.trueEnergy : grid.sample((x, y) => -learned.truth.logDensity(x, y));
      // A cosine is not in nats, so a joint embedding is compared by the ranks of the nodes.
      const [a, b] = learned.embeds ? [ranks(values), ranks(truth)] : [values, truth];
      const most = learned.embeds ? 1 : DEPTH / 2;
      const difference = a.map((value, node) => value - b[node]);
      return { grid, values: difference, range: [-most, most], scale: SCALES.difference, unit: learned.embeds ? "rank difference" : "nats" };
    }
    if (learned.embeds) {
      return { grid, values, range: shared ? [-1, 1] : d3.extent(values), scale: SCALES.energy, unit: "−cos" };
    }
    return { grid, values, range: deep(shared ? this.deepest() : d3.min(values)), scale: SCALES.energy, unit: "nats" };
  }

  /** The lowest true energy, in nats, over the methods with a score. */
  deepest() {
    return d3.min([...this.learned.values()].filter((one) => !one.embeds), (one) => d3.min(one.trueEnergy));
  }

  /** How to read the map of a joint embedding. */
  noteWords() {
    const { embeds } = this.chosen;
    return {
      learned: embeds ? "Energy of the pair (x, reference point): −cos of their embeddings." : "",
      true: embeds ? "True energy −log p(x) of single points; a joint embedding compares pairs instead." : "",
      difference: embeds
        ? "Rank of the energy for this reference point minus rank of −log p. Likely points far from the reference differ even for an ideal embedding."
        : "",
    }[this.state.view];
  }

  draw({ dragged = false } = {}) {
    const { state, map, chosen } = this;
    for (const { name, map: thumb, button } of this.small) {
      const learned = this.learned.get(name);
      if (learned && (!dragged || learned.embeds)) {
        const { grid, values, range, scale } = this.shown(learned);
        thumb.show(grid, values, range, scale);
      }
      button.attr("aria-pressed", name === state.name);
    }
    if (!chosen) {
      return;
    }
    this.seen = this.shown(chosen);
    map.show(this.seen.grid, this.seen.values, this.seen.range, this.seen.scale);
    // On a coarser grid the mark sits at the node whose energy is shown.
    const at = this.seen.grid.point(this.seen.grid.node(...state.reference));
    this.reference
      .attr("cx", map.x(at[0]))
      .attr("cy", map.y(at[1]))
      .style("display", chosen.embeds && state.view !== "true" ? null : "none")
      .attr("aria-valuenow", this.seen.grid.node(...at))
      .attr("aria-valuetext", `x ${at[0].toFixed(2)}, y ${at[1].toFixed(2)}`);
    this.legend.select(".low").text(d3.format(".3~g")(this.seen.range[0]));
    this.legend.select(".high").text(d3.format(".3~g")(this.seen.range[1]));
    if (!dragged) {
      this.drawOver(chosen);
    }
  }

  /** Draw contours, points, arrows, title and legend of the large map. */
  drawOver(chosen) {
    const { state, map, domain } = this;
    const top = -d3.min(chosen.trueEnergy);
    map.contours(state.contours ? chosen.trueEnergy.map((value) => -value - top) : null, LEVELS);
    map.points(state.points ? domain.points : []);
    map.arrows(state.arrows && !chosen.embeds ? this.arrows(chosen) : []);
    this.title.textContent = `${state.name}: ${domain.methods.find((one) => one.name === state.name).title}`;
    const words = { learned: "learned energy", true: "true energy", difference: "learned − true energy" }[state.view];
    map.svg.attr("aria-label", `${words} of ${state.name} in the plane`);
    paint(this.legend.select("canvas").node(), new Grid(d3.range(256), [0]), d3.range(256), [0, 255], this.seen.scale);
    this.legend.select(".unit").text(this.seen.unit);
    this.note.textContent = this.noteWords();
  }

  /** Arrows of the learned score, the true score or their difference on a coarse grid; snapshots have no learned score. */
  arrows(learned) {
    const { state } = this;
    if (state.snapshot !== null && state.view !== "true") {
      return [];
    }
    const { grid, values } = learned.score(state.seed);
    const every = Math.ceil(grid.x.length / 18);
    const truth = [0, 0];
    const found = [];
    for (let row = every >> 1; row < grid.y.length; row += every) {
      for (let column = every >> 1; column < grid.x.length; column += every) {
        const [x, y, place] = [grid.x[column], grid.y[row], 2 * (row * grid.x.length + column)];
        learned.truth.score(x, y, truth);
        const [a, b] = [values[place], values[place + 1]];
        found.push({ learned: [x, y, a, b], true: [x, y, ...truth], difference: [x, y, a - truth[0], b - truth[1]] }[state.view]);
      }
    }
    return found;
  }

  /** Show the values at the pointer. */
  tell(x, y) {
    if (x === undefined || !this.seen) {
      this.readout.textContent = "";
      return;
    }
    const value = this.seen.values[this.seen.grid.node(x, y)];
    const truth = -this.chosen.truth.logDensity(x, y);
    this.readout.textContent = `at (${x.toFixed(2)}, ${y.toFixed(2)}): ${value.toFixed(3)} (${this.seen.unit}); truth: −log p = ${truth.toFixed(2)} nats`;
  }
}

/** Further tools for one method, below the maps. */
class MethodTools {
  constructor(host, learned, section) {
    this.parts = [];
    if (!learned.embeds) {
      this.parts.push(new Particles(host, learned, section.domain));
    }
    if (learned.content.conditional) {
      this.parts.push(new Conditional(host, learned, section));
    }
    const found = results.spectrum[learned.name];
    if (found) {
      this.parts.push(new Spectrum(host, section, found));
    }
  }

  changed(state) {
    for (const one of this.parts) {
      one.changed(state);
    }
  }

  close() {
    for (const one of this.parts) {
      one.close();
    }
  }
}
