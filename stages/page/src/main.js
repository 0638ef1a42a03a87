/* Start the page. */

import { App } from "./app.js";
import { ClaimsTable } from "./claims.js";
import * as d3 from "./d3.js";
import { numbers, pageData, part } from "./data.js";
import { Explore } from "./explore.js";
import { Grid } from "./fields.js";
import { Figure } from "./figure.js";
import { Story } from "./story.js";
import { theme } from "./theme.js";
import { lineDensity, Mixture } from "./truth.js";

/** What tests and tools reach. */
const page = { numbers, part, lineDensity };
// The data scripts call `pageData.add`.
Object.assign(globalThis, { page, pageData });

async function open() {
  document.documentElement.classList.add("live");
  theme(() => page.app?.render());
  try {
    const domain = await pageData.get("mixture", "page_data/mixture.js");
    domain.grid = new Grid(domain.x, domain.y);
    domain.coarse = domain.grid.coarser(domain.coarse);
    domain.mixture = new Mixture(domain.weights, domain.means, domain.covariances);
    domain.points = d3.range(domain.points.shape[0]).map((i) => [...part(domain.points, i)]);
    const app = new App(domain);
    page.app = app;
    page.figure = new Figure(document.getElementById("figure"), app);
    page.explore = new Explore(document.getElementById("controls"), app);
    const claims = /** @type {HTMLDetailsElement} */ (document.getElementById("table"));
    page.claims = new ClaimsTable(claims, app);
    page.story = new Story(app);
    app.render();
    // The frame after the one that draws.
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        performance.mark("first view");
        document.documentElement.dataset.ready = "true";
      }),
    );
  } catch (error) {
    d3.select("main").insert("p", ":first-child").attr("class", "error").attr("role", "alert").text(error.message);
  }
}

open();
