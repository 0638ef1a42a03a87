/* Controls: native elements with labels, so that they work with the keyboard and with screen readers. */

import * as d3 from "./d3.js";

/** Steps along x and y of the arrow keys. */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export const controls = {
  /** A labelled group of controls. */
  row(host, label) {
    return d3.select(host).append("div").attr("class", "controls").attr("role", "group").attr("aria-label", label).node();
  },

  /**
   * A slider over [low, high]; `show` formats its value. Returns {input, value, set, say}.
   *
   * @param {Element} host
   * @param {string} label
   * @param {{low?: number, high: number, step?: number, value?: number, show?: (place: number) => string, changed: (place: number) => void}} options
   */
  slider(host, label, { low = 0, high, step = 1, value = low, show = String, changed }) {
    const line = d3.select(host).append("label").attr("class", "slider");
    line.append("span").text(label);
    const input = line.append("input").attr("type", "range").attr("min", low).attr("max", high).attr("step", step).property("value", value).node();
    const output = line.append("output").text(show(value)).node();
    const update = () => {
      output.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      update();
      changed(Number(input.value));
    });
    update();
    return {
      input,
      get value() {
        return Number(input.value);
      },
      set(now) {
        input.value = String(now);
        update();
      },
      /** Show this text for the current value. */
      say(text) {
        output.textContent = text;
        input.setAttribute("aria-valuetext", text);
      },
    };
  },

  /** A checkbox. */
  tick(host, label, checked, changed) {
    const line = d3.select(host).append("label").attr("class", "tick");
    const input = line.append("input").attr("type", "checkbox").property("checked", checked).node();
    line.append("span").text(label);
    input.addEventListener("change", () => changed(input.checked));
    return input;
  },

  /** A drop-down list of options [value, text]. */
  choice(host, label, options, changed) {
    const line = d3.select(host).append("label").attr("class", "choice");
    line.append("span").text(label);
    const select = line.append("select").node();
    controls.options(select, options);
    select.addEventListener("change", () => changed(select.value));
    return select;
  },

  /** Replace the options [value, text] of a drop-down list. */
  options(select, options) {
    d3.select(select)
      .selectAll("option")
      .data(options)
      .join("option")
      .attr("value", (option) => option[0])
      .text((option) => option[1]);
  },

  /** A button. */
  button(host, label, pressed) {
    const button = d3.select(host).append("button").attr("type", "button").text(label).node();
    button.addEventListener("click", () => pressed(button));
    return button;
  },
};
