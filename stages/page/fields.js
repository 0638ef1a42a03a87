"use strict";
/* What a method says at the nodes of a grid. */

/** The nodes on which a field is given: axes x (W) and y (H). */
class Grid {
  constructor(x, y) {
    Object.assign(this, { x, y, size: x.length * y.length });
  }

  /** A grid of the same box with that many nodes along each side. */
  coarser(count) {
    const along = (axis) => d3.range(count).map((i) => axis[0] + (i / (count - 1)) * (axis.at(-1) - axis[0]));
    return new Grid(along(this.x), along(this.y));
  }

  /** The coordinates of a node. */
  point(node) {
    return [this.x[node % this.x.length], this.y[Math.floor(node / this.x.length)]];
  }

  /** The node next to a point, as {column, row}. */
  nearest(x, y) {
    const place = (axis, value) =>
      Math.max(0, Math.min(axis.length - 1, Math.round(((value - axis[0]) / (axis.at(-1) - axis[0])) * (axis.length - 1))));
    return { column: place(this.x, x), row: place(this.y, y) };
  }

  /** The number of the node next to a point, row by row. */
  node(x, y) {
    const { column, row } = this.nearest(x, y);
    return row * this.x.length + column;
  }

  /** A function's values at all nodes. */
  sample(value) {
    const out = new Float32Array(this.size);
    this.y.forEach((y, row) => this.x.forEach((x, column) => (out[row * this.x.length + column] = value(x, y))));
    return out;
  }
}

/** Minus the cosine of the embedding of every node to that of node `reference`: directions (N × D) as one array. */
function cosineEnergy(directions, dimension, reference, out) {
  const count = directions.length / dimension;
  const at = directions.subarray(reference * dimension, (reference + 1) * dimension);
  // Rounding to the exported steps leaves lengths that are not quite 1.
  const norm = Math.hypot(...at);
  for (let node = 0; node < count; node++) {
    let product = 0;
    let square = 0;
    for (let d = 0, place = node * dimension; d < dimension; d++, place++) {
      product += directions[place] * at[d];
      square += directions[place] * directions[place];
    }
    out[node] = -product / (norm * Math.sqrt(square));
  }
  return out;
}

/** A vector field (N × 2) on a grid at any point, written into `out`: linear between the nodes, and on beyond the edge. */
function vectorAt(field, grid, x, y, out) {
  const width = grid.x.length;
  const place = (axis, value) => ((value - axis[0]) / (axis.at(-1) - axis[0])) * (axis.length - 1);
  const cell = (axis, at) => Math.max(0, Math.min(axis.length - 2, Math.floor(at)));
  const column = place(grid.x, x);
  const row = place(grid.y, y);
  const left = cell(grid.x, column);
  const low = cell(grid.y, row);
  const u = column - left;
  const v = row - low;
  const a = (low * width + left) * 2;
  const b = a + width * 2;
  for (let d = 0; d < 2; d++) {
    const below = field[a + d] * (1 - u) + field[a + 2 + d] * u;
    const above = field[b + d] * (1 - u) + field[b + 2 + d] * u;
    out[d] = below * (1 - v) + above * v;
  }
}

/** Each number's place in the order of all of them, from 0 to 1. */
function ranks(values) {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
  const out = new Float32Array(values.length);
  order.forEach((node, place) => (out[node] = place / (values.length - 1)));
  return out;
}
