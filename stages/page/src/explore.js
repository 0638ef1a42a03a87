/* "Explore freely": all controls, and a small map of every method by family. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";
import { TRUTH, trueField } from "./learned.js";
import { PlaneMap } from "./map.js";
import { NAMES, VIEWS } from "./views/index.js";

const THUMB = 96;

export class Explore {
  constructor(host, app) {
    this.app = app;
    this.host = host;
    const { domain } = app;
    const row = controls.row(host, "What the figure shows");
    this.view = controls.choice(row, "View", Object.entries(NAMES), (view) => this.leave({ view }));
    this.shows = controls.choice(row, "Maps of scores show", [["learned", "learned energy"], ["difference", "learned − true energy"]], (shows) => this.leave({ shows }));
    this.seed = controls.slider(row, "Seed", { high: Math.max(0, domain.seeds - 1), changed: (seed) => this.leave({ seed }) });
    this.ticks = {
      contours: controls.tick(row, "contours of the true log-density", true, (contours) => this.leave({ contours })),
      points: controls.tick(row, "test points", true, (points) => this.leave({ points })),
      arrows: controls.tick(row, "score arrows", true, (arrows) => this.leave({ arrows })),
      own: controls.tick(row, "each map on its own colour scale", false, (own) => this.leave({ own })),
    };
    const sides = controls.row(host, "Which map a tile changes");
    this.awake = false;
    this.side = "b";
    this.choice = controls.choice(sides, "A tile changes the", [["b", "right map"], ["a", "left map"]], (side) => {
      this.side = side;
    });
    this.tiles = [];
    this.family(host, "The truth", [{ name: TRUTH, title: "The truth" }]);
    for (const family of [...new Set(domain.methods.map((one) => one.family))]) {
      this.family(host, family, domain.methods.filter((one) => one.family === family));
    }
    app.parts.push(this);
    // The small maps wait until they are near the screen.
    this.near = new IntersectionObserver((entries) => {
      if (entries.some((one) => one.isIntersecting)) {
        this.near.disconnect();
        this.awake = true;
        app.render();
      }
    }, { rootMargin: "400px" });
    this.near.observe(host);
  }

  /** A change by one of these controls belongs to the step "Explore freely". */
  leave(changes) {
    const { app } = this;
    if (app.state.step !== "explore") {
      const { view, a, b } = app.state;
      app.dispatch({ step: "explore" }, { push: true });
      app.set({ view, a, b });
    }
    app.set(changes);
  }

  /** Whether the present view heeds a control. */
  heeded(name) {
    const { uses } = VIEWS[this.app.state.view] ?? VIEWS.maps;
    return !uses || uses.includes(name);
  }

  family(host, name, methods) {
    const box = d3.select(host).append("section").attr("class", "family");
    box.append("h4").text(name);
    const small = box.append("div").attr("class", "small");
    for (const { name: method, title, collapsed } of methods) {
      const button = small.append("button").attr("type", "button").attr("class", "thumb").attr("data-method", method);
      const map = new PlaneMap(button.node(), this.app.domain.coarse, { size: THUMB, axes: false });
      button.append("span").text(title);
      if (collapsed) {
        button.append("span").attr("class", "badge").text("collapsed");
      }
      // A view without methods gives way to the maps.
      button.on("click", () => this.leave({ ...(this.heeded("methods") ? {} : { view: "maps" }), [this.side]: method }));
      this.tiles.push({ method, map, button, drawn: "" });
    }
  }

  render(state) {
    const { app } = this;
    this.view.value = state.view;
    this.shows.value = state.shows;
    const idle = (name) => !this.heeded(name);
    this.shows.disabled = idle("shows");
    this.seed.input.disabled = state.at !== null || idle("seed");
    this.seed.set(state.seed);
    if (state.at !== null) {
      this.seed.say("0 (training is recorded for seed 0 only)");
    }
    for (const [key, input] of Object.entries(this.ticks)) {
      input.checked = state[key];
      input.disabled = idle(key);
    }
    for (const tile of this.tiles) {
      const { method, map, button } = tile;
      const sides = ["a", "b"].filter((side) => state[side] === method);
      button.attr("aria-pressed", sides.length > 0).attr("data-sides", sides.map((side) => ({ a: "left", b: "right" })[side]).join(" and "));
      if (!this.awake) {
        continue;
      }
      const learned = method === TRUTH ? null : app.get(method, { details: false });
      // Only the maps of joint embeddings change, with the reference point.
      const drawn = learned?.embeds ? app.reference.join() : "drawn";
      if ((method === TRUTH || learned) && tile.drawn !== drawn) {
        tile.drawn = drawn;
        const { grid, values, range, scale } = learned
          ? learned.field({ ref: state.ref, shows: "learned", own: false, coarse: true })
          : trueField(app.domain, 0, app.domain.coarse);
        map.show(grid, values, range, scale);
      }
    }
    this.host.dataset.ready = String(Boolean(this.awake && app.learned.size === app.methods.size));
  }
}

