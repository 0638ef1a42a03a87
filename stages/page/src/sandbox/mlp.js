/* A multilayer perceptron with SiLU between the layers, its gradients by backpropagation, and Adam. Batches are row-major. */

/** A generator of uniform random numbers in [0, 1) with a seed: mulberry32 by Tommy Ettinger, in the public domain. */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A generator of standard normal random numbers from one of uniform ones, by the method of Box and Muller. */
export function normal(random) {
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

export class Mlp {
  /**
   * Weights uniform in ±1/√inputs, as PyTorch initialises its linear layers.
   *
   * @param {number[]} sizes of the input, the hidden layers and the output
   * @param {() => number} random
   */
  constructor(sizes, random) {
    this.sizes = sizes;
    this.layers = sizes.slice(1).map((outputs, l) => {
      const inputs = sizes[l];
      const drawn = (count) => Float64Array.from({ length: count }, () => (2 * random() - 1) / Math.sqrt(inputs));
      const [weight, bias] = [drawn(inputs * outputs), drawn(outputs)];
      return { inputs, outputs, weight, bias, weightSlope: new Float64Array(weight.length), biasSlope: new Float64Array(outputs) };
    });
    this.moments = this.layers.flatMap(({ weight, bias }) => [weight, bias]).map((one) => [new Float64Array(one.length), new Float64Array(one.length)]);
    this.steps = 0;
  }

  /** The outputs (B × outputs) of inputs x (B × inputs), kept for `backward`. */
  forward(x) {
    const rows = x.length / this.sizes[0];
    this.kept = [];
    let values = x;
    for (const [l, { inputs, outputs, weight, bias }] of this.layers.entries()) {
      const before = new Float64Array(rows * outputs);
      for (let row = 0; row < rows; row++) {
        for (let o = 0; o < outputs; o++) {
          let sum = bias[o];
          for (let i = 0, w = o * inputs, v = row * inputs; i < inputs; i++) {
            sum += weight[w + i] * values[v + i];
          }
          before[row * outputs + o] = sum;
        }
      }
      this.kept.push({ values, before });
      values = l === this.layers.length - 1 ? before : before.map((u) => u / (1 + Math.exp(-u)));
    }
    return values;
  }

  /** Add the gradients of a loss to those of the layers; `slope` is its derivative by the outputs of the last `forward`. */
  backward(slope) {
    let after = slope;
    for (let l = this.layers.length - 1; l >= 0; l--) {
      const { inputs, outputs, weight, weightSlope, biasSlope } = this.layers[l];
      const { values, before } = this.kept[l];
      const rows = before.length / outputs;
      if (l < this.layers.length - 1) {
        after = after.map((value, i) => {
          const gate = 1 / (1 + Math.exp(-before[i]));
          return value * gate * (1 + before[i] * (1 - gate));
        });
      }
      const below = new Float64Array(rows * inputs);
      for (let row = 0; row < rows; row++) {
        for (let o = 0; o < outputs; o++) {
          const d = after[row * outputs + o];
          biasSlope[o] += d;
          for (let i = 0, w = o * inputs, v = row * inputs; i < inputs; i++) {
            weightSlope[w + i] += d * values[v + i];
            below[v + i] += d * weight[w + i];
          }
        }
      }
      after = below;
    }
    return after;
  }

  /** One step of Adam (β = .9, .999; ε = 10⁻⁸) along the gradients, which are then zero again. */
  step(rate) {
    this.steps += 1;
    const [first, second] = [1 - 0.9 ** this.steps, 1 - 0.999 ** this.steps];
    const pairs = this.layers.flatMap(({ weight, bias, weightSlope, biasSlope }) => [
      [weight, weightSlope],
      [bias, biasSlope],
    ]);
    for (const [n, [values, slopes]] of pairs.entries()) {
      const [mean, square] = this.moments[n];
      for (let i = 0; i < values.length; i++) {
        mean[i] += 0.1 * (slopes[i] - mean[i]);
        square[i] += 0.001 * (slopes[i] * slopes[i] - square[i]);
        values[i] -= (rate * (mean[i] / first)) / (Math.sqrt(square[i] / second) + 1e-8);
      }
      slopes.fill(0);
    }
  }
}
