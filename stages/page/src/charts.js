/* Charts by Observable Plot: the truth is grey and each method has the colour that it has in all figures. */

import { TRUTH } from "./learned.js";

export const COLOURS = { truth: "var(--truth)", learned: "var(--accent)", soft: "var(--soft)" };

/** Of a text over lines. */
export const LABEL = { fill: "currentColor", stroke: "var(--ground)", strokeWidth: 4 };

/** The colour of the truth or of a method; the template defines those of the methods. */
export const colourOf = (name) => (name === TRUTH ? COLOURS.truth : `var(--method-${name})`);

/**
 * Draw a chart in an element, as wide as the element, before the next frame. Plot starts with the first chart: it takes as long
 * as the rest of the page, whose first view has no chart.
 *
 * @param {HTMLElement} host
 * @param {string} label for screen readers
 * @param {(Plot: typeof import("./plot.js")) => import("@observablehq/plot").PlotOptions} options gives the options of the plot
 */
export async function chart(host, label, options) {
  const Plot = await import("./plot.js");
  const drawn = Plot.plot({ width: Math.max(260, host.clientWidth || 0), height: 190, marginTop: 24, marginBottom: 40, ...options(Plot), ariaLabel: label });
  drawn.setAttribute("role", "img");
  // Plot labels the groups of its marks, which an image has no parts for.
  for (const group of drawn.querySelectorAll("[aria-label]")) {
    group.removeAttribute("aria-label");
  }
  host.replaceChildren(drawn);
}
