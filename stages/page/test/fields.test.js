import assert from "node:assert/strict";
import { test } from "node:test";
import { cosineEnergy, Grid, nearest, scalarAt, vectorAt } from "../src/fields.js";

const grid = new Grid([0, 1, 2, 3], [0, 2, 4]);

test("nodes are numbered row by row", () => {
  assert.deepEqual(grid.point(0), [0, 0]);
  assert.deepEqual(grid.point(5), [1, 2]);
  assert.equal(grid.node(1.2, 1.4), 5);
  assert.equal(grid.node(-9, 99), 8);
  for (let node = 0; node < grid.size; node++) {
    assert.equal(grid.node(...grid.point(node)), node);
  }
});

test("a coarser grid has the same box", () => {
  const coarse = grid.coarser(2);
  assert.deepEqual(coarse.x, [0, 3]);
  assert.deepEqual(coarse.y, [0, 4]);
});

test("a sampled function has its value at each node", () => {
  const values = grid.sample((x, y) => 10 * x + y);
  assert.equal(values[5], 12);
  assert.equal(values.length, 12);
});

test("the cosine energy of a node with itself is −1, with the opposite direction 1", () => {
  const directions = Float32Array.from([1, 0, -1, 0, 0, 1]);
  const out = cosineEnergy(directions, 2, 0, new Float32Array(3));
  assert.deepEqual([...out].map((value) => value + 0), [-1, 1, 0]);
});

test("a vector field is interpolated linearly between nodes", () => {
  const field = new Float32Array(2 * grid.size);
  for (let node = 0; node < grid.size; node++) {
    const [x, y] = grid.point(node);
    field[2 * node] = 3 * x - y;
    field[2 * node + 1] = x + 2;
  }
  const out = [0, 0];
  vectorAt(field, grid, 1.5, 3, out);
  assert.ok(Math.abs(out[0] - 1.5) < 1e-6 && Math.abs(out[1] - 3.5) < 1e-6, String(out));
});

test("a scalar field is interpolated linearly, and constant beyond the grid", () => {
  const values = grid.sample((x, y) => 3 * x - y);
  assert.equal(scalarAt(values, grid, 1.5, 3), 1.5);
  assert.equal(scalarAt(values, grid, 3, 4), 5);
  assert.equal(scalarAt(values, grid, 99, -5), 9);
});

test("a point beyond the box is moved to its edge, one within stays", () => {
  assert.deepEqual(grid.within(-1, 9), [0, 4]);
  assert.deepEqual(grid.within(1.5, 3), [1.5, 3]);
});

test("the nearest value is found by its index", () => {
  assert.equal(nearest([0, 5, 30], 9), 1);
  assert.equal(nearest([0, 5, 30], 99), 2);
});
