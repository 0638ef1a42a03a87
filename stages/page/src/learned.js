/* What a method learned, or the truth, as fields on a grid. */

import { numbers, pageData, part } from "./data.js";
import { cosineEnergy, nearest } from "./fields.js";
import { DEPTH, SCALES } from "./map.js";

/** Range of the difference of two energies, in nats. */
const MOST = 6;
/** The name of the truth in the place of a method. */
export const TRUTH = "truth";

/** Smallest value of an array, which may be too long for Math.min(...values). */
export const lowest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

/** An energy above its smallest value. */
function aboveMinimum(values) {
  const low = lowest(values);
  return values.map((value) => value - low);
}

/**
 * A field on a map.
 *
 * @typedef {{grid: import("./fields.js").Grid, values: ArrayLike<number> & {[index: number]: number}, range: number[],
 *   scale: Uint8Array<ArrayBuffer>, unit: string, title: string, note: string, clipped: boolean,
 *   empty?: boolean}} Field an `empty` one shows no colours
 */

export class Learned {
  /** `overview` is the page data of one method (stages/mog/evaluation/page_data.py); `details` come later. */
  constructor(name, title, overview, domain) {
    this.name = name;
    this.title = title;
    this.overview = overview;
    this.details = null;
    /** Arrays by size of the grid, reused while the reference point is dragged. */
    this.spaces = new Map();
    this.domain = domain;
    this.embeds = overview.kind === "embedding";
    this.sigma = this.embeds ? 0 : overview.sigma;
    this.truth = this.embeds ? domain.mixture : domain.mixture.smoothed(overview.sigma);
  }

  /** Load the details, once. */
  async load() {
    this.details ??= await pageData.get(`mog/${this.name}/details`, `page_data/mog/${this.name}.details.js`);
    return this.details;
  }

  /** The index of the snapshot nearest to a training step. */
  snapshot(step) {
    return nearest(this.overview.steps, step);
  }

  /** Which network is shown: its seed and its training step. */
  when({ seed = 0, at = null }) {
    const { steps } = this.overview;
    const last = steps.at(-1);
    const step = at === null ? last : steps[this.snapshot(at)];
    return `seed ${seed}, ${step === last ? `end of training (${last} steps)` : `step ${step} of ${last}`}`;
  }

  /** A grid and the energy on it: of a trained seed, or of the first seed at a snapshot; coarse until the details are loaded. */
  energy({ seed = 0, at = null, ref = null, coarse = false } = {}) {
    const { domain, details } = this;
    const packed = !details || coarse ? null : seed ? details.other_seeds : at === null ? null : details.snapshots;
    const fine = details && !coarse && !packed;
    const grid = fine ? domain.grid : domain.coarse;
    const whole = fine ? (this.embeds ? details.embedding : details.energy) : this.overview.coarse;
    const found = packed ? part(packed, seed ? seed - 1 : this.snapshot(at)) : numbers(whole);
    if (!this.embeds) {
      return { grid, values: found };
    }
    const space = this.spaces.get(grid.size) ?? new Float32Array(grid.size);
    this.spaces.set(grid.size, space);
    return { grid, values: cosineEnergy(found, whole.shape.at(-1), grid.node(...(ref ?? domain.reference)), space) };
  }

  /** A grid and the score of a trained seed on it, at the noise level σ of the method; null until the details are loaded. */
  score(seed) {
    if (!this.details || this.embeds) {
      return null;
    }
    return seed
      ? { grid: this.domain.coarse, values: part(this.details.other_scores, seed - 1) }
      : { grid: this.domain.grid, values: numbers(this.details.score) };
  }

  /**
   * The field on the map of the method.
   *
   * @returns {Field}
   */
  field(state) {
    const { grid, values } = this.energy(state);
    if (this.embeds) {
      return {
        grid,
        values,
        range: state.own ? extent(values) : [-1, 1],
        scale: SCALES.energy,
        unit: "−cos",
        title: this.title,
        note: `−cos between the embeddings of each point and of the reference point; ${this.when(state)}`,
        clipped: false,
      };
    }
    const sigma = `σ = ${format(this.sigma)}`;
    if (state.shows === "difference") {
      const truth = grid.sample((x, y) => -this.truth.logDensity(x, y));
      const [a, b] = [aboveMinimum(values), aboveMinimum(truth)];
      return {
        grid,
        values: a.map((value, node) => value - b[node]),
        range: [-MOST, MOST],
        scale: SCALES.difference,
        unit: "nats",
        title: `${this.title}: learned − true energy`,
        note: `both above their minimum, ${sigma}; ${this.when(state)}`,
        clipped: true,
      };
    }
    const shown = aboveMinimum(values);
    return {
      grid,
      values: shown,
      range: state.own ? extent(shown) : [0, DEPTH],
      scale: SCALES.energy,
      unit: "nats",
      title: this.title,
      note: `learned energy above its minimum, ${sigma}; ${this.when(state)}`,
      clipped: !state.own,
    };
  }
}

/**
 * The true energy −log p_σ above its minimum.
 *
 * @returns {Field}
 */
export function trueField(domain, sigma = 0, grid = domain.grid) {
  const truth = sigma ? domain.mixture.smoothed(sigma) : domain.mixture;
  return {
    grid,
    values: aboveMinimum(grid.sample((x, y) => -truth.logDensity(x, y))),
    range: [0, DEPTH],
    scale: SCALES.energy,
    unit: "nats",
    title: "The truth",
    note: sigma ? `true energy −log p above its minimum, of points with noise σ = ${format(sigma)}` : "true energy −log p above its minimum",
    clipped: true,
  };
}

export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

/** A number with at most two decimals. */
export const format = (value) => String(Number(value.toFixed(2))).replace("-", "−");

/** A number with a fixed count of decimals. */
export const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
