/* Start the parts of the page. */

import * as d3 from "./d3.js";
import { numbers, pageData, part } from "./data.js";
import { Embeddings } from "./embeddings.js";
import { Grid } from "./fields.js";
import { MixtureSection } from "./mixture.js";
import { Reconstructions } from "./reconstructions.js";
import { MeasuredTable } from "./table.js";
import { Mixture } from "./truth.js";

/** Toggle between light and dark; the default is the system's setting. */
function theme() {
  /** @type {HTMLButtonElement} */
  const button = document.querySelector("#theme");
  const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const tell = () => (button.textContent = dark() ? "Light" : "Dark");
  button.hidden = false;
  const changed = () => {
    tell();
    page.embeddings?.draw();
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  tell();
}

/** The parts of the page by the id of their element, for tests and tools. */
const page = { numbers, part };
// The data scripts call `pageData.add`.
Object.assign(globalThis, { page, pageData });

/** Start a part of the page in its element; an error is shown there. */
async function start(id, make) {
  const host = document.getElementById(id);
  try {
    page[id] = make(host);
    await page[id].start?.();
    host.dataset.ready = "true";
  } catch (error) {
    d3.select(host).append("p").attr("class", "error").attr("role", "alert").text(error.message);
  }
}

async function open() {
  document.documentElement.classList.add("live");
  theme();
  start("measured", (host) => new MeasuredTable(host));
  try {
    const { mog, mnist } = await pageData.get("domains", "page_data/domains.js");
    mog.grid = new Grid(mog.x, mog.y);
    mog.mixture = new Mixture(mog.weights, mog.means, mog.covariances);
    mog.points = d3.range(mog.points.shape[0]).map((i) => [...part(mog.points, i)]);
    start("mixture", (host) => new MixtureSection(host, mog));
    start("embeddings", (host) => new Embeddings(host, mnist));
    start("reconstructions", (host) => new Reconstructions(host, mnist));
  } catch (error) {
    d3.select("main").insert("p", ":first-child").attr("class", "error").attr("role", "alert").text(error.message);
  }
}

open();
