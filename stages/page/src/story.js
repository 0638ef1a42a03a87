/* The steps of the story: the one in view decides what the figure shows. */

/** Milliseconds for which scrolling by the page itself does not change the step. */
const SETTLING = 900;

export class Story {
  constructor(app) {
    this.app = app;
    this.steps = new Map(app.steps.map(({ id }) => [id, document.getElementById(id)]));
    for (const [id, element] of this.steps) {
      // A click on a step makes it the present one where several fit on the screen.
      element.addEventListener("click", (event) => {
        if (!/** @type {Element} */ (event.target).closest("a, button, input, select, label")) {
          app.dispatch({ step: id });
        }
      });
      element.addEventListener("focusin", () => app.dispatch({ step: id }));
    }
    this.observer = new IntersectionObserver((entries) => this.scrolled(entries), { rootMargin: this.margin });
    for (const element of this.steps.values()) {
      this.observer.observe(element);
    }
    app.parts.push(this);
    if (location.hash) {
      this.restored(null);
    }
  }

  /** A thin band: below the figure on narrow screens, where the figure is above the text, and in the middle on wide ones. */
  get margin() {
    return matchMedia("(max-width: 60rem)").matches ? "-70% 0px -29% 0px" : "-45% 0px -54% 0px";
  }

  scrolled(entries) {
    const found = entries.findLast((one) => one.isIntersecting);
    if (found && performance.now() > (this.quiet ?? 0)) {
      this.app.dispatch({ step: found.target.id });
    }
  }

  /** Scroll to the step of the state, unless it was the step before. */
  restored(before) {
    const { step } = this.app.state;
    if (step !== before) {
      this.quiet = performance.now() + SETTLING;
      this.steps.get(step)?.scrollIntoView({ block: "start", behavior: "instant" });
    }
  }

  render(state) {
    for (const [id, element] of this.steps) {
      id === state.step ? element.setAttribute("aria-current", "step") : element.removeAttribute("aria-current");
    }
  }
}
