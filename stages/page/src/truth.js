/* The truth: a mixture of Gaussians in the plane, in closed form (stages/mog/problem/gaussian_mixture.py). */

export class Mixture {
  /** Weights (K), means (K × 2) and covariances (K × 2 × 2). */
  constructor(weights, means, covariances) {
    this.weights = weights;
    this.means = means;
    this.covariances = covariances;
    this.parts = weights.map((weight, k) => {
      const [[a, b], [, d]] = covariances[k];
      const determinant = a * d - b * b;
      return {
        constant: Math.log(weight) - Math.log(2 * Math.PI) - Math.log(determinant) / 2,
        x: means[k][0],
        y: means[k][1],
        precision: [d / determinant, -b / determinant, a / determinant],
      };
    });
    this.joint = new Float64Array(weights.length);
  }

  /** The density of x + σε, ε ~ N(0, I): the same mixture with covariances C + σ² I. */
  smoothed(sigma) {
    const s = sigma * sigma;
    return new Mixture(
      this.weights,
      this.means,
      this.covariances.map(([[a, b], [c, d]]) => [[a + s, b], [c, d + s]]),
    );
  }

  /** log p(x) in nats; stores log w N(x; μ, C) of each component in `joint`. */
  logDensity(x, y) {
    let top = -Infinity;
    this.parts.forEach((one, k) => {
      const [a, b, d] = one.precision;
      const u = x - one.x;
      const v = y - one.y;
      this.joint[k] = one.constant - (a * u * u + 2 * b * u * v + d * v * v) / 2;
      top = Math.max(top, this.joint[k]);
    });
    return top + Math.log(this.joint.reduce((sum, value) => sum + Math.exp(value - top), 0));
  }

  /** ∇ log p(x), written into `out`. */
  score(x, y, out) {
    const log = this.logDensity(x, y);
    out[0] = out[1] = 0;
    this.parts.forEach((one, k) => {
      const [a, b, d] = one.precision;
      const share = Math.exp(this.joint[k] - log);
      const u = one.x - x;
      const v = one.y - y;
      out[0] += share * (a * u + b * v);
      out[1] += share * (b * u + d * v);
    });
  }

  /** The density of the other coordinate given that coordinate `seen` equals `value`: {weights, means, variances}. */
  conditional(seen, value) {
    const hidden = 1 - seen;
    const logs = this.weights.map((weight, k) => {
      const variance = this.covariances[k][seen][seen];
      return Math.log(weight) - ((value - this.means[k][seen]) ** 2 / variance + Math.log(2 * Math.PI * variance)) / 2;
    });
    const top = Math.max(...logs);
    const total = logs.reduce((sum, log) => sum + Math.exp(log - top), 0);
    const slope = this.covariances.map((c) => c[hidden][seen] / c[seen][seen]);
    return {
      weights: logs.map((log) => Math.exp(log - top) / total),
      means: this.means.map((mean, k) => mean[hidden] + slope[k] * (value - mean[seen])),
      variances: this.covariances.map((c, k) => c[hidden][hidden] - slope[k] * c[hidden][seen]),
    };
  }
}

/** The density of a one-dimensional mixture, as returned by `conditional`. */
export function lineDensity({ weights, means, variances }, value) {
  const parts = weights.map(
    (weight, k) => (weight * Math.exp((-((value - means[k]) ** 2) / variances[k]) / 2)) / Math.sqrt(2 * Math.PI * variances[k]),
  );
  return parts.reduce((sum, part) => sum + part, 0);
}
