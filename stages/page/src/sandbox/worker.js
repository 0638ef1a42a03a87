/* The worker that trains in the background, so that the page stays responsive. */

import { Trainer } from "./trainer.js";

/** Steps between two messages. */
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
    for (let i = 0; i < EVERY; i++) {
      loss += trainer.step() / EVERY;
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
