/* The visitor's own training: a worker, what it has learned, and its curve. It goes on while other steps are shown. */

import workerCode from "text:./sandbox/worker.js";
import { SETTINGS, spread } from "./trainer.js";

export class Run {
  /** `changed` is called when there is something new. */
  constructor(changed) {
    this.changed = changed;
    /** The loss that is being trained, or null. */
    this.training = null;
    /** What was learned: its loss, the outputs of the network, and the training step; or null. */
    this.out = null;
    /** @type {{step: number, loss: number, spread: number}[]} */
    this.curve = [];
    this.problem = "";
    this.count = 0;
    this.worker = new Worker(URL.createObjectURL(new Blob([workerCode], { type: "text/javascript" })));
    this.worker.addEventListener("message", ({ data }) => this.receive(data));
    this.worker.addEventListener("error", (event) => {
      this.problem = `The training stopped: ${event.message}`;
      this.changed();
    });
  }

  /** Train anew; the outputs come at `points`. */
  start(options, points) {
    this.count += 1;
    this.curve = [];
    this.problem = "";
    this.training = options.loss;
    this.worker.postMessage({ options: { ...options, seed: this.count }, points, steps: SETTINGS.steps });
  }

  /** End the training; what it learned stays. */
  stop() {
    if (this.training) {
      this.training = null;
      this.count += 1;
      this.worker.postMessage({});
    }
  }

  /** Forget what was learned. */
  clear() {
    this.stop();
    this.out = null;
    this.curve = [];
  }

  receive({ run, step, loss, out }) {
    if (run !== this.count || !this.training) {
      return;
    }
    this.out = { loss: this.training, values: out, step };
    if (loss !== null) {
      this.curve.push({ step, loss, spread: spread(out, SETTINGS.dimension) });
    }
    if (step >= SETTINGS.steps) {
      this.stop();
    }
    this.changed();
  }
}
