/* The sandbox: gradients against finite differences, and training against the known optimum. */

import assert from "node:assert/strict";
import test from "node:test";
import { basic, denoising, infoNce, vicreg } from "../src/sandbox/losses.js";
import { Mlp, normal, uniform } from "../src/sandbox/mlp.js";
import { potential, spread, Trainer } from "../src/sandbox/trainer.js";
import { Mixture } from "../src/truth.js";

const draw = normal(uniform(1));
const drawn = (count, scale = 1) => Float64Array.from({ length: count }, () => scale * draw());

/** The derivative of `loss(values)` by each value, by central differences. */
function differences(values, loss) {
  const step = 1e-5;
  return values.map((value, i) => {
    const [low, high] = [value - step, value + step].map((changed) => {
      const copy = Float64Array.from(values);
      copy[i] = changed;
      return loss(copy);
    });
    return (high - low) / (2 * step);
  });
}

function close(found, expected, tolerance) {
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs(found[i] - value) <= tolerance * (1 + Math.abs(value)), `${i}: ${found[i]} instead of ${value}`);
  }
}

const noise = drawn(12);
for (const [name, loss] of Object.entries({
  denoising: (z) => denoising(z, noise, 0.5),
  basic: (z) => basic(z, 3),
  infoNce: (z) => infoNce(z, 3, 0.2),
  vicreg: (z) => vicreg(z, 3),
})) {
  test(`the derivative of ${name} is that of finite differences`, () => {
    const z = name === "denoising" ? drawn(12) : drawn(2 * 5 * 3, 0.5);
    close(loss(z).slope, differences(z, (changed) => loss(changed).loss), 1e-5);
  });
}

test("InfoNCE of equal embeddings is log B", () => {
  assert.ok(Math.abs(infoNce(new Float64Array(2 * 6 * 3).fill(1), 3, 0.1).loss - Math.log(6)) < 1e-12);
});

test("VICReg of constant embeddings is .99 β", () => {
  assert.ok(Math.abs(vicreg(new Float64Array(2 * 6 * 3).fill(1), 3).loss - 0.99 * 25) < 1e-9);
});

test("backpropagation gives the gradients of finite differences", () => {
  const network = new Mlp([2, 5, 4, 3], uniform(2));
  const [x, target] = [drawn(8), drawn(12)];
  const loss = () => network.forward(x).reduce((sum, value, i) => sum + (value - target[i]) ** 2 / 2, 0);
  const out = network.forward(x);
  network.backward(out.map((value, i) => value - target[i]));
  for (const layer of network.layers) {
    for (const [values, slopes] of [
      [layer.weight, layer.weightSlope],
      [layer.bias, layer.biasSlope],
    ]) {
      const kept = Float64Array.from(values);
      const expected = differences(kept, (changed) => {
        values.set(changed);
        return loss();
      });
      values.set(kept);
      close(slopes, expected, 1e-5);
    }
  }
});

const mixture = { means: [[-3, 0], [3, 1]], covariances: [[[1, 0.3], [0.3, 0.8]], [[0.6, 0], [0, 0.6]]], weights: [0.3, 0.7] };

test("denoising score matching learns the score of the noisy points", () => {
  const trainer = new Trainer({ loss: "dsm", seed: 3, ...mixture });
  for (let i = 0; i < 900; i++) {
    trainer.step();
  }
  const truth = new Mixture(mixture.weights, mixture.means, mixture.covariances).smoothed(0.5);
  const x = trainer.sample(500);
  const found = trainer.apply(x);
  const true_ = [0, 0];
  let [error, size] = [0, 0];
  for (let i = 0; i < 500; i++) {
    truth.score(x[2 * i], x[2 * i + 1], true_);
    error += (found[2 * i] - true_[0]) ** 2 + (found[2 * i + 1] - true_[1]) ** 2;
    size += true_[0] ** 2 + true_[1] ** 2;
  }
  assert.ok(error / size < 0.1, `relative error ${error / size}`);
});

/** The standard deviation of the embeddings of points, summed over dimensions: after training by that before. */
function widening(loss) {
  const trainer = new Trainer({ loss, seed: 4, ...mixture });
  const x = trainer.sample(300);
  const deviation = () => {
    const z = trainer.apply(x);
    const means = Array.from({ length: 8 }, (_, d) => z.filter((_, i) => i % 8 === d).reduce((a, b) => a + b, 0) / 300);
    return Math.sqrt(z.reduce((sum, value, i) => sum + (value - means[i % 8]) ** 2 / 300, 0));
  };
  const before = deviation();
  for (let i = 0; i < 300; i++) {
    trainer.step();
  }
  return deviation() / before;
}

test("the basic JEPA collapses, VICReg and InfoNCE do not", () => {
  assert.ok(widening("jepa_basic") < 0.05);
  assert.ok(widening("vicreg") > 1);
  assert.ok(widening("contrastive") > 1);
});

test("the potential of a conservative field is its energy up to a constant", () => {
  const [width, height, dx, dy] = [9, 7, 0.25, 0.5];
  const energy = (x, y) => x * x + x * y + 0.5 * y * y;
  const score = new Float64Array(2 * width * height);
  const expected = new Float64Array(width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [x, y, node] = [column * dx, row * dy, row * width + column];
      score.set([-(2 * x + y), -(x + y)], 2 * node);
      expected[node] = energy(x, y);
    }
  }
  const found = potential(score, width, height, dx, dy);
  close(found.map((value) => value - found[0]), expected.map((value) => value - expected[0]), 1e-9);
});

test("the spread is 0 for equal directions, and 1 for opposite ones", () => {
  assert.ok(spread(Float64Array.of(1, 2, 2, 4, 0.5, 1), 2) < 1e-5);
  assert.ok(Math.abs(spread(Float64Array.of(1, 2, -3, -6), 2) - 1) < 1e-9);
});
