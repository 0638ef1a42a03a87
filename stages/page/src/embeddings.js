/* Embeddings of the images: a scatter plot over training, and the nearest neighbours of each image. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { drawFromSheet, numbers, pageData, part, picture } from "./data.js";
import { results } from "./results.js";

/** The class colours of the figures (stages/plots/images.py). */
const CLASS_COLOURS = results.class_colours;

export class Embeddings {
  constructor(host, domain) {
    this.domain = domain;
    this.state = { name: domain.methods[0], snapshot: null, labels: new Set(d3.range(10)), mistakes: false, shown: null };
    const row = controls.row(host, "Scatter plot");
    controls.choice(row, "Method", domain.methods.map((name) => [name, name]), (name) => this.change({ name }));
    this.snapshot = controls.slider(row, "Training", {
      high: 1,
      value: 1,
      show: () => "",
      changed: (snapshot) => {
        clearInterval(this.timer);
        this.change({ snapshot });
      },
    });
    controls.button(row, "Play", () => this.play());
    controls.tick(row, "misclassified only", false, (mistakes) => this.change({ mistakes }));
    const labels = controls.row(host, "Labels shown");
    this.ticks = d3.range(10).map((label) => {
      const input = controls.tick(labels, String(label), true, (on) => {
        on ? this.state.labels.add(label) : this.state.labels.delete(label);
        this.change({});
      });
      d3.select(input.parentElement).select("span").style("border-color", CLASS_COLOURS[label]);
      return input;
    });
    controls.button(labels, "All", () => this.all(true));
    controls.button(labels, "None", () => this.all(false));
    const body = d3.select(host).append("div").attr("class", "embeddings");
    this.canvas = body
      .append("canvas")
      .attr("width", 1200)
      .attr("height", 960)
      .attr("tabindex", 0)
      .attr("role", "application")
      .attr("aria-label", "Embeddings of the images on two principal components; arrow keys step through the images")
      .node();
    const side = body.append("div").attr("class", "side");
    this.words = side.append("output").attr("class", "readout").attr("aria-live", "polite").node();
    this.image = side.append("canvas").attr("width", 112).attr("height", 112).attr("class", "thumbnail").attr("aria-hidden", true).node();
    side.append("h4").text("Nearest training images, which vote on the class");
    this.near = side.append("div").attr("class", "near");
    for (const type of ["pointermove", "pointerdown"]) {
      this.canvas.addEventListener(type, (event) => this.hover(event));
    }
    this.canvas.addEventListener("keydown", (event) => this.walk(event));
  }

  async start() {
    await picture(this.domain.images);
    await this.change({});
  }

  all(on) {
    this.state.labels = new Set(on ? d3.range(10) : []);
    for (const tick of this.ticks) {
      tick.checked = on;
    }
    this.change({});
  }

  async change(changes) {
    Object.assign(this.state, changes);
    const { name } = this.state;
    const content = await pageData.get(`mnist/${name}`, `page_data/mnist/${name}.js`);
    await picture(content.neighbours);
    if (name !== this.state.name) {
      return; // another method was chosen in the meantime
    }
    this.content = content;
    const last = content.steps.length - 1;
    this.now = Math.min(this.state.snapshot ?? last, last);
    this.snapshot.input.max = String(last);
    this.snapshot.set(this.now);
    this.snapshot.say(`step ${content.steps[this.now]}`);
    this.draw();
    this.tell();
  }

  play() {
    clearInterval(this.timer);
    this.change({ snapshot: 0 });
    this.timer = setInterval(() => {
      const next = (this.state.snapshot ?? 0) + 1;
      next < this.content.steps.length ? this.change({ snapshot: next }) : clearInterval(this.timer);
    }, 160);
  }

