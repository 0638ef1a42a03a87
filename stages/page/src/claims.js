/* Sorting and filtering of the table of claims, which the template renders. The choice is a part of the state. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";

export class ClaimsTable {
  /** `box` is the details element with the table. */
  constructor(box, app) {
    this.app = app;
    this.box = box;
    /** The choices that are shown. */
    this.key = null;
    this.rows = null;
    // The table is long, and closed at first: its controls are made when it is opened.
    box.addEventListener("toggle", () => app.render());
    app.parts.push(this);
  }

  /** Make the controls. */
  begin() {
    const { app } = this;
    const host = this.box.querySelector("#measured");
    const table = host.querySelector("table");
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.heads = [...table.tHead.rows[0].cells].filter((head) => head.dataset.sort);
    for (const head of this.heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const name = button.textContent;
        app.set({ sort: app.state.sort === name ? `-${name}` : name });
      });
    }
    const row = controls.row(host, "Filter of the claims");
    host.prepend(row);
    const methods = [...new Set(this.rows.map((one) => one.dataset.method))];
    this.method = controls.choice(row, "Method", [["", "all"], ...methods.map((name) => [name, app.methods.get(name)?.title ?? name])], (only) => app.set({ only }));
    const verdicts = ["holds", "fails", "not applicable"];
    this.verdict = controls.choice(row, "Verdict", [["", "all"], ...verdicts.map((name) => [name, name])], (verdict) => app.set({ verdict }));
    // On narrow screens rows are cards without a head, and this list sorts them.
    const orders = this.heads.map((head) => head.textContent);
    this.order = controls.choice(row, "Sort by", [["", "method"], ...orders.flatMap((name) => [[name, `${name}, rising`], [`-${name}`, `${name}, falling`]])], (sort) => app.set({ sort }));
    this.count = d3.select(row).append("output").node();
  }

  render({ only: method, verdict, sort }) {
    const key = [method, verdict, sort].join("|");
    if (key === this.key) {
      return;
    }
    // What was chosen before a reload is to be seen.
    this.box.open ||= key !== "||";
    if (!this.box.open) {
      return;
    }
    this.key = key;
    if (!this.rows) {
      this.begin();
    }
    [this.method.value, this.verdict.value, this.order.value] = [method, verdict, sort];
    for (const row of this.rows) {
      row.hidden = Boolean((method && row.dataset.method !== method) || (verdict && row.dataset.verdict !== verdict));
    }
    this.count.textContent = `${this.rows.filter((row) => !row.hidden).length} of ${this.rows.length} claims`;
    const name = sort.replace(/^-/, "");
    for (const head of this.heads) {
      head.textContent === name ? head.setAttribute("aria-sort", sort === name ? "ascending" : "descending") : head.removeAttribute("aria-sort");
    }
    const head = this.heads.find((one) => one.textContent === name);
    this.body.append(...(head ? this.sorted(head, sort === name) : this.rows));
  }

  sorted(head, rising) {
    const order = rising ? d3.ascending : d3.descending;
    const value = (row) => {
      const { value: text } = row.cells[head.cellIndex].dataset;
      return head.dataset.sort === "number" ? (text === "" ? NaN : Number(text)) : text;
    };
    // Rows without a number come last in either order.
    return [...this.rows].sort((a, b) => Number(Number.isNaN(value(a))) - Number(Number.isNaN(value(b))) || order(value(a), value(b)));
  }
}
