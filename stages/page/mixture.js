"use strict";
/* The mixture: a map of every method, one of them large. */

/** How many nats of an energy are told apart by colour, from the deepest well up. */
const DEPTH = 12;
/** Contours of the analytic log-density, in nats below its top. */
const LEVELS = [-8, -5, -3, -2, -1, -0.5, -0.1];

class Learned {
  /** What one method learned; `content` is that of its script. */
  constructor(name, content, world) {
    Object.assign(this, { name, content, world });
    this.embeds = content.kind === "embedding";
    this.truth = this.embeds ? world.mixture : world.mixture.smoothed(content.sigma);
    this.fine = world.grid;
    this.coarse = world.grid.some(world.coarse);
    this.trueEnergy = this.fine.sample((x, y) => -this.truth.logDensity(x, y));
  }

  /** The grid and the energy at it: of the first seed at its end, of another seed, or at a moment of the first one's training. */
  energy({ seed, moment, reference }) {
    const packed = seed ? this.content.other_seeds : moment === null ? null : this.content.moments;
    const grid = packed ? this.coarse : this.fine;
    const found = packed ? part(packed, seed ? seed - 1 : moment) : numbers(this.embeds ? this.content.embedding : this.content.energy);
    if (!this.embeds) {
      return { grid, values: found };
    }
    const dimension = this.content.embedding.shape.at(-1);
    this.space = this.space?.length === grid.size ? this.space : new Float32Array(grid.size);
    return { grid, values: cosineEnergy(found, dimension, grid.node(...reference), this.space) };
  }

  /** Which of the noise levels that the method knows is next to σ. */
  level(sigma) {
    return d3.minIndex(this.content.sigmas, (own) => Math.abs(Math.log(own / sigma)));
  }

  /** The learned score: grid and vectors. */
  score({ seed, sigma }) {
    return seed && this.content.sigmas.length === 1
      ? { grid: this.coarse, values: part(this.content.other_scores, seed - 1) }
      : { grid: this.fine, values: part(this.content.score, this.level(sigma)) };
  }

  /** The ends of the colour scale: of the values themselves, or where methods share one, of all there can be. */
  range(values, shared) {
    const low = d3.min(values);
    if (this.embeds) {
      return shared ? [-1, 1] : d3.extent(values);
    }
    const lowest = shared ? d3.min(this.trueEnergy) : low;
    return [lowest, lowest + DEPTH];
  }

  get unit() {
    return this.embeds ? "minus the cosine to the reference point" : "nats";
  }
}

class MixtureSection {
  constructor(host, world) {
    this.world = world;
    this.state = { name: world.methods[0].name, view: "learned", seed: 0, moment: null, reference: world.reference, shared: false, contours: true, points: true, arrows: true };
    this.learned = new Map();
    this.host = host;
    this.build(host);
  }

