/* Charts by Observable Plot: the truth is grey and each method has the colour that it has in all figures. */

import plotCode from "text:./plot.js";
import { TRUTH } from "./learned.js";

export const COLOURS = { truth: "var(--truth)", learned: "var(--accent)", soft: "var(--soft)" };

/** Of a text over lines. */
export const LABEL = { fill: "currentColor", stroke: "var(--ground)", strokeWidth: 4 };

/** The colour of the truth or of a method; the template defines those of the methods. */
export const colourOf = (name) => (name === TRUTH ? COLOURS.truth : `var(--method-${name})`);

/** @type {typeof import("./plot.js") | null} */
let Plot = null;

/** Run the bundle of Plot. Until the first chart it is a text, which a browser need not parse: the first view has no chart. */
function load() {
  const script = document.createElement("script");
  script.textContent = plotCode;
  document.head.append(script);
  script.remove();
  return globalThis.bundle;
}

/**
 * Draw a chart in an element, as wide as the element.
 *
 * @param {HTMLElement} host
 * @param {string} label for screen readers
 * @param {(Plot: typeof import("./plot.js")) => import("@observablehq/plot").PlotOptions} options gives the options of the plot
 */
export function chart(host, label, options) {
  Plot ??= load();
  const drawn = Plot.plot({ width: Math.max(260, host.clientWidth || 0), height: 190, marginTop: 24, marginBottom: 40, ...options(Plot), ariaLabel: label });
  drawn.setAttribute("role", "img");
  // Plot labels the groups of its marks, which an image has no parts for.
  for (const group of drawn.querySelectorAll("[aria-label]")) {
    group.removeAttribute("aria-label");
  }
  host.replaceChildren(drawn);
}
