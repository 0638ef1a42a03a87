"use strict";
/* Reconstructions: the images as they were perturbed, and what the decoder gives back. */

class Reconstructions {
  constructor(host, world) {
    this.world = world;
    this.state = { name: world.reconstructed[0] };
    const row = controls.row(host, "Reconstructions");
    controls.choice(row, "Method", world.reconstructed.map((name) => [name, name]), (name) => this.change({ name }));
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
    const { state } = this;
    const content = await atlas.get(`mnist/${state.name}/reconstruction`, `atlas/mnist/${state.name}.reconstruction.js`);
    const kinds = Object.keys(content.perturbed);
    state.kind ??= kinds[0];
    state.level ??= 2;
    d3.select(this.kind)
      .selectAll("option")
      .data(kinds)
      .join("option")
      .attr("value", (kind) => kind)
      .text((kind) => kind.replaceAll("_", " "));
    this.kind.value = state.kind;
    this.severity.input.max = content.strengths.length - 1;
    this.severity.set(state.level);
    const strength = content.strengths[this.severity.value];
    const words = strength ? `${Math.round(100 * strength)} %` : "none: the clean images";
    this.severity.input.nextElementSibling.textContent = words;
    this.severity.input.setAttribute("aria-valuetext", words);
    for (const { which, canvas } of this.grids) {
      const sheet = content[which][state.kind];
      await picture(sheet);
      const columns = Math.min(12, content.images);
      Object.assign(canvas, { width: 56 * columns, height: 56 * Math.ceil(content.images / columns) });
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      for (let i = 0; i < content.images; i++) {
        const place = this.severity.value * content.images + i;
        drawFromSheet(context, sheet, place, 56 * (i % columns), 56 * Math.floor(i / columns), 56, 56);
      }
      canvas.setAttribute("aria-label", `${content.images} ${which} images, ${state.kind.replaceAll("_", " ")}, severity ${words}`);
    }
    const measured = results.reconstruction[state.name];
    const of = strength ? measured.per_perturbation[state.kind][String(+strength.toPrecision(6))] : measured.clean;
    this.error.textContent = `mean squared error over the test images measured: ${of.mse.mean.toFixed(4)} (the mean image has ${measured.mean_image_mse.mean.toFixed(4)})`;
  }
}
