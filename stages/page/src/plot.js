/* The parts of Observable Plot that the page uses. */

export { areaY, barX, barY, dot, lineY, plot, ruleX, text } from "@observablehq/plot";
