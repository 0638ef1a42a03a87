/* Metrics that the pictures show; stages/report.py writes them into the page. */

export const results = JSON.parse(document.querySelector("#results").textContent);
