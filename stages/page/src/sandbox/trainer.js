/* Training of a small network on a mixture of Gaussians with one of the project's losses. */

import { basic, denoising, infoNce, vicreg } from "./losses.js";
import { Mlp, normal, uniform } from "./mlp.js";

/** Sizes and settings; those of params.yaml, but with fewer points per batch and narrower layers, so that a browser keeps up. */
export const SETTINGS = { width: 48, depth: 2, dimension: 8, batch: 96, rate: 0.003, sigma: 0.5, noise: 1, temperature: 0.1, steps: 1500 };

/** The losses by name, with the words of the page. */
export const LOSSES = {
  dsm: "denoising score matching",
  contrastive: "InfoNCE",
  vicreg: "VICReg",
  jepa_basic: "basic JEPA (nothing prevents collapse)",
};

export class Trainer {
  /**
   * @param {{loss: string, means: number[][], covariances: number[][][], weights: number[], seed: number}} options
   */
  constructor({ loss, means, covariances, weights, seed }) {
    this.name = loss;
    this.random = uniform(seed);
    this.normal = normal(this.random);
    this.modes = means.map((mean, k) => {
      const [[a, b], [, d]] = covariances[k];
      const first = Math.sqrt(a);
      return { mean, factor: [first, b / first, Math.sqrt(d - (b * b) / a)] };
    });
    this.weights = weights;
    const { width, depth, dimension } = SETTINGS;
    // The network sees points of about unit size.
    this.scale = 1 / Math.max(1, ...means.flat().map(Math.abs));
    this.network = new Mlp([2, ...Array(depth).fill(width), loss === "dsm" ? 2 : dimension], this.random);
    this.done = 0;
  }

  /** `count` points of the mixture, (count × 2). */
  sample(count) {
    const x = new Float64Array(2 * count);
    for (let row = 0; row < count; row++) {
      let left = this.random();
      let k = 0;
      while (k < this.weights.length - 1 && left >= this.weights[k]) {
        left -= this.weights[k++];
      }
      const { mean, factor } = this.modes[k];
      const [u, v] = [this.normal(), this.normal()];
      x[2 * row] = mean[0] + factor[0] * u;
      x[2 * row + 1] = mean[1] + factor[1] * u + factor[2] * v;
    }
    return x;
  }

  /** The outputs of the network at points (N × 2): scores for denoising score matching, embeddings otherwise. */
  apply(points) {
    const out = this.network.forward(points.map((value) => value * this.scale));
    return this.name === "dsm" ? out.map((value) => value / SETTINGS.sigma) : out;
  }

  /** One step; returns the loss. */
  step() {
    const { batch, sigma, noise, dimension, temperature, rate, steps } = SETTINGS;
    const x = this.sample(batch);
    let found;
    if (this.name === "dsm") {
      const drawn = x.map(() => this.normal());
      found = denoising(this.apply(x.map((value, i) => value + sigma * drawn[i])), drawn, sigma);
      found.slope = found.slope.map((value) => value / sigma);
    } else {
      const views = new Float64Array(2 * x.length);
      // The basic JEPA compares a point with one noisy view of it, the others two noisy views.
      const clean = this.name === "jepa_basic";
      for (let i = 0; i < x.length; i++) {
        views[i] = x[i] + (clean ? 0 : noise * this.normal());
        views[x.length + i] = x[i] + noise * this.normal();
      }
      const z = this.apply(views);
      found = { contrastive: () => infoNce(z, dimension, temperature), vicreg: () => vicreg(z, dimension), jepa_basic: () => basic(z, dimension) }[this.name]();
    }
    this.network.backward(found.slope);
    this.done += 1;
    this.network.step(rate * 0.5 * (1 + Math.cos((Math.PI * Math.min(this.done, steps)) / steps)));
    return found.loss;
  }
}

/** Root mean square distance of the L2-normalised rows of z (N × D) from their mean: 0 for a collapsed embedding, at most 1. */
export function spread(z, dimension) {
  const rows = z.length / dimension;
  const mean = new Float64Array(dimension);
  for (let row = 0; row < rows; row++) {
    const values = z.subarray(row * dimension, (row + 1) * dimension);
    const length = Math.hypot(...values) + 1e-12;
    for (let d = 0; d < dimension; d++) {
      mean[d] += values[d] / length / rows;
    }
  }
  return Math.sqrt(Math.max(0, 1 - mean.reduce((sum, value) => sum + value * value, 0)));
}

/**
 * An energy with gradient −s, up to a constant, for scores s (H × W × 2) on a grid with sides W and H and spacings dx and dy: the
 * mean of the line integrals along rows and then columns, and along columns and then rows, which agree if s is a gradient.
 */
export function potential(score, width, height, dx, dy) {
  const byRows = new Float64Array(width * height);
  const byColumns = new Float64Array(width * height);
  const at = (row, column, d) => score[2 * (row * width + column) + d];
  const right = (row, column) => (-(at(row, column - 1, 0) + at(row, column, 0)) / 2) * dx;
  const up = (row, column) => (-(at(row - 1, column, 1) + at(row, column, 1)) / 2) * dy;
  // Start in the middle, where scores are best known.
  const [middleRow, middleColumn] = [height >> 1, width >> 1];
  const walk = (count, middle, visit) => {
    for (let i = middle + 1; i < count; i++) {
      visit(i, i - 1, 1);
    }
    for (let i = middle - 1; i >= 0; i--) {
      visit(i, i + 1, -1);
    }
  };
  walk(height, middleRow, (row, last, sign) => {
    byColumns[row * width + middleColumn] = byColumns[last * width + middleColumn] + sign * up(Math.max(row, last), middleColumn);
  });
  walk(width, middleColumn, (column, last, sign) => {
    byRows[middleRow * width + column] = byRows[middleRow * width + last] + sign * right(middleRow, Math.max(column, last));
  });
  for (let row = 0; row < height; row++) {
    walk(width, middleColumn, (column, last, sign) => {
      byColumns[row * width + column] = byColumns[row * width + last] + sign * right(row, Math.max(column, last));
    });
  }
  for (let column = 0; column < width; column++) {
    walk(height, middleRow, (row, last, sign) => {
      byRows[row * width + column] = byRows[last * width + column] + sign * up(Math.max(row, last), column);
    });
  }
  return byRows.map((value, node) => (value + byColumns[node]) / 2);
}