  build(host) {
    const { world } = this;
    const top = controls.row(host, "What the maps show");
    this.view = controls.choice(
      top,
      "Maps show",
      [
        ["learned", "what was learned"],
        ["true", "the truth"],
        ["difference", "learned minus true"],
      ],
      (view) => this.change({ view }),
    );
    this.seed = controls.slider(top, "Seed", { high: world.seeds - 1, changed: (seed) => this.change({ seed, moment: null }) });
    this.moment = controls.slider(top, "Training", { high: 1, value: 1, show: () => "", changed: (place) => this.change({ seed: 0, moment: place === this.last ? null : place }) });
    controls.tick(top, "contours of the true log-density", true, (contours) => this.change({ contours }));
    controls.tick(top, "test points", true, (points) => this.change({ points }));
    controls.tick(top, "arrows of the score", true, (arrows) => this.change({ arrows }));
    controls.tick(top, "the same colours for all", false, (shared) => this.change({ shared }));

    const body = d3.select(host).append("div").attr("class", "mixture");
    const large = body.append("div").attr("class", "large");
    this.title = large.append("h3").node();
    this.map = new PlaneMap(large.node(), world.grid, { label: "map of the energy that was learned" });
    this.legend = large.append("div").attr("class", "legend");
    this.legend.append("span").attr("class", "low");
    this.legend.append("canvas").attr("width", 256).attr("height", 1).attr("aria-hidden", true);
    this.legend.append("span").attr("class", "high");
    this.legend.append("span").attr("class", "unit");
    this.readout = large.append("output").attr("class", "readout").attr("aria-live", "polite").node();
    this.rate = 0;
    this.map.listen({ moved: (x, y) => this.drag(x, y), hovered: (x, y) => this.tell(x, y) });
    this.mark();

    const small = body.append("div").attr("class", "small").attr("role", "group").attr("aria-label", "Methods on the mixture");
    this.small = world.methods.map(({ name, title }) => {
      const button = small.append("button").attr("type", "button").attr("class", "thumb").attr("data-method", name).attr("title", title);
      const map = new PlaneMap(button.node(), world.grid, { size: 120, axes: false, label: "" });
      map.svg.attr("aria-hidden", true).attr("role", null).attr("aria-label", null);
      button.append("span").text(name.replaceAll("_", "_\u200b"));
      button.on("click", () => this.change({ name }));
      return { name, map, button };
    });
    this.below = d3.select(host).append("div").attr("class", "below").node();
  }

