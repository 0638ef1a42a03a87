/* The project's losses (stages/methods) on a batch, with their derivatives by the outputs of the network. */

/**
 * Denoising score matching, E ‖s(x + σε) + ε/σ‖², of outputs s (B × 2) at the noisy points, with ε (B × 2).
 *
 * @returns {{loss: number, slope: Float64Array}}
 */
export function denoising(score, noise, sigma) {
  const rows = score.length / 2;
  const slope = new Float64Array(score.length);
  let loss = 0;
  for (let i = 0; i < score.length; i++) {
    const error = score[i] + noise[i] / sigma;
    loss += (error * error) / rows;
    slope[i] = (2 * error) / rows;
  }
  return { loss, slope };
}

/** Basic JEPA, E ‖z − z'‖², of two views' embeddings in one batch: z (B × D), then z'. The constant map is a minimiser. */
export function basic(z, dimension) {
  const half = z.length / 2;
  const rows = half / dimension;
  const slope = new Float64Array(z.length);
  let loss = 0;
  for (let i = 0; i < half; i++) {
    const difference = z[i] - z[half + i];
    loss += (difference * difference) / rows;
    slope[i] = (2 * difference) / rows;
    slope[half + i] = -slope[i];
  }
  return { loss, slope };
}

/** InfoNCE, −1/B Σ_i log (exp c_ii / Σ_j exp c_ij) with c_ij = cos(z_i, z'_j)/τ, of embeddings in one batch: z (B × D), then z'. */
export function infoNce(z, dimension, temperature) {
  const rows = z.length / dimension / 2;
  const length = new Float64Array(2 * rows);
  const unit = new Float64Array(z.length);
  for (let row = 0; row < 2 * rows; row++) {
    let square = 0;
    for (let d = 0; d < dimension; d++) {
      square += z[row * dimension + d] ** 2;
    }
    length[row] = Math.sqrt(square) + 1e-12;
    for (let d = 0; d < dimension; d++) {
      unit[row * dimension + d] = z[row * dimension + d] / length[row];
    }
  }
  const byUnit = new Float64Array(z.length);
  const critic = new Float64Array(rows);
  let loss = 0;
  for (let i = 0; i < rows; i++) {
    let top = -Infinity;
    for (let j = 0; j < rows; j++) {
      let product = 0;
      for (let d = 0, a = i * dimension, b = (rows + j) * dimension; d < dimension; d++) {
        product += unit[a + d] * unit[b + d];
      }
      critic[j] = product / temperature;
      top = Math.max(top, critic[j]);
    }
    let total = 0;
    for (let j = 0; j < rows; j++) {
      total += Math.exp(critic[j] - top);
    }
    loss += (top + Math.log(total) - critic[i]) / rows;
    for (let j = 0; j < rows; j++) {
      const d = (Math.exp(critic[j] - top) / total - Number(i === j)) / rows / temperature;
      for (let k = 0, a = i * dimension, b = (rows + j) * dimension; k < dimension; k++) {
        byUnit[a + k] += d * unit[b + k];
        byUnit[b + k] += d * unit[a + k];
      }
    }
  }
  const slope = new Float64Array(z.length);
  for (let row = 0; row < 2 * rows; row++) {
    let along = 0;
    for (let d = 0, a = row * dimension; d < dimension; d++) {
      along += byUnit[a + d] * unit[a + d];
    }
    for (let d = 0, a = row * dimension; d < dimension; d++) {
      slope[a + d] = (byUnit[a + d] - along * unit[a + d]) / length[row];
    }
  }
  return { loss, slope };
}

/**
 * VICReg, 25 · mean ‖z − z'‖²/D + 25/2 · [v(z) + v(z')] + c(z) + c(z') with the variance hinge v and the covariance penalty c
 * of stages/methods/vicreg.py, of embeddings in one batch: z (B × D), then z'.
 */
export function vicreg(z, dimension, { invariance = 25, variance = 25, covariance = 1 } = {}) {
  const found = basic(z, dimension);
  const slope = found.slope.map((value) => (invariance * value) / dimension);
  let loss = (invariance * found.loss) / dimension;
  const half = z.length / 2;
  for (const start of [0, half]) {
    const view = z.subarray(start, start + half);
    const rows = half / dimension;
    const centred = Float64Array.from(view);
    for (let d = 0; d < dimension; d++) {
      let mean = 0;
      for (let row = 0; row < rows; row++) {
        mean += view[row * dimension + d] / rows;
      }
      for (let row = 0; row < rows; row++) {
        centred[row * dimension + d] -= mean;
      }
    }
    // Derivative by the covariances (D × D): that of a centred value is the derivative times the other centred values.
    const byCovariance = new Float64Array(dimension * dimension);
    for (let d = 0; d < dimension; d++) {
      for (let e = 0; e < dimension; e++) {
        let sum = 0;
        for (let row = 0; row < rows; row++) {
          sum += centred[row * dimension + d] * centred[row * dimension + e];
        }
        const value = sum / (rows - 1);
        if (d === e) {
          const deviation = Math.sqrt(value + 1e-4);
          loss += (variance / 2 / dimension) * Math.max(0, 1 - deviation);
          byCovariance[d * dimension + e] = deviation < 1 ? -variance / 4 / dimension / deviation : 0;
        } else {
          loss += (covariance / dimension) * value * value;
          byCovariance[d * dimension + e] = (2 * covariance * value) / dimension;
        }
      }
    }
    for (let row = 0; row < rows; row++) {
      for (let d = 0; d < dimension; d++) {
        let sum = 0;
        for (let e = 0; e < dimension; e++) {
          sum += byCovariance[d * dimension + e] * centred[row * dimension + e];
        }
        slope[start + row * dimension + d] += (2 * sum) / (rows - 1);
      }
    }
  }
  return { loss, slope };
}