  /** Place and draw the selected images. */
  draw() {
    if (!this.content) {
      return;
    }
    const { content, state } = this;
    const labels = numbers(this.domain.labels);
    const predicted = numbers(content.predicted);
    const final = part(content.pca, content.pca.shape[0] - 1);
    const points = part(content.pca, this.now);
    const { width, height } = this.canvas;
    // The axes span the final snapshot: embeddings grow over training.
    const axis = (d, size) => {
      const values = final.filter((_, i) => i % 2 === d);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const margin = 0.04 * (high - low);
      return d3.scaleLinear([low - margin, high + margin], d ? [size, 0] : [0, size]);
    };
    const [x, y] = [axis(0, width), axis(1, height)];
    this.visible = d3.range(labels.length).filter((i) => state.labels.has(labels[i]) && (!state.mistakes || labels[i] !== predicted[i]));
    this.places = this.visible.map((i) => [x(points[2 * i]), y(points[2 * i + 1])]);
    this.tree = d3.quadtree(this.places.map(([a, b], order) => [a, b, order]));
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.strokeStyle = getComputedStyle(this.canvas).color;
    this.visible.forEach((i, order) => {
      const wrong = labels[i] !== predicted[i];
      context.beginPath();
      context.arc(this.places[order][0], this.places[order][1], wrong ? 8 : 5, 0, 2 * Math.PI);
      context.globalAlpha = wrong ? 1 : 0.65;
      context.fillStyle = CLASS_COLOURS[labels[i]];
      context.fill();
      context.globalAlpha = wrong ? 1 : 0.5;
      context.lineWidth = wrong ? 3 : 1;
      context.stroke();
    });
    context.globalAlpha = 1;
    const order = this.visible.indexOf(state.shown);
    if (order >= 0) {
      context.beginPath();
      context.arc(this.places[order][0], this.places[order][1], 13, 0, 2 * Math.PI);
      context.lineWidth = 4;
      context.stroke();
    }
  }

  hover(event) {
    const box = this.canvas.getBoundingClientRect();
    const [a, b] = [event.clientX - box.left, event.clientY - box.top].map((place) => (place * this.canvas.width) / box.width);
    const found = this.tree?.find(a, b, 60);
    if (found) {
      this.show(this.visible[found[2]]);
    }
  }

  walk(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && this.visible.length) {
      event.preventDefault();
      const order = this.visible.indexOf(this.state.shown);
      this.show(this.visible[(order + step + this.visible.length) % this.visible.length]);
    }
  }

  show(image) {
    if (image !== this.state.shown) {
      this.state.shown = image;
      this.draw();
      this.tell();
    }
  }

  /** Show the selected image, its classes and its neighbours. */
  tell() {
    const { state, content, domain } = this;
    if (state.shown === null) {
      this.words.textContent = `${this.visible.length} images are shown. Hover over one, or step through them with the arrow keys.`;
      return;
    }
    const [label, predicted] = [numbers(domain.labels)[state.shown], numbers(content.predicted)[state.shown]];
    const count = content.nearest.shape[1];
    const near = numbers(content.nearest).subarray(state.shown * count, (state.shown + 1) * count);
    this.words.textContent = `test image ${state.shown}: true class ${label}, predicted class ${predicted}${label === predicted ? "" : " (misclassified)"}`;
    const context = this.image.getContext("2d");
    context.imageSmoothingEnabled = false;
    drawFromSheet(context, domain.images, state.shown, 0, 0, 112, 112);
    const figures = this.near
      .selectAll("figure")
      .data([...near])
      .join((enter) => {
        const figure = enter.append("figure");
        figure.append("canvas").attr("width", 56).attr("height", 56).attr("class", "thumbnail").attr("aria-hidden", true);
        figure.append("figcaption");
        return figure;
      });
    figures.select("canvas").each((place, index, nodes) => {
      const small = /** @type {HTMLCanvasElement} */ (nodes[index]).getContext("2d");
      small.imageSmoothingEnabled = false;
      drawFromSheet(small, content.neighbours, place, 0, 0, 56, 56);
    });
    figures.select("figcaption").text((place) => numbers(content.neighbour_labels)[place]);
  }
}
