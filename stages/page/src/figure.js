/* The large figure, which stays in view: two maps, and below them what belongs to the view of the state. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { TRUTH } from "./learned.js";
import { Panel } from "./panel.js";
import { savePicture } from "./picture.js";
import { VIEWS } from "./views/index.js";

export class Figure {
  constructor(host, app) {
    this.app = app;
    this.host = host;
    const box = d3.select(host);
    this.error = box.append("p").attr("class", "error").attr("role", "alert").attr("hidden", true).node();
    this.above = box.append("div").attr("class", "above").node();
    this.maps = box.append("div").attr("class", "maps").node();
    const panel = (side) => {
      // The reference point goes to the nearest node at which the pipeline computed the value, where the panel shows one.
      const refer = (x, y) => {
        const grid = this.panels[side].steps;
        if (grid) {
          app.set({ ref: grid.point(grid.node(x, y)) });
        }
      };
      return new Panel(this.maps, app.domain, side, {
        moved: (x, y) => this.view?.drop || refer(x, y),
        clicked: (x, y) => (this.view?.drop ? this.view.drop(x, y) : refer(x, y)),
      });
    };
    this.panels = { a: panel("a"), b: panel("b") };
    this.below = box.append("div").attr("class", "below").node();
    const row = controls.row(host, "This view");
    controls.button(row, "Reset", () => {
      this.clear();
      app.reset();
    });
    controls.button(row, "Save picture", () => savePicture(this.host, `energy-wells-${app.state.step}.png`));
    this.copy = controls.button(row, "Copy link", () => this.copyLink());
    this.told = d3.select(row).append("output").attr("class", "told").node();
    app.parts.push(this);
  }

  async copyLink() {
    const { link } = this.app;
    try {
      await navigator.clipboard.writeText(link);
      this.told.textContent = "Copied.";
    } catch {
      // A browser may refuse; the address bar has the same link.
      this.app.write();
      this.told.textContent = "The address bar has the link.";
    }
  }

  render(state) {
    const View = Object.hasOwn(VIEWS, state.view) ? VIEWS[state.view] : VIEWS.maps;
    if (!(this.view instanceof View)) {
      this.clear();
      this.view = new View(this.above, this.below, this.app, this.panels);
      this.told.textContent = "";
      this.host.scrollTop = 0;
    }
    const sides = this.view.sides ?? ["a", "b"];
    this.maps.dataset.sides = String(sides.length);
    for (const [side, panel] of Object.entries(this.panels)) {
      panel.box.node().hidden = !sides.includes(side);
    }
    for (const side of sides) {
      const found = this.view.field?.(side, state) ?? this.field(side, state);
      if (found) {
        const [field, over] = found;
        this.panels[side].show(field, { ...over, ...this.view.over?.(side, state) });
      }
    }
    this.view.render?.(state);
    const problems = [this.app.missing, this.view.problem].filter(Boolean).join("; ");
    this.error.hidden = !problems;
    this.error.textContent = problems;
  }

  /** End the view; the next drawing starts it anew. */
  clear() {
    this.view?.close?.();
    this.view = null;
    this.above.replaceChildren();
    this.below.replaceChildren();
  }

  /** The field of a side and what lies over it: the truth, or what the method learned. */
  field(side, state) {
    const { app } = this;
    const { domain } = app;
    const [name, other] = side === "a" ? [state.a, state.b] : [state.b, state.a];
    const points = state.points ? domain.points : [];
    if (name === TRUTH) {
      const beside = other === TRUTH ? null : app.get(other);
      const { mixture, field } = app.truth(beside?.sigma ?? 0);
      const arrows = beside && !beside.embeds && state.arrows ? this.arrows(domain.grid, (x, y, out) => mixture.score(x, y, out)) : [];
      return [field, { contours: state.contours ? mixture : null, points, arrows }];
    }
    const learned = app.get(name);
    if (!learned) {
      return null;
    }
    const { mixture } = app.truth(learned.sigma);
    return [
      learned.field(state),
      {
        contours: state.contours ? mixture : null,
        points,
        arrows: state.arrows ? this.learnedArrows(learned, state, mixture) : [],
        reference: learned.embeds ? app.reference : undefined,
        collapsed: state.at === null && app.methods.get(name).collapsed,
      },
    ];
  }

  /** Arrows of the learned score, or of its difference from the true one; snapshots have no learned score. */
  learnedArrows(learned, state, mixture) {
    const score = state.at === null ? learned.score(state.seed) : null;
    if (!score) {
      return [];
    }
    const { grid, values } = score;
    const truth = [0, 0];
    return this.arrows(grid, (x, y, out) => {
      const place = 2 * grid.node(x, y);
      out[0] = values[place];
      out[1] = values[place + 1];
      if (state.shows === "difference") {
        mixture.score(x, y, truth);
        out[0] -= truth[0];
        out[1] -= truth[1];
      }
    });
  }

  /** Arrows [x, y, u, v] of a vector field at some nodes of a grid. */
  arrows(grid, vector) {
    const every = Math.ceil(grid.x.length / 17);
    const out = [0, 0];
    const found = [];
    for (let row = every >> 1; row < grid.y.length; row += every) {
      for (let column = every >> 1; column < grid.x.length; column += every) {
        const [x, y] = [grid.x[column], grid.y[row]];
        vector(x, y, out);
        found.push([x, y, ...out]);
      }
    }
    return found;
  }
}
