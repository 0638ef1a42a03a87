/* Sorting and filtering of the table of claims, which the template renders. */

import { controls } from "./controls.js";
import * as d3 from "./d3.js";

export class MeasuredTable {
  constructor(host) {
    const table = host.querySelector("table");
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.dataset.sort) {
        return;
      }
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => this.sort(head, column));
    });
    const row = controls.row(host, "Filter of the claims");
    host.prepend(row);
    const methods = [...new Set(this.rows.map((one) => one.dataset.method))];
    this.wanted = { method: "", verdict: "" };
    controls.choice(row, "Method", [["", "all"], ...methods.map((name) => [name, name])], (method) => this.filter({ method }));
    const verdicts = ["holds", "fails", "not applicable"];
    controls.choice(row, "Verdict", [["", "all"], ...verdicts.map((name) => [name, name])], (verdict) => this.filter({ verdict }));
    this.count = d3.select(row).append("output").node();
    this.filter({});
  }

  filter(wanted) {
    Object.assign(this.wanted, wanted);
    const { method, verdict } = this.wanted;
    for (const row of this.rows) {
      row.hidden = (method && row.dataset.method !== method) || (verdict && row.dataset.verdict !== verdict);
    }
    this.count.textContent = `${this.rows.filter((row) => !row.hidden).length} of ${this.rows.length} claims`;
  }

  sort(head, column) {
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) {
      other.removeAttribute("aria-sort");
    }
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => {
      const { value: text } = row.cells[column].dataset;
      return head.dataset.sort === "number" ? (text === "" ? NaN : Number(text)) : text;
    };
    const order = rising ? d3.ascending : d3.descending;
    // Rows without a number come last in either order.
    this.rows.sort((a, b) => Number(Number.isNaN(value(a))) - Number(Number.isNaN(value(b))) || order(value(a), value(b)));
    this.body.append(...this.rows);
  }
}
