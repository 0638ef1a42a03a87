import assert from "node:assert/strict";
import { test } from "node:test";
import { lineDensity, Mixture } from "../src/truth.js";

const near = (found, expected, tolerance = 1e-9) => assert.ok(Math.abs(found - expected) < tolerance, `${found} is not ${expected}`);
const single = new Mixture([1], [[1, 2]], [[[2, 0.5], [0.5, 1]]]);
const several = new Mixture(
  [0.4, 0.35, 0.25],
  [[0, 0], [5, 5], [-5, 5]],
  [[[1, 0.8], [0.8, 1]], [[1, -0.6], [-0.6, 1]], [[0.5, 0], [0, 0.5]]],
);

test("the log-density of one Gaussian is the closed form", () => {
  const determinant = 2 * 1 - 0.5 ** 2;
  const [dx, dy] = [0.3 - 1, 1.1 - 2];
  const squared = (1 * dx * dx - 2 * 0.5 * dx * dy + 2 * dy * dy) / determinant;
  near(single.logDensity(0.3, 1.1), -squared / 2 - Math.log(2 * Math.PI) - Math.log(determinant) / 2);
});

test("the density of a mixture integrates to 1", () => {
  let mass = 0;
  for (let x = -12; x <= 12; x += 0.05) {
    for (let y = -8; y <= 12; y += 0.05) {
      mass += Math.exp(several.logDensity(x, y)) * 0.05 ** 2;
    }
  }
  near(mass, 1, 1e-6);
});

test("the score is the gradient of the log-density", () => {
  const score = [0, 0];
  for (const [x, y] of [[0, 0], [2, 3], [-4, 6], [8, -3]]) {
    several.score(x, y, score);
    const step = 1e-5;
    near(score[0], (several.logDensity(x + step, y) - several.logDensity(x - step, y)) / (2 * step), 1e-6);
    near(score[1], (several.logDensity(x, y + step) - several.logDensity(x, y - step)) / (2 * step), 1e-6);
  }
});

test("smoothing adds the variance of the noise to each mode", () => {
  const smoothed = several.smoothed(2);
  assert.deepEqual(smoothed.covariances[0], [[5, 0.8], [0.8, 5]]);
  assert.deepEqual(smoothed.means, several.means);
});

test("a conditional density is the density along the line, normalised", () => {
  for (const [seen, value] of [[0, 1.3], [1, 5]]) {
    const along = several.conditional(seen, value);
    const points = Array.from({ length: 4001 }, (_, i) => -20 + i / 100);
    const at = (other) => Math.exp(seen ? several.logDensity(other, value) : several.logDensity(value, other));
    const mass = points.reduce((sum, other) => sum + at(other) / 100, 0);
    for (const other of [-5, 0, 1.5, 5]) {
      near(lineDensity(along, other), at(other) / mass, 1e-6);
    }
  }
});

test("the second view given the first one has the joint density divided by that of the first", () => {
  // Two dimensions of each view make one Gaussian of four for a single component; its conditional by its precision matrix.
  for (const first of [0, 0.7]) {
    const given = several.secondView([4.2, 5.5], first, 0.5);
    let mass = 0;
    for (let x = -9; x <= 9; x += 0.05) {
      for (let y = -4; y <= 9; y += 0.05) {
        mass += Math.exp(given.logDensity(x, y)) * 0.05 ** 2;
      }
    }
    near(mass, 1, 1e-4);
  }
});

/** @type {[number, number][][]} */
const pairs = [[[0, 0], [1, 1]], [[4, 5], [5, 4]], [[-4, 4], [0, 1]]];

test("views are exchangeable: p(x) p(x' | x) = p(x') p(x | x')", () => {
  const noisy = several.smoothed(0.7);
  for (const [a, b] of pairs) {
    const forth = noisy.logDensity(...a) + several.secondView(a, 0.7, 0.7).logDensity(...b);
    const back = noisy.logDensity(...b) + several.secondView(b, 0.7, 0.7).logDensity(...a);
    near(forth, back, 1e-9);
  }
});

test("the mode of a point is the component with the largest probability", () => {
  assert.deepEqual(several.means.map((mean) => several.mode(...mean)), [0, 1, 2]);
});

test("the smallest variance is that of the narrowest mode along its short axis", () => {
  near(several.smallestVariance, 1 - 0.8);
});
