/* The slider over the training steps of the shown methods, with Play. */

import { controls } from "./controls.js";
import { nearest } from "./fields.js";

/** Milliseconds between two steps while playing. */
const BEAT = 160;

export class Player {
  /** Calls `next()` every `beat` milliseconds until it returns false or Pause is pressed; `begin` starts from the beginning. */
  constructor(host, { begin, next, label = "Play", beat = BEAT }) {
    this.begin = begin;
    this.next = next;
    this.beat = beat;
    this.label = label;
    this.button = controls.button(host, label, () => (this.timer ? this.stop() : this.play()));
  }

  play() {
    this.begin();
    this.button.textContent = "Pause";
    this.timer = setInterval(() => this.next() || this.stop(), this.beat);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = this.label;
  }
}

export class Training {
  /**
   * @param {Element} host
   * @param {import("./app.js").App} app
   * @param {{steps?: () => number[], end?: (step: number) => string}} options the training steps, in order; what the slider says at the last one
   */
  constructor(host, app, { steps = () => app.trainingSteps, end = () => "end" } = {}) {
    this.app = app;
    this.steps = steps;
    this.slider = controls.slider(host, "Training", {
      high: 1,
      value: 1,
      show: (place) => {
        const all = this.steps();
        return place < all.length - 1 ? `step ${all[place]}` : end(all.at(-1));
      },
      changed: (place) => {
        this.player.stop();
        this.go(place);
      },
    });
    this.player = new Player(host, {
      label: "Play training",
      begin: () => this.place >= this.last && this.go(0),
      next: () => {
        const more = this.place < this.last;
        if (more) {
          this.go(this.place + 1);
        }
        return more;
      },
    });
  }

  get last() {
    return Math.max(0, this.steps().length - 1);
  }

  /** The position of the state on the slider. */
  get place() {
    const { at } = this.app.state;
    return at === null ? this.last : nearest(this.steps(), at);
  }

  go(place) {
    this.app.set({ at: place >= this.last ? null : this.steps()[place] });
  }

  render(state) {
    const { input } = this.slider;
    input.max = String(Math.max(1, this.last));
    const off = state.seed !== 0 || this.last < 1;
    input.disabled = off;
    this.player.button.disabled = off;
    this.slider.set(this.place);
    if (state.seed !== 0) {
      this.slider.say("end (recorded for seed 0 only)");
    }
  }

  close() {
    this.player.stop();
  }
}
