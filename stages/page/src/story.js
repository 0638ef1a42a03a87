/* The steps of the story: the one in view decides what the figure shows. */

import { stepOf } from "./state.js";

/** Milliseconds for which scrolling by the page itself does not change the step. */
const SETTLING = 900;

export class Story {
  constructor(app) {
    this.app = app;
    this.steps = new Map(app.steps.map(({ id }) => [id, document.getElementById(id)]));
    this.seen = new Set();
    this.quiet = false;
    for (const [id, element] of this.steps) {
      // A click on a step makes it the present one where several fit on the screen.
      element.addEventListener("click", (event) => {
        if (!/** @type {Element} */ (event.target).closest("a, button, input, select, label, summary")) {
          app.dispatch({ step: id });
        }
      });
      // The figure comes before the steps in the order of the keyboard.
      element.querySelector(".to-figure")?.addEventListener("click", () => {
        app.dispatch({ step: id });
        document.getElementById("figure").focus({ preventScroll: true });
      });
    }
    const narrow = matchMedia("(max-width: 60rem)");
    this.observe(narrow.matches);
    narrow.addEventListener("change", () => this.observe(narrow.matches));
    app.parts.push(this);
    if (this.steps.has(stepOf(location.hash))) {
      this.restored(null);
    }
  }

  /** Watch a thin band: below the figure on narrow screens, where the figure is above the text, and in the middle on wide ones. */
  observe(narrow) {
    this.observer?.disconnect();
    this.seen.clear();
    this.observer = new IntersectionObserver((entries) => this.scrolled(entries), { rootMargin: narrow ? "-70% 0px -29% 0px" : "-45% 0px -54% 0px" });
    for (const element of this.steps.values()) {
      this.observer.observe(element);
    }
  }

  scrolled(entries) {
    for (const { target, isIntersecting } of entries) {
      isIntersecting ? this.seen.add(target.id) : this.seen.delete(target.id);
    }
    const found = [...this.seen].at(-1);
    if (found && !this.quiet) {
      this.app.dispatch({ step: found });
    }
  }

  /** Scroll to the step of the state, unless it was the step before. */
  restored(before) {
    const { step } = this.app.state;
    if (step === before) {
      return;
    }
    const element = this.steps.get(step);
    this.quiet = true;
    element.scrollIntoView({ block: "start", behavior: "instant" });
    const top = element.getBoundingClientRect().top;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.quiet = false;
      // The visitor has scrolled on in the meantime.
      if (Math.abs(element.getBoundingClientRect().top - top) > 100) {
        this.scrolled([]);
      }
    }, SETTLING);
  }

  render(state) {
    for (const [id, element] of this.steps) {
      id === state.step ? element.setAttribute("aria-current", "step") : element.removeAttribute("aria-current");
    }
  }
}
