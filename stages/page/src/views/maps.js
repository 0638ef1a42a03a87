/* Two maps and the training slider. */

import { controls } from "../controls.js";
import { Training } from "../training.js";

export class MapsView {
  constructor(above, _host, app) {
    this.app = app;
    this.row = controls.row(above, "Training of the shown methods");
    this.training = new Training(this.row, app);
  }

  get sides() {
    return this.app.state.a === this.app.state.b ? ["a"] : ["a", "b"];
  }

  render(state) {
    /** @type {HTMLElement} */ (this.row).hidden = this.app.shown.length === 0;
    this.training.render(state);
  }

  close() {
    this.training.close();
  }
}