  /** The reference point, which is dragged, or moved by the arrow keys from node to node. */
  mark() {
    const mark = this.map.layers.marks
      .append("circle")
      .attr("class", "reference")
      .attr("r", 7)
      .attr("tabindex", 0)
      .attr("role", "slider")
      .attr("aria-label", "Reference point; arrow keys move it")
      .attr("aria-valuemin", 0)
      .attr("aria-valuemax", this.world.grid.size - 1);
    mark.on("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (step) {
        event.preventDefault();
        const { x, y } = this.world.grid;
        const { column, row } = this.world.grid.nearest(...this.state.reference);
        const kept = (axis, place) => axis[Math.max(0, Math.min(axis.length - 1, place))];
        this.drag(kept(x, column + step[0]), kept(y, row + step[1]));
      }
    });
    this.reference = mark;
  }

  async start() {
    await this.change({});
    // The others come one after another, so that the page can be used while they do.
    for (const { name } of this.world.methods) {
      await this.load(name);
      this.draw();
    }
  }

  async load(name) {
    if (!this.learned.has(name)) {
      const content = await atlas.get(`mog/${name}`, `atlas/mog/${name}.js`);
      this.learned.set(name, new Learned(name, content, this.world));
    }
    return this.learned.get(name);
  }

  async change(changes) {
    Object.assign(this.state, changes);
    const chosen = await this.load(this.state.name);
    this.last = chosen.content.steps.length - 1;
    if (this.state.moment !== null) {
      this.state.moment = Math.min(this.state.moment, this.last);
    }
    this.seed.set(this.state.seed);
    this.moment.input.max = this.last;
    this.moment.set(this.state.moment ?? this.last);
    const step = chosen.content.steps[this.state.moment ?? this.last];
    this.moment.input.setAttribute("aria-valuetext", `step ${step}`);
    this.moment.input.nextElementSibling.textContent = `step ${step}`;
    if ("name" in changes || !this.tools) {
      this.tools?.close();
      d3.select(this.below).selectAll("*").remove();
      this.tools = new MethodTools(this.below, chosen, this);
    }
    this.tools.changed(this.state);
    this.draw();
  }

  /** The reference point goes to the node next to (x, y): there the energy is the pipeline's own, nothing in between. */
  drag(x, y) {
    const { column, row } = this.world.grid.nearest(x, y);
    this.state.reference = [this.world.grid.x[column], this.world.grid.y[row]];
    this.tools.changed(this.state);
    if (!this.waiting) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = null;
        this.draw({ dragged: true });
      });
    }
  }

  /** What a method's map shows: grid, values, range and scale. */
  shown(learned) {
    const { grid, values } = learned.energy(this.state);
    const truth = grid === learned.fine ? learned.trueEnergy : grid.sample((x, y) => -learned.truth.logDensity(x, y));
    if (this.state.view === "true") {
      return { grid: learned.fine, values: learned.trueEnergy, range: [d3.min(learned.trueEnergy), d3.min(learned.trueEnergy) + DEPTH], scale: SCALES.energy, unit: "nats" };
    }
    if (this.state.view === "difference") {
      // A cosine has no nats: of a joint embedding the order of the nodes is compared.
      const [a, b] = learned.embeds ? [ranks(values), ranks(truth)] : [values, truth];
      const difference = a.map((value, node) => value - b[node]);
      const most = learned.embeds ? 1 : DEPTH / 2;
      return { grid, values: difference, range: [-most, most], scale: SCALES.difference, unit: learned.embeds ? "of all nodes, in rank" : "nats" };
    }
    return { grid, values, range: learned.range(values, this.state.shared), scale: SCALES.energy, unit: learned.unit };
  }

  draw({ dragged = false } = {}) {
    for (const { name, map, button } of this.small) {
      const learned = this.learned.get(name);
      if (learned && (!dragged || learned.embeds)) {
        const { grid, values, range, scale } = this.shown(learned);
        map.show(grid, values, range, scale);
      }
      button.attr("aria-pressed", name === this.state.name);
    }
    const chosen = this.learned.get(this.state.name);
    const { state, map, world } = this;
    this.seen = this.shown(chosen);
    map.show(this.seen.grid, this.seen.values, this.seen.range, this.seen.scale);
    this.reference
      .attr("cx", map.x(state.reference[0]))
      .attr("cy", map.y(state.reference[1]))
      .style("display", chosen.embeds && state.view !== "true" ? null : "none")
      .attr("aria-valuenow", world.grid.node(...state.reference))
      .attr("aria-valuetext", `x ${state.reference[0].toFixed(2)}, y ${state.reference[1].toFixed(2)}`);
    if (dragged) {
      return;
    }
    const top = -d3.min(chosen.trueEnergy);
    map.contours(state.contours ? chosen.trueEnergy.map((value) => -value - top) : null, LEVELS);
    map.points(state.points ? world.points : []);
    map.arrows(state.arrows && !chosen.embeds ? this.arrows(chosen) : []);
    this.title.textContent = `${state.name}: ${world.methods.find((one) => one.name === state.name).title}`;
    map.svg.attr("aria-label", `${state.view} energy of ${state.name} in the plane, dark where it is low`);
    const bar = this.legend.select("canvas").node();
    paint(bar, new Grid(d3.range(256), [0]), d3.range(256), [0, 255], this.seen.scale);
    this.legend.select(".low").text(d3.format(".3~g")(this.seen.range[0]));
    this.legend.select(".high").text(d3.format(".3~g")(this.seen.range[1]));
    this.legend.select(".unit").text(this.seen.unit);
  }

  /** The learned score, the true one, or what the first is off by, at every few nodes. */
  arrows(learned) {
    const { state } = this;
    const { grid, values } = learned.score({ seed: state.seed, sigma: learned.content.sigma });
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

  /** Say what is under the pointer. */
  tell(x, y) {
    if (x === undefined) {
      this.readout.textContent = "";
      return;
    }
    const learned = this.learned.get(this.state.name);
    const value = this.seen.values[this.seen.grid.node(x, y)];
    this.readout.textContent = `at (${x.toFixed(2)}, ${y.toFixed(2)}): ${value.toFixed(3)} ${this.seen.unit}; true − log p = ${(-learned.truth.logDensity(x, y)).toFixed(2)} nats`;
  }
}

/** What can be done with one method beside looking at its map. */
class MethodTools {
  constructor(host, learned, section) {
    this.parts = [];
    if (!learned.embeds) {
      this.parts.push(new Particles(host, learned, section.world));
    }
    if (learned.content.conditional) {
      this.parts.push(new Conditional(host, learned, section));
    }
  }

  changed(state) {
    this.parts.forEach((one) => one.changed(state));
  }

  close() {
    this.parts.forEach((one) => one.close());
  }
}
