/* Perturbed images: the images, their reconstructions, the accuracy at each strength, and the embeddings beside them. */

import { COLOURS, chart, colourOf, LABEL } from "../charts.js";
import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { drawFromSheet, pageData, picture, sideOf } from "../data.js";
import { loadEmbeddings, loadImages, oneOf } from "../images.js";
import { results } from "../results.js";
import { classColour, labelsOf, Scatter } from "../scatter.js";

const SIDE = 48;
const words = (kind) => kind.replaceAll("_", " ");
const strengthWords = (strength) => (strength ? `${Math.round(100 * strength)} %` : "0 % (clean images)");

export class BreakingView {
  static uses = [];

  sides = [];

  constructor(above, host, app) {
    this.app = app;
    const row = controls.row(above, "Perturbed images");
    this.method = controls.choice(row, "Method", [], (images) => app.set({ images }));
    this.kind = controls.choice(row, "Perturbation", [], (kind) => app.set({ kind }));
    this.slider = controls.slider(row, "Strength", {
      high: 1,
      show: (place) => (this.content ? strengthWords(this.content.strengths[place]) : ""),
      changed: (strength) => app.set({ strength }),
    });
    const sides = d3.select(host).append("div").attr("class", "sides");
    this.grids = ["perturbed", "reconstructed"].map((which) => {
      const figure = sides.append("figure").attr("class", "pairs");
      figure.append("figcaption").text(which === "perturbed" ? "perturbed test images" : "reconstructed by the decoder from the embedding");
      return { which, canvas: figure.append("canvas").attr("role", "img").node() };
    });
    this.words = d3.select(host).append("output").attr("class", "readout").node();
    const below = d3.select(host).append("div").attr("class", "sides");
    this.chart = below.append("div").attr("class", "chart").node();
    const beside = below.append("figure");
    this.scatter = new Scatter(beside.node(), { width: 700, height: 420, label: "Embeddings of the clean test images at the end of training" });
    this.legend = beside.append("div").attr("class", "classes").attr("tabindex", 0).attr("role", "group").attr("aria-label", "Colours of the classes");
    beside.append("figcaption").text("Embeddings of the clean test images on two principal components, coloured by class.");
    this.images = null;
    this.problem = "";
    this.content = null;
    this.embeddings = null;
    this.kinds = [];
    this.name = "";
    this.chosen = "";
    this.load();
  }

  async load() {
    const { state } = this.app;
    try {
      this.images ??= await loadImages();
      const { reconstructed } = this.images;
      if (!reconstructed.length) {
        throw new Error("No method reconstructs images in this run.");
      }
      const name = oneOf(reconstructed, state.images);
      const content = await pageData.get(`mnist/${name}/reconstruction`, `page_data/mnist/${name}.reconstruction.js`);
      const kinds = Object.keys(content.perturbed);
      const kind = oneOf(kinds, state.kind);
      await Promise.all(this.grids.map(({ which }) => picture(content[which][kind])));
      this.embeddings = await loadEmbeddings(name);
      this.name = name;
      this.content = content;
      this.kinds = kinds;
      this.chosen = kind;
      controls.options(this.method, reconstructed.map((one) => [one, this.images.titles[one]]));
      this.legend
        .selectAll("span")
        .data(this.images.present)
        .join("span")
        .text((label) => this.images.classes[/** @type {number} */ (label)])
        .style("border-color", (label) => classColour(/** @type {number} */ (label)));
      this.method.parentElement.hidden = reconstructed.length < 2;
      controls.options(this.kind, kinds.map((one) => [one, words(one)]));
    } catch (error) {
      this.problem = error.message;
    }
    this.app.render();
  }

  render(state) {
    if (!this.content) {
      return;
    }
    const wanted = [oneOf(this.images.reconstructed, state.images), oneOf(this.kinds, state.kind)];
    if (wanted.join() !== [this.name, this.chosen].join()) {
      this.load();
      return;
    }
    const { content, name, chosen: kind } = this;
    this.method.value = name;
    this.kind.value = kind;
    const last = content.strengths.length - 1;
    const level = Math.min(state.strength ?? last >> 1, last);
    this.slider.input.max = String(last);
    this.slider.set(level);
    const strength = content.strengths[level];
    for (const { which, canvas } of this.grids) {
      const columns = Math.min(8, content.images);
      const side = sideOf(content[which][kind], SIDE);
      Object.assign(canvas, { width: side * columns, height: side * Math.ceil(content.images / columns) });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      for (let i = 0; i < content.images; i++) {
        drawFromSheet(context, content[which][kind], level * content.images + i, side * (i % columns), side * Math.floor(i / columns), side, side);
      }
      canvas.setAttribute("aria-label", `${content.images} ${which} images, ${words(kind)}, strength ${strengthWords(strength)}`);
    }
    const measured = results.reconstruction[name];
    const { mse } = strength ? measured.per_perturbation[kind][String(strength)] : measured.clean;
    const mean = measured.mean_image_mse.mean;
    const accuracy = this.accuracy(kind, strength);
    this.words.textContent = `mean squared error ${mse.mean.toFixed(4)} (the mean image as a baseline: ${mean.toFixed(4)}); ${accuracy}`;
    const labels = labelsOf(this.images);
    this.scatter.draw(this.embeddings, { snapshot: this.embeddings.steps.length - 1, labels, kept: () => true, wrong: () => false, chosen: [] });
  }

  /** Draw the accuracy at each strength and return the words about the present one. */
  accuracy(kind, strength) {
    const { clean, images, methods } = results.robustness;
    const curve = (name) =>
      [
        { strength: 0, accuracy: clean[name] },
        ...Object.entries(methods[name]?.[kind] ?? {}).map(([at, accuracy]) => ({ strength: Number(at), accuracy })),
      ].sort((a, b) => a.strength - b.strength);
    const [own, raw] = [curve(this.name), curve("raw pixels")];
    const error = (one) => Math.sqrt((one.accuracy * (1 - one.accuracy)) / images);
    const colour = colourOf(this.name);
    const bars = ({ ruleX }, rows, stroke) => ruleX(rows, { x: "strength", y1: (one) => one.accuracy - error(one), y2: (one) => one.accuracy + error(one), stroke });
    chart(this.chart, `k-NN accuracy on images with ${words(kind)} by strength`, (Plot) => ({
      x: { label: "strength", labelOffset: 34, domain: [0, Math.max(1, d3.max(own, (one) => one.strength))] },
      y: { label: "k-NN accuracy (bars: one standard error)", domain: [0, 1], grid: true },
      marks: [
        Plot.ruleX([strength], { stroke: "currentColor", strokeDasharray: "2 3" }),
        Plot.lineY(raw, { x: "strength", y: "accuracy", stroke: COLOURS.soft, strokeWidth: 2 }),
        bars(Plot, raw, COLOURS.soft),
        Plot.lineY(own, { x: "strength", y: "accuracy", stroke: colour, strokeWidth: 2 }),
        bars(Plot, own, colour),
        Plot.dot(own, { x: "strength", y: "accuracy", fill: colour }),
        Plot.text([own.at(-1)], { x: "strength", y: "accuracy", text: () => this.images.titles[this.name] ?? this.name, dy: 16, textAnchor: "end", ...LABEL }),
        Plot.text([raw.at(-1)], { x: "strength", y: "accuracy", text: () => "raw pixels", dy: 14, textAnchor: "end", ...LABEL }),
      ],
    }));
    const found = own.find((one) => Math.abs(one.strength - strength) < 1e-6);
    return found ? `k-NN accuracy ${found.accuracy.toFixed(3)} of ${images} images` : "no accuracy at this strength";
  }
}
