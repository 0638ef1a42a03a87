/* Bars of the shares of points in each mode, beside the true mode weights. */

import * as d3 from "./d3.js";

/** Mean responsibility P(mode | x) of each mode over points [[x, y], …] under a mixture, as in the pipeline. */
export function shares(points, mixture) {
  const sums = mixture.weights.map(() => 0);
  for (const [x, y] of points) {
    const log = mixture.logDensity(x, y);
    for (const [k, joint] of mixture.joint.entries()) {
      sums[k] += Math.exp(joint - log);
    }
  }
  return sums.map((sum) => (points.length ? sum / points.length : 0));
}

const percent = d3.format(".0%");

export class WeightBars {
  constructor(host, weights) {
    this.weights = weights;
    this.box = d3.select(host).append("div").attr("class", "weights");
  }

  /** Show the shares; `colour` is that of the method that they come from. */
  show(found, colour) {
    this.box.style("--own", colour);
    this.box
      .selectAll(".weight")
      .data(found)
      .join((enter) => {
        const bar = enter.append("div").attr("class", "weight");
        bar.append("span").attr("class", "name");
        const drawn = bar.append("span").attr("class", "share");
        drawn.append("i");
        drawn.append("b");
        return bar;
      })
      .call((bar) => {
        bar.select(".name").text((share, k) => `mode ${k + 1}: ${percent(share)} (true ${percent(this.weights[k])})`);
        bar.select("i").style("width", (share) => `${100 * share}%`);
        bar.select("b").style("left", (_, k) => `${100 * this.weights[k]}%`);
      });
  }
}

/** Draw points [[x, y], …] as dots on the canvas of a map. */
export function drawParticles(map, points) {
  const context = map.particles.getContext("2d");
  context.clearRect(0, 0, map.particles.width, map.particles.height);
  context.fillStyle = "#fff";
  context.strokeStyle = "#000a";
  for (const [x, y] of points) {
    context.beginPath();
    context.arc(2 * map.x(x), 2 * map.y(y), 4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
