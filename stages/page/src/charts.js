/* Charts by Observable Plot, in the colours of the page: the truth is grey, as in all figures, and what was learned has one colour. */

import { plot } from "@observablehq/plot";

export { areaY, barX, barY, dot, lineY, ruleX, text } from "@observablehq/plot";

export const COLOURS = { truth: "var(--truth)", learned: "var(--accent)", soft: "var(--soft)" };

/**
 * Draw a chart in an element, as wide as the element.
 *
 * @param {HTMLElement} host
 * @param {string} label for screen readers
 * @param {import("@observablehq/plot").PlotOptions} options
 */
export function chart(host, label, options) {
  const drawn = plot({ width: Math.max(260, host.clientWidth || 0), height: 190, marginTop: 24, marginBottom: 40, ...options, ariaLabel: label });
  drawn.setAttribute("role", "img");
  // Plot labels the groups of its marks, which an image has no parts for.
  for (const group of drawn.querySelectorAll("[aria-label]")) {
    group.removeAttribute("aria-label");
  }
  host.replaceChildren(drawn);
}
