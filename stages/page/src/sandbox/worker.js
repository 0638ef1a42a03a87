/* The worker that trains in the background, so that the page stays responsive. */

import { Trainer } from "./trainer.js";

/** Most steps between two messages; at first they are more frequent, because embeddings may collapse within a few steps. */
const EVERY = 15;
/** Counts the trainings, so that a new one ends the old one. */
let latest = 0;

self.addEventListener("message", ({ data: { options, points, steps } }) => {
  latest += 1;
  // A message without options only ends the training.
  if (!options) {
    return;
  }
  const run = latest;
  const trainer = new Trainer(options);
  const next = () => {
    if (run !== latest) {
      return;
    }
    let loss = 0;
    const count = Math.min(EVERY, steps - trainer.done, 1 + (trainer.done >> 2));
    for (let i = 0; i < count; i++) {
      loss += trainer.step() / count;
    }
    const out = trainer.apply(points);
    self.postMessage({ run: options.seed, step: trainer.done, loss, out });
    if (trainer.done < steps) {
      setTimeout(next);
    }
  };
  self.postMessage({ run: options.seed, step: 0, loss: null, out: trainer.apply(points) });
  setTimeout(next);
});
