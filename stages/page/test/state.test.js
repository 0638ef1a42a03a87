import assert from "node:assert/strict";
import { test } from "node:test";
import { FIELDS, fromHash, INITIAL, reduce, start, toHash, withTable } from "../src/state.js";

const steps = [
  { id: "truth", state: { view: "draw" } },
  { id: "collapse", state: { view: "collapse", a: "jepa_basic", b: "vicreg" } },
  { id: "explore", state: {} },
];

test("a step starts from the defaults and its own state", () => {
  assert.deepEqual(start(steps, "collapse"), { ...INITIAL, view: "collapse", a: "jepa_basic", b: "vicreg", step: "collapse" });
  assert.equal(start(steps, "unknown").step, "truth");
});

test("a hash names the step and only what differs from its start", () => {
  assert.equal(toHash(start(steps, "collapse"), steps), "#collapse");
  const changed = reduce(start(steps, "collapse"), { set: { at: 109, ref: [1.23456, -5] } }, steps);
  assert.equal(toHash(changed, steps), "#collapse&at=109&ref=1.235%2C-5");
});

test("every key survives the way into the hash and back", () => {
  const values = {
    string: ["dsm", "name with & and = and %"],
    number: [3, 0],
    boolean: [true, false],
    list: [[1.5, -2]],
  };
  for (const [key, { initial, read }] of Object.entries(FIELDS)) {
    const kind = Array.isArray(read("1,2")) ? "list" : typeof read("1");
    // No value is null where that is the default, and empty in a list otherwise.
    for (const value of [...values[kind], initial === null ? null : initial]) {
      const state = { ...start(steps, "explore"), [key]: value };
      assert.deepEqual(fromHash(toHash(state, steps), steps)[key], value, `${key} = ${value}`);
    }
  }
});

test("a key whose start is not null can be null again", () => {
  const own = [{ id: "first", state: { at: 5 } }];
  const state = reduce(start(own, "first"), { set: { at: null } }, own);
  assert.equal(fromHash(toHash(state, own), own).at, null);
});

test("unknown keys and unreadable values are ignored", () => {
  const state = fromHash("#collapse&nonsense=1&at=soon&temperature=hot&ref=1,x&seed=1e9&contours=yes&__proto__=1&b=%E0%A4%A", steps);
  assert.deepEqual(state, { ...start(steps, "collapse"), b: "" });
});

test("a seed other than the first and an earlier training step exclude each other", () => {
  const first = start(steps, "explore");
  const seed = reduce(first, { set: { seed: 2 } }, steps);
  assert.equal(reduce(seed, { set: { at: 10 } }, steps), seed);
  const early = reduce(first, { set: { at: 10 } }, steps);
  assert.equal(reduce(early, { set: { seed: 2 } }, steps), early);
  assert.equal(reduce(early, { set: { at: null, seed: 2 } }, steps).seed, 2);
});

test("an action without effect returns the same state", () => {
  const state = start(steps, "collapse");
  assert.equal(reduce(state, { step: "collapse" }, steps), state);
  assert.equal(reduce(state, { set: { a: "jepa_basic", hidden: [] } }, steps), state);
});

test("the table of claims keeps its choices over steps", () => {
  const chosen = reduce(start(steps, "truth"), { set: { only: "dsm", verdict: "fails", sort: "-measured" } }, steps);
  const next = reduce(chosen, { step: "collapse" }, steps);
  assert.deepEqual(next, { ...start(steps, "collapse"), only: "dsm", verdict: "fails", sort: "-measured" });
  assert.deepEqual(withTable(start(steps, "explore"), next), { ...start(steps, "explore"), only: "dsm", verdict: "fails", sort: "-measured" });
});
