/* Scalar and vector fields on a grid. */

/** The nodes of a field: axes x (W) and y (H); node number row · W + column. */
export class Grid {
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.size = x.length * y.length;
  }

  /** A grid of the same box with `count` nodes along each side. */
  coarser(count) {
    const along = (axis) => Array.from({ length: count }, (_, i) => axis[0] + (i / (count - 1)) * (axis.at(-1) - axis[0]));
    return new Grid(along(this.x), along(this.y));
  }

  /** The coordinates of a node. */
  point(node) {
    return [this.x[node % this.x.length], this.y[Math.floor(node / this.x.length)]];
  }

  /** The point of the grid's box nearest to a point. */
  within(x, y) {
    const kept = (axis, value) => Math.max(axis[0], Math.min(axis.at(-1), value));
    return [kept(this.x, x), kept(this.y, y)];
  }

  /** The node nearest to a point, as {column, row}. */
  nearest(x, y) {
    const place = (axis, value) =>
      Math.max(0, Math.min(axis.length - 1, Math.round(((value - axis[0]) / (axis.at(-1) - axis[0])) * (axis.length - 1))));
    return { column: place(this.x, x), row: place(this.y, y) };
  }

  /** The number of the node nearest to a point. */
  node(x, y) {
    const { column, row } = this.nearest(x, y);
    return row * this.x.length + column;
  }

  /** The values of a function at all nodes. */
  sample(value) {
    const out = new Float32Array(this.size);
    for (const [row, y] of this.y.entries()) {
      for (const [column, x] of this.x.entries()) {
        out[row * this.x.length + column] = value(x, y);
      }
    }
    return out;
  }
}

/** −cos between the embedding of every node and that of node `reference`, for L2-normalised embeddings (N × D), flattened. */
export function cosineEnergy(directions, dimension, reference, out) {
  const count = directions.length / dimension;
  const at = directions.subarray(reference * dimension, (reference + 1) * dimension);
  // Quantisation leaves norms slightly different from 1.
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

/** Bilinear interpolation, and linear extrapolation, of a vector field (N × 2) at a point, written into `out`. */
export function vectorAt(field, grid, x, y, out) {
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

/** Bilinear interpolation of a scalar field at a point; beyond the grid the value at its edge. */
export function scalarAt(values, grid, x, y) {
  const place = (axis, value) => Math.max(0, Math.min(axis.length - 1, ((value - axis[0]) / (axis.at(-1) - axis[0])) * (axis.length - 1)));
  const column = place(grid.x, x);
  const row = place(grid.y, y);
  const left = Math.min(grid.x.length - 2, Math.floor(column));
  const low = Math.min(grid.y.length - 2, Math.floor(row));
  const u = column - left;
  const v = row - low;
  const at = low * grid.x.length + left;
  const below = values[at] * (1 - u) + values[at + 1] * u;
  const above = values[at + grid.x.length] * (1 - u) + values[at + grid.x.length + 1] * u;
  return below * (1 - v) + above * v;
}

/** The index of the value nearest to another one. */
export function nearest(values, value) {
  return values.reduce((best, one, index) => (Math.abs(one - value) < Math.abs(values[best] - value) ? index : best), 0);
}
