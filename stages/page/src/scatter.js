/* A scatter plot of the images' embeddings on two principal components. */

import * as d3 from "./d3.js";
import { numbers, part } from "./data.js";
import { results } from "./results.js";

/** Colours of classes and of modes, as in the figures (stages/plots/colours.py). */
export const CLASS_COLOURS = results.class_colours;

/** The colour of a class in a legend, lighter in the dark theme; the template defines it. */
export const classColour = (label) => `var(--class-${label % CLASS_COLOURS.length})`;

export class Scatter {
  /** `listen` gives the number of an image that the pointer or the arrow keys choose. */
  constructor(host, { width = 1100, height = 800, label, listen = null }) {
    const canvas = d3.select(host).append("canvas").attr("class", "scatter").attr("width", width).attr("height", height);
    if (listen) {
      canvas.attr("tabindex", 0).attr("role", "application").attr("aria-label", `${label}; arrow keys step through the images`);
    } else {
      canvas.attr("role", "img").attr("aria-label", label);
    }
    this.canvas = canvas.node();
    this.listen = listen;
    if (listen) {
      for (const type of ["pointermove", "pointerdown"]) {
        this.canvas.addEventListener(type, (event) => this.hover(event));
      }
      this.canvas.addEventListener("keydown", (event) => this.walk(event));
    }
  }

  /**
   * Draw the images that `kept(i)` keeps.
   *
   * @param {any} content page data of a method (stages/mnist/evaluate.py)
   * @param {{snapshot: number, labels: Float32Array, kept: (i: number) => boolean, wrong: (i: number) => boolean, chosen: number[]}} options
   */
  draw(content, { snapshot, labels, kept, wrong, chosen }) {
    const final = part(content.pca, content.pca.shape[0] - 1);
    const points = part(content.pca, snapshot);
    const { width, height } = this.canvas;
    // The axes span the end of training: embeddings grow.
    const axis = (d, size) => {
      const [low, high] = d3.extent(d3.range(d, final.length, 2), (i) => final[i]);
      const margin = 0.04 * (high - low);
      return d3.scaleLinear([low - margin, high + margin], d ? [size, 0] : [0, size]);
    };
    const [x, y] = [axis(0, width), axis(1, height)];
    this.visible = d3.range(labels.length).filter(kept);
    this.places = this.visible.map((i) => [x(points[2 * i]), y(points[2 * i + 1])]);
    this.tree = d3.quadtree(this.places.map(([a, b], order) => [a, b, order]));
    const context = this.canvas.getContext("2d");
    const ink = getComputedStyle(this.canvas).color;
    context.clearRect(0, 0, width, height);
    context.strokeStyle = ink;
    for (const [order, i] of this.visible.entries()) {
      const mistaken = wrong(i);
      context.beginPath();
      context.arc(this.places[order][0], this.places[order][1], mistaken ? 9 : 5.5, 0, 2 * Math.PI);
      context.globalAlpha = mistaken ? 1 : 0.7;
      context.fillStyle = CLASS_COLOURS[labels[i] % CLASS_COLOURS.length];
      context.fill();
      context.globalAlpha = mistaken ? 1 : 0.5;
      context.lineWidth = mistaken ? 3 : 1;
      context.stroke();
    }
    context.globalAlpha = 1;
    for (const image of chosen) {
      const order = this.visible.indexOf(image);
      if (order >= 0) {
        context.beginPath();
        context.arc(this.places[order][0], this.places[order][1], 15, 0, 2 * Math.PI);
        context.lineWidth = 5;
        context.stroke();
      }
    }
    this.chosen = chosen[0] ?? null;
  }

  hover(event) {
    const box = this.canvas.getBoundingClientRect();
    const [a, b] = [event.clientX - box.left, event.clientY - box.top].map((place) => (place * this.canvas.width) / box.width);
    const found = this.tree?.find(a, b, 60);
    if (found) {
      this.listen(this.visible[found[2]]);
    }
  }

  walk(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && this.visible?.length) {
      event.preventDefault();
      const order = this.visible.indexOf(this.chosen);
      const next = order < 0 ? (step > 0 ? 0 : this.visible.length - 1) : (order + step + this.visible.length) % this.visible.length;
      this.listen(this.visible[next]);
    }
  }
}

/** The label of each image as numbers. */
export const labelsOf = (images) => numbers(images.labels);
