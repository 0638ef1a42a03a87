/* The verdicts as a matrix of methods and claims; a cell opens its evidence. */

import * as d3 from "../d3.js";

export class VerdictsView {
  static uses = [];

  sides = [];

  constructor(_above, host, app) {
    this.app = app;
    this.rows = [...document.querySelectorAll("table.claims tbody tr")].map((row) => /** @type {HTMLTableRowElement} */ (row));
    const claims = [...new Set(this.rows.map((row) => row.dataset.claim))];
    const methods = [...new Set(this.rows.map((row) => row.dataset.method))];
    const found = new Map(this.rows.map((row) => [`${row.dataset.method} ${row.dataset.claim}`, row]));
    const statement = (claim) => this.rows.find((row) => row.dataset.claim === claim).cells[1].textContent;
    const box = d3.select(host).append("div").attr("class", "wide frame").attr("tabindex", 0).attr("role", "region").attr("aria-label", "Verdicts by claim and method");
    const table = box.append("table").attr("class", "matrix");
    table.append("caption").attr("class", "hidden").text("Verdicts on the claims of the literature, by claim and method");
    const head = table.append("thead").append("tr");
    head.append("th").attr("scope", "col").text("claim");
    const title = (method) => app.methods.get(method)?.title ?? method;
    for (const method of methods) {
      head.append("th").attr("scope", "col").attr("title", title(method)).append("span").text(app.methods.get(method)?.short ?? method);
    }
    const body = table.append("tbody");
    this.cells = [];
    for (const claim of claims) {
      const line = body.append("tr");
      line.append("th").attr("scope", "row").text(statement(claim));
      for (const method of methods) {
        const row = found.get(`${method} ${claim}`);
        const cell = line.append("td");
        if (!row) {
          continue;
        }
        const { verdict, measured } = row.dataset;
        const button = cell.append("button").attr("type", "button").attr("class", `cell ${verdict.replace(" ", "-")}`).text(measured);
        if (verdict === "fails") {
          button.append("span").text("≠");
        }
        button.attr("aria-label", `${title(method)}, ${statement(claim)}: measured ${measured}, ${verdict === "holds" ? "as the literature says" : verdict === "fails" ? "unlike the literature" : verdict}`);
        button.on("click", () => {
          app.set({ method, claim });
          requestAnimationFrame(() => this.evidence.node().scrollIntoView({ block: "nearest" }));
        });
        this.cells.push({ method, claim, button, row });
      }
    }
    d3.select(host)
      .append("p")
      .attr("class", "note")
      .text("Cells say what was measured: blue where the literature says the same, orange and ≠ where it says the opposite, – where no metric of the method decides the claim. Choose a cell for its evidence.");
    this.evidence = d3.select(host).append("div").attr("class", "evidence").attr("aria-live", "polite");
  }

  render(state) {
    let chosen = null;
    for (const { method, claim, button, row } of this.cells) {
      const on = method === state.method && claim === state.claim;
      button.attr("aria-pressed", on);
      chosen = on ? row : chosen;
    }
    if (this.shown === chosen) {
      return;
    }
    this.shown = chosen;
    this.evidence.selectAll("*").remove();
    if (chosen) {
      const [, claim, literature, measured, , bar, verdict, explanation] = chosen.cells;
      this.evidence.append("h3").text(`${this.app.methods.get(chosen.dataset.method)?.title ?? chosen.dataset.method}: ${claim.textContent}`);
      const list = this.evidence.append("dl");
      for (const [term, cell] of [["literature", literature], ["measured", measured], ["verdict", verdict], ["value and threshold", bar], ["explanation", explanation]]) {
        list.append("dt").text(term);
        const entry = list.append("dd").node();
        entry.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
      }
    }
  }
}
