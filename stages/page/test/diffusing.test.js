import assert from "node:assert/strict";
import { test } from "node:test";
import { annealed, flow, forward } from "../src/diffusing.js";
import { Grid } from "../src/fields.js";
import { normal, uniform } from "../src/sandbox/mlp.js";

const side = Array.from({ length: 41 }, (_, i) => -5 + i / 4);
const grid = new Grid(side, side);
const sigmas = [10, 6.5, 4.2, 2.8, 1.8, 1.2, 0.8, 0.5, 0.3, 0.2, 0.1];

/** The scores of N(0, 1) with noise σ, −x / (1 + σ²), as page data. */
const schedule = {
  sigmas,
  scores: {
    shape: [sigmas.length, 41, 41, 2],
    values: Float32Array.from(sigmas.flatMap((sigma) => Array.from({ length: grid.size }, (_, node) => grid.point(node).map((x) => -x / (1 + sigma * sigma))).flat())),
  },
};
const random = normal(uniform(5));
const points = Array.from({ length: 400 }, () => [random(), random()]);
const variance = (frame) => frame.reduce((sum, [x, y]) => sum + x * x + y * y, 0) / (2 * frame.length);

test("noise adds its variance", () => {
  const frames = forward(points, [...sigmas].reverse(), random);
  assert.equal(frames.length, sigmas.length + 1);
  assert.deepEqual(frames[0], points);
  assert.ok(Math.abs(variance(frames.at(-1)) / 101 - 1) < 0.15, String(variance(frames.at(-1))));
});

test("the probability flow of one Gaussian scales points by the ratio of the standard deviations", () => {
  const start = [[7, -3], [20, 12]];
  const frames = [...flow(start, schedule, grid, 1)];
  assert.equal(frames.length, sigmas.length);
  for (const [level, sigma] of sigmas.entries()) {
    const ratio = Math.sqrt((1 + sigma ** 2) / (1 + sigmas[0] ** 2));
    for (const [i, [x, y]] of start.entries()) {
      assert.ok(Math.abs(frames[level][i][0] - ratio * x) < 0.02 * Math.abs(x) && Math.abs(frames[level][i][1] - ratio * y) < 0.02 * Math.abs(y), `σ = ${sigma}`);
    }
  }
});

test("annealed Langevin dynamics reach the variance of the smallest noise level", () => {
  const start = points.map(([x, y]) => [10 * x, 10 * y]);
  const frames = [...annealed(start, schedule, grid, 1, random)];
  assert.equal(frames.length, sigmas.length);
  // The step of one fifth makes the variance of the chain 1/(1 − η/2) times that of the density.
  assert.ok(Math.abs(variance(frames.at(-1)) / (1.01 / 0.9) - 1) < 0.12, String(variance(frames.at(-1))));
});
