/* Noise as a bridge: points to noise and back, by the learned scores of a noise schedule. Pure. */

import { part } from "./data.js";
import { vectorAt } from "./fields.js";

/** Steps of Heun's method between two noise levels, and Langevin steps at each level. */
const ODE_STEPS = 8;
const LANGEVIN_STEPS = 40;
/** Langevin's step size as a fraction of σ² plus the smallest variance of a mode: the inverse of the largest curvature of −log p_σ. */
const STEP = 0.2;

/** Langevin's step size at a noise level. */
export const langevinStep = (sigma, smallest) => STEP * (sigma * sigma + smallest);

/**
 * Points with growing noise, x + σε, for σ = 0 and then each of the sigmas in increasing order; (L + 1) × N × 2.
 *
 * @param {number[][]} points
 * @param {number[]} sigmas in increasing order
 * @param {() => number} normal
 */
export function forward(points, sigmas, normal) {
  const noise = points.map(() => [normal(), normal()]);
  return [0, ...sigmas].map((sigma) => points.map(([x, y], i) => [x + sigma * noise[i][0], y + sigma * noise[i][1]]));
}

/**
 * The score at a point: within the grid by interpolation; beyond it, where nothing is stored, that of the nearest point within plus
 * that of the tail of a Gaussian with the variance of a mode.
 */
export function scoreAt(field, grid, variance, x, y, out) {
  const [a, b] = grid.within(x, y);
  vectorAt(field, grid, a, b, out);
  out[0] -= (x - a) / variance;
  out[1] -= (y - b) / variance;
}

/** The learned score between two levels of a schedule: linear in log σ between the scores times σ, whose size hardly varies. */
function between(schedule, grid, smallest) {
  const { sigmas, scores } = schedule;
  const [a, b] = [
    [0, 0],
    [0, 0],
  ];
  return (level, share, x, y, out) => {
    scoreAt(part(scores, level), grid, sigmas[level] ** 2 + smallest, x, y, a);
    scoreAt(part(scores, level + 1), grid, sigmas[level + 1] ** 2 + smallest, x, y, b);
    const sigma = sigmas[level] ** (1 - share) * sigmas[level + 1] ** share;
    for (let d = 0; d < 2; d++) {
      out[d] = ((1 - share) * sigmas[level] * a[d] + share * sigmas[level + 1] * b[d]) / sigma;
    }
    return sigma;
  };
}

/**
 * The probability-flow ODE dx/dσ = −σ s(x, σ) from the largest σ to the smallest, by Heun's method in log σ; yields the points at each level.
 *
 * @param {number[][]} start
 * @param {{sigmas: number[], scores: any}} schedule with decreasing sigmas
 * @param {import("./fields.js").Grid} grid
 * @param {number} smallest variance of a mode
 */
export function* flow(start, schedule, grid, smallest) {
  const score = between(schedule, grid, smallest);
  let points = start;
  yield points;
  const [s, t] = [
    [0, 0],
    [0, 0],
  ];
  for (let level = 0; level + 1 < schedule.sigmas.length; level++) {
    const h = Math.log(schedule.sigmas[level + 1] / schedule.sigmas[level]) / ODE_STEPS;
    points = points.map(([x, y]) => {
      for (let i = 0; i < ODE_STEPS; i++) {
        // With u = log σ the equation is dx/du = −σ² s.
        const first = score(level, i / ODE_STEPS, x, y, s) ** 2;
        const second = score(level, (i + 1) / ODE_STEPS, x - h * first * s[0], y - h * first * s[1], t) ** 2;
        x -= (h / 2) * (first * s[0] + second * t[0]);
        y -= (h / 2) * (first * s[1] + second * t[1]);
      }
      return [x, y];
    });
    yield points;
  }
}

/** Annealed Langevin dynamics: at each level some Langevin steps with its learned score; yields the points after each level. */
export function* annealed(start, schedule, grid, smallest, normal) {
  const s = [0, 0];
  let points = start;
  for (const [level, sigma] of schedule.sigmas.entries()) {
    const field = part(schedule.scores, level);
    const step = langevinStep(sigma, smallest);
    const noise = Math.sqrt(2 * step);
    points = points.map(([x, y]) => {
      for (let i = 0; i < LANGEVIN_STEPS; i++) {
        scoreAt(field, grid, sigma * sigma + smallest, x, y, s);
        x += step * s[0] + noise * normal();
        y += step * s[1] + noise * normal();
      }
      return [x, y];
    });
    yield points;
  }
}
