/* The state of the page as one object, its reducer, and its form in the URL's hash. All pure. */

/** @typedef {{[key: string]: any}} State */

const text = { read: String, write: String };
const whole = { read: (word) => (/^\d{1,9}$/.test(word) ? Number(word) : undefined), write: String };
const number = {
  read: (word) => (/^\d{1,9}(\.\d+)?$/.test(word) ? Number(word) : undefined),
  write: (value) => String(Number(value.toFixed(3))),
};
const flag = { read: (word) => (word === "1" ? true : word === "0" ? false : undefined), write: (value) => (value ? "1" : "0") };
const list = {
  read: (word) => {
    const values = word.split(",").map(Number);
    return word && values.every(Number.isFinite) ? values : word ? undefined : [];
  },
  write: (values) => values.map((value) => Number(value.toFixed(3))).join(","),
};

const pair = { ...list, read: (word) => (list.read(word)?.length === 2 ? list.read(word) : undefined) };

/** Every key of the state with its default and its form in the URL. `null` stands for the data's own default. */
export const FIELDS = {
  view: { initial: "maps", ...text },
  a: { initial: "truth", ...text },
  b: { initial: "truth", ...text },
  shows: { initial: "learned", ...text },
  seed: { initial: 0, ...whole },
  at: { initial: null, ...whole },
  ref: { initial: null, ...pair },
  contours: { initial: true, ...flag },
  points: { initial: true, ...flag },
  arrows: { initial: true, ...flag },
  own: { initial: false, ...flag },
  drawn: { initial: null, ...whole },
  k: { initial: 0, ...whole },
  from: { initial: 0, ...whole },
  to: { initial: 1, ...whole },
  seen: { initial: 1, ...whole },
  temperature: { initial: 1, ...number },
  level: { initial: null, ...whole },
  trail: { initial: false, ...flag },
  phase: { initial: 0, ...whole },
  predictor: { initial: false, ...flag },
  stop: { initial: false, ...flag },
  ema: { initial: false, ...flag },
  floor: { initial: false, ...flag },
  images: { initial: null, ...text },
  image: { initial: null, ...whole },
  mistakes: { initial: false, ...flag },
  hidden: { initial: [], ...list },
  kind: { initial: null, ...text },
  strength: { initial: null, ...whole },
  loss: { initial: "dsm", ...text },
  modes: { initial: [], ...list },
  method: { initial: "", ...text },
  claim: { initial: "", ...text },
  only: { initial: "", ...text },
  verdict: { initial: "", ...text },
  sort: { initial: "", ...text },
};

/** The state in which every key has its default. */
export const INITIAL = Object.fromEntries(Object.entries(FIELDS).map(([key, { initial }]) => [key, initial]));

const same = (a, b) => (Array.isArray(a) && Array.isArray(b) ? a.join() === b.join() : a === b);

/** The state at the start of a step; `steps` is a list of {id, state}. An unknown step is the first one. */
export function start(steps, id) {
  const step = steps.find((one) => one.id === id) ?? steps[0];
  return { ...INITIAL, ...step.state, step: step.id };
}

/** A state with the choices for the table of claims of another one: the table belongs to no step. */
export const withTable = (state, { only, verdict, sort }) => ({ ...state, only, verdict, sort });

/**
 * The next state. An action is {step}, which starts that step, or {set}, changes of some keys.
 *
 * Training is recorded for the first seed only, so a seed other than the first goes with the end of training: while one of
 * the two is chosen, a change of the other has no effect (the page says so beside the control, which is disabled).
 */
export function reduce(state, action, steps) {
  if (action.step !== undefined) {
    return action.step === state.step ? state : withTable(start(steps, action.step), state);
  }
  const changes = { ...action.set };
  const { seed, at } = { ...state, ...changes };
  if (seed !== 0 && at !== null) {
    delete changes["seed" in action.set ? "seed" : "at"];
  }
  const changed = Object.entries(changes).some(([key, value]) => !same(state[key], value));
  return changed ? { ...state, ...changes } : state;
}

/** The hash of a state: the step, and the keys that differ from its start. */
export function toHash(state, steps) {
  const first = start(steps, state.step);
  const words = Object.entries(FIELDS)
    .filter(([key]) => !same(state[key], first[key]))
    .map(([key, { write }]) => `${key}=${state[key] === null ? "" : encodeURIComponent(write(state[key]))}`);
  return `#${[state.step, ...words].join("&")}`;
}

/** The name at the start of a hash: of a step, or of another part of the page. */
export const stepOf = (hash) => hash.replace(/^#/, "").split("&")[0];

/** The state of a hash. Unknown keys and values that can't be read are ignored. */
export function fromHash(hash, steps) {
  const state = start(steps, stepOf(hash));
  for (const word of hash.split("&").slice(1)) {
    const [key, ...rest] = word.split("=");
    if (!Object.hasOwn(FIELDS, key)) {
      continue;
    }
    const value = decode(rest.join("="));
    const found = value === "" && FIELDS[key].initial === null ? null : FIELDS[key].read(value);
    if (found !== undefined) {
      state[key] = found;
    }
  }
  return state;
}

function decode(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return "";
  }
}
