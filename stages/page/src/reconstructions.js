/* Reconstructions: perturbed images, and the decoder's output for them. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { drawFromSheet, pageData, picture } from "./data.js";
import { results } from "./results.js";

export class Reconstructions {
  constructor(host, domain) {
    this.domain = domain;
    this.state = { name: domain.reconstructed[0] };
    const row = controls.row(host, "Reconstructions");
    controls.choice(row, "Method", domain.reconstructed.map((name) => [name, name]), (name) => this.change({ name }));
    this.kind = controls.choice(row, "Perturbation", [], (kind) => this.change({ kind }));
    this.severity = controls.slider(row, "Severity", { high: 1, value: 0, show: () => "", changed: (level) => this.change({ level }) });
    this.grids = ["perturbed", "reconstructed"].map((which) => {
      const figure = d3.select(host).append("figure").attr("class", "pairs");
      figure.append("figcaption").text(which);
      return { which, canvas: figure.append("canvas").attr("role", "img").node() };
    });
    this.error = d3.select(host).append("output").attr("class", "readout").node();
  }

  start() {
    return this.change({});
  }

  async change(changes) {
    Object.assign(this.state, changes);
    const { name } = this.state;
    const content = await pageData.get(`mnist/${name}/reconstruction`, `page_data/mnist/${name}.reconstruction.js`);
    const kinds = Object.keys(content.perturbed);
    this.state.kind ??= kinds[0];
    this.state.level ??= content.strengths.length >> 1;
    const { kind, level } = this.state;
    await Promise.all(this.grids.map(({ which }) => picture(content[which][kind])));
    if (name !== this.state.name || kind !== this.state.kind || level !== this.state.level) {
      return; // the selection changed in the meantime
    }
    d3.select(this.kind)
      .selectAll("option")
      .data(kinds)
      .join("option")
      .attr("value", (one) => one)
      .text((one) => one.replaceAll("_", " "));
    this.kind.value = kind;
    this.severity.input.max = String(content.strengths.length - 1);
    this.severity.set(level);
    const strength = content.strengths[level];
    const words = strength ? `${Math.round(100 * strength)} %` : "0 % (clean images)";
    this.severity.say(words);
    for (const { which, canvas } of this.grids) {
      const columns = Math.min(12, content.images);
      Object.assign(canvas, { width: 56 * columns, height: 56 * Math.ceil(content.images / columns) });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      for (let i = 0; i < content.images; i++) {
        drawFromSheet(context, content[which][kind], level * content.images + i, 56 * (i % columns), 56 * Math.floor(i / columns), 56, 56);
      }
      canvas.setAttribute("aria-label", `${content.images} ${which} images, ${kind.replaceAll("_", " ")}, severity ${words}`);
    }
    const measured = results.reconstruction[name];
    const { mse } = strength ? measured.per_perturbation[kind][String(strength)] : measured.clean;
    const mean = measured.mean_image_mse.mean;
    this.error.textContent = `mean squared error on the evaluated test images: ${mse.mean.toFixed(4)}; of the mean image as a baseline: ${mean.toFixed(4)}`;
  }
}
