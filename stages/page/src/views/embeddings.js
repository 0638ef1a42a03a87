/* Embeddings of the images over training, and the nearest neighbours of each image. */

import { controls } from "../controls.js";
import * as d3 from "../d3.js";
import { drawFromSheet, numbers, sideOf } from "../data.js";
import { loadEmbeddings, loadImages, oneOf } from "../images.js";
import { classColour, labelsOf, Scatter } from "../scatter.js";
import { Training } from "../training.js";

const LABEL = "Embeddings of the images on two principal components";
/** About the sides in pixels of the chosen image and of its neighbours. */
const [LARGE, SMALL] = [112, 56];

export class EmbeddingsView {
  static uses = [];

  sides = [];

  constructor(above, host, app) {
    this.app = app;
    this.content = null;
    const row = controls.row(above, "Scatter plot");
    this.method = controls.choice(row, "Method", [], (images) => app.set({ images, at: null }));
    this.training = new Training(row, app, { steps: () => this.content?.steps ?? [], end: (step) => (step === undefined ? "" : `step ${step}`) });
    this.mistakes = controls.tick(row, "misclassified only", false, (mistakes) => app.set({ mistakes }));
    this.labels = controls.row(above, "Labels shown");
    this.labels.classList.add("labels");
    const body = d3.select(host).append("div").attr("class", "embeddings");
    this.scatter = new Scatter(body.append("div").node(), { label: LABEL, listen: (image) => app.set({ image }) });
    const side = body.append("div").attr("class", "side");
    this.words = side.append("output").attr("class", "readout").attr("aria-live", "polite").node();
    this.image = side.append("canvas").attr("width", LARGE).attr("height", LARGE).attr("class", "thumbnail").attr("aria-hidden", true).node();
    side.append("h3").text("Nearest training images, which vote on the class");
    this.near = side.append("div").attr("class", "near");
    this.note = side.append("p").attr("class", "note").node();
    this.images = null;
    this.problem = "";
    this.name = "";
    this.ticks = null;
    this.load();
  }

  async load() {
    try {
      this.images ??= await loadImages();
      const { methods } = this.images;
      const name = oneOf(methods, this.app.state.images);
      const content = await loadEmbeddings(name);
      this.name = name;
      this.content = content;
      this.fill(methods);
    } catch (error) {
      this.problem = error.message;
    }
    this.app.render();
  }

  /** The controls that depend on the data. */
  fill(methods) {
    controls.options(this.method, methods.map((name) => [name, this.images.titles[name]]));
    if (this.ticks) {
      return;
    }
    controls.button(this.labels, "All", () => this.app.set({ hidden: [] }));
    controls.button(this.labels, "None", () => this.app.set({ hidden: this.images.present, image: null }));
    this.ticks = this.images.present.map((label) => {
      const input = controls.tick(this.labels, this.images.classes[label], true, (on) => this.hide(label, !on));
      d3.select(input.parentElement).select("span").style("border-color", classColour(label));
      return { label, input };
    });
  }

  hide(label, off) {
    const { hidden } = this.app.state;
    this.app.set({ hidden: off ? [...hidden, label] : hidden.filter((one) => one !== label) });
  }

  render(state) {
    if (!this.content) {
      return;
    }
    if (oneOf(this.images.methods, state.images) !== this.name) {
      this.load();
      return;
    }
    const { content, images } = this;
    const [labels, predicted] = [labelsOf(images), numbers(content.predicted)];
    this.method.value = this.name;
    this.training.render(state);
    // Classes are predicted at the end of training only.
    const { place, last } = this.training;
    const final = place === last;
    this.mistakes.disabled = !final;
    this.mistakes.checked = state.mistakes;
    for (const { label, input } of this.ticks) {
      input.checked = !state.hidden.includes(label);
    }
    const wrong = (i) => final && labels[i] !== predicted[i];
    const kept = (i) => !state.hidden.includes(labels[i]) && (!final || !state.mistakes || wrong(i));
    const image = state.image !== null && state.image < labels.length && kept(state.image) ? state.image : null;
    this.scatter.draw(content, { snapshot: place, labels, kept, wrong, chosen: image === null ? [] : [image] });
    this.note.textContent = final
      ? "Large outlined dots are misclassified."
      : "Predicted classes and neighbours are those at the end of training; until then no dot is marked as misclassified.";
    this.tell(image);
  }

  /** Show an image, its classes and its neighbours. */
  tell(image) {
    const { content, images } = this;
    const large = sideOf(images.images, LARGE);
    // Clears the canvas as well.
    Object.assign(this.image, { width: large, height: large });
    const context = this.image.getContext("2d");
    if (image === null) {
      this.words.textContent = this.scatter.visible.length
        ? `${this.scatter.visible.length} images are shown. Hover over one, or step through them with the arrow keys.`
        : "No image is shown.";
      this.near.selectAll("figure").remove();
      return;
    }
    const [label, predicted] = [labelsOf(images)[image], numbers(content.predicted)[image]];
    const count = content.nearest.shape[1];
    const near = numbers(content.nearest).subarray(image * count, (image + 1) * count);
    this.words.textContent = `test image ${image}: true class ${images.classes[label]}, predicted class ${images.classes[predicted]}${label === predicted ? "" : " (misclassified)"}`;
    context.imageSmoothingEnabled = false;
    drawFromSheet(context, images.images, image, 0, 0, large, large);
    const small = sideOf(content.neighbours, SMALL);
    const figures = this.near
      .selectAll("figure")
      .data([...near])
      .join((enter) => {
        const figure = enter.append("figure");
        figure.append("canvas").attr("width", small).attr("height", small).attr("class", "thumbnail").attr("aria-hidden", true);
        figure.append("figcaption");
        return figure;
      });
    figures.select("canvas").each((place, index, nodes) => {
      const picture = /** @type {HTMLCanvasElement} */ (nodes[index]).getContext("2d");
      picture.imageSmoothingEnabled = false;
      drawFromSheet(picture, content.neighbours, place, 0, 0, small, small);
    });
    figures.select("figcaption").text((place) => images.classes[numbers(content.neighbour_labels)[place]]);
  }

  close() {
    this.training.close();
  }
}
