/* The slider over the training steps of the shown methods, with Play. */

import { controls } from "./controls.js";

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
  constructor(host, app) {
    this.app = app;
    this.slider = controls.slider(host, "Training", {
      high: 1,
      value: 1,
      show: (place) => this.tell(place),
      changed: (place) => {
        this.player.stop();
        this.go(place);
      },
    });
    this.player = new Player(host, {
      label: "Play training",
      begin: () => this.place >= this.last && this.go(0),
      next: () => this.forth(),
    });
  }

  get last() {
    return this.app.trainingSteps.length - 1;
  }

  /** The position of the state on the slider. */
  get place() {
    const { at } = this.app.state;
    const steps = this.app.trainingSteps;
    return at === null ? steps.length - 1 : steps.reduce((best, step, i) => (Math.abs(step - at) < Math.abs(steps[best] - at) ? i : best), 0);
  }

  /** One step on; false at the end. */
  forth() {
    const more = this.place < this.last;
    if (more) {
      this.go(this.place + 1);
    }
    return more;
  }

  go(place) {
    this.app.set({ at: place >= this.last ? null : this.app.trainingSteps[place] });
  }

  tell(place) {
    const steps = this.app.trainingSteps;
    return place >= steps.length - 1 ? "end" : `step ${steps[place]}`;
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
