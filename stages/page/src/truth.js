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

  /** The smallest variance of a mode along any direction: the smallest eigenvalue of a covariance. */
  get smallestVariance() {
    return Math.min(...this.covariances.map(([[a, b], [, d]]) => (a + d) / 2 - Math.hypot((a - d) / 2, b)));
  }

  /** The component that a point belongs to with the largest probability, counted from 0. */
  mode(x, y) {
    this.logDensity(x, y);
    return this.joint.indexOf(Math.max(...this.joint));
  }

  /**
   * The distribution of the second view x' = y + s₂ε' of a point y given the first one, x = y + s₁ε:
   * E[y | x, k] = μ + C (C + s₁² I)⁻¹ (x − μ), and its covariance C − C (C + s₁² I)⁻¹ C.
   */
  secondView([x, y], first, second) {
    const s = second * second;
    if (first === 0) {
      return new Mixture([1], [[x, y]], [[[s, 0], [0, s]]]);
    }
    const noisy = this.smoothed(first);
    const log = noisy.logDensity(x, y);
    const weights = [...noisy.joint].map((joint) => Math.exp(joint - log));
    const parts = this.covariances.map(([[a, b], [, d]], k) => {
      const [p, q, r] = noisy.parts[k].precision;
      // The gain G = C (C + s₁² I)⁻¹, and G C.
      const gain = [[a * p + b * q, a * q + b * r], [b * p + d * q, b * q + d * r]];
      const [u, v] = [x - this.means[k][0], y - this.means[k][1]];
      const mean = this.means[k].map((value, i) => value + gain[i][0] * u + gain[i][1] * v);
      const product = gain.map(([g, h]) => [g * a + h * b, g * b + h * d]);
      const covariance = [[a - product[0][0] + s, b - product[0][1]], [b - product[1][0], d - product[1][1] + s]];
      return { mean, covariance };
    });
    return new Mixture(weights, parts.map((one) => one.mean), parts.map((one) => one.covariance));
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
