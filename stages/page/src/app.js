/* The page's state, its place in the URL, and the data that its parts share. */

import { pageData } from "./data.js";
import { Learned, TRUTH, trueField } from "./learned.js";
import { results } from "./results.js";
import { fromHash, reduce, start, stepOf, toHash, withTable } from "./state.js";

/** Milliseconds between two changes of the URL; browsers limit their number. */
const PATIENCE = 300;

export class App {
  /** `domain` is the page data of the mixture with its `grid`, `coarse` grid, `mixture` and `points` (main.js). */
  constructor(domain) {
    this.domain = domain;
    this.steps = results.story;
    this.state = this.fromAddress();
    this.methods = new Map(domain.methods.map((one) => [one.name, one]));
    this.learned = new Map();
    /** What was asked for, so that each load is followed by one drawing; and the messages of loads that failed. */
    this.requested = new Set();
    this.failed = new Map();
    this.smoothed = new Map();
    this.parts = [];
    /** The visitor's own training, once the sandbox was opened. */
    this.run = null;
    /** The last state of each step that was left. */
    this.left = new Map();
    addEventListener("popstate", () => this.restore());
  }

  /** The state in the address, with a seed that the run has; a seed other than the first goes with the end of training. */
  fromAddress() {
    const state = fromHash(location.hash, this.steps);
    state.seed = Math.min(state.seed, this.domain.seeds - 1);
    state.at = state.seed ? null : state.at;
    return state;
  }

  /** Change the state; `push` adds an entry to the history, so that Back returns to the state before. */
  dispatch(action, { push = false } = {}) {
    // A step that was left shows again what it showed.
    const kept = action.step !== undefined && action.step !== this.state.step && this.left.get(action.step);
    const next = kept ? withTable(kept, this.state) : reduce(this.state, action, this.steps);
    if (next === this.state) {
      return;
    }
    if (push) {
      this.write();
    }
    if (next.step !== this.state.step) {
      this.left.set(this.state.step, this.state);
    }
    this.state = next;
    if (push) {
      history.pushState(null, "", toHash(next, this.steps));
    } else {
      this.writing ??= setTimeout(() => this.write(), PATIENCE);
    }
    this.render();
  }

  set(changes) {
    this.dispatch({ set: changes });
  }

  /** Bring the URL up to date. */
  write() {
    clearTimeout(this.writing);
    this.writing = null;
    const hash = toHash(this.state, this.steps);
    if (hash !== location.hash && !(location.hash === "" && hash === `#${this.steps[0].id}`)) {
      history.replaceState(history.state, "", hash);
    }
  }

  /** The link to the present state. */
  get link() {
    return location.href.replace(/#.*/, "") + toHash(this.state, this.steps);
  }

  /** Take the state from the URL, after Back, Forward or a link within the page. */
  restore() {
    clearTimeout(this.writing);
    this.writing = null;
    const before = this.state.step;
    // Other parts of the page have addresses too; they leave the state as it is.
    const id = stepOf(location.hash);
    if (id && !this.steps.some((step) => step.id === id)) {
      return;
    }
    this.state = this.fromAddress();
    this.render();
    for (const one of this.parts) {
      one.restored?.(before);
    }
  }

  /** The state at the start of the present step. */
  reset() {
    this.state = withTable(start(this.steps, this.state.step), this.state);
    this.write();
    this.render();
  }

  /** Draw everything once before the next frame. */
  render() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      for (const one of this.parts) {
        one.render(this.state);
      }
    });
  }

  /** The present state has the two maps' methods, `truth` or a name. */
  get shown() {
    return [...new Set([this.state.a, this.state.b])].filter((name) => name !== TRUTH);
  }

  /** The method, once its overview is loaded; until then null, and the page is drawn again when it is. */
  get(name, { details = true } = {}) {
    const found = this.learned.get(name);
    if (found && details && !found.details) {
      this.request(name, "details", () => found.load());
    } else if (!found && this.methods.has(name)) {
      this.request(name, "overview", async () => {
        const overview = await pageData.get(`mog/${name}`, `page_data/mog/${name}.js`);
        this.learned.set(name, new Learned(name, this.methods.get(name).title, overview, this.domain));
      });
    }
    return found ?? null;
  }

  /** Load a part of a method's data, once, and draw the page again. */
  async request(name, what, load) {
    if (this.requested.has(`${name} ${what}`)) {
      return;
    }
    this.requested.add(`${name} ${what}`);
    try {
      await load();
    } catch (error) {
      this.failed.set(name, error.message);
    }
    this.render();
  }

  /** The message about missing data of the shown methods, or "". */
  get missing() {
    const names = this.shown;
    const unknown = names.filter((name) => !this.methods.has(name)).map((name) => `${name} is not among the methods of this run`);
    return [...unknown, ...names.map((name) => this.failed.get(name)).filter(Boolean)].join("; ");
  }

  /** The true mixture smoothed by σ, one object for each σ. */
  truth(sigma = 0) {
    if (!this.smoothed.has(sigma)) {
      this.smoothed.set(sigma, { mixture: sigma ? this.domain.mixture.smoothed(sigma) : this.domain.mixture, field: trueField(this.domain, sigma) });
    }
    return this.smoothed.get(sigma);
  }

  get reference() {
    return this.state.ref ?? this.domain.reference;
  }

  /** The training steps of the shown methods' snapshots, in order. */
  get trainingSteps() {
    const all = this.shown.flatMap((name) => this.get(name, { details: false })?.overview.steps ?? []);
    return [...new Set(all)].sort((a, b) => a - b);
  }
}
