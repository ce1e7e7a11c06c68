// SPDX-License-Identifier: Apache-2.0
// Sorts a table by the column whose heading was chosen, again for the other direction; places the definitions.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of headings) other.setAttribute("aria-sort", other === heading ? direction : "none");
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(a.cells[column], b.cells[column], sign));
      table.tBodies[0].append(...rows);
    });
    for (const event of ["pointerenter", "focusin"]) heading.addEventListener(event, () => place(heading));
  });
}

// Numbers by value, texts by the alphabet; what was not measured always comes last.
function compare(a, b, sign) {
  const [x, y] = [a, b].map((cell) => cell.dataset.value);
  if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
  if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
  return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

// Puts the definition above its heading, or below where there is no room, and within the window.
function place(heading) {
  const tip = heading.querySelector("[role=tooltip]");
  tip.hidden = false;
  const [box, own] = [heading.getBoundingClientRect(), tip.getBoundingClientRect()];
  const above = box.top - own.height - 6;
  tip.style.top = `${above >= 0 ? above : box.bottom + 6}px`;
  tip.style.left = `${Math.max(4, Math.min(box.left, document.documentElement.clientWidth - own.width - 4))}px`;
}

// A definition stays with its heading when the page or the table is scrolled.
const shown = () => [...document.querySelectorAll("thead th:hover, thead th:focus-within")].filter(
  (heading) => heading.querySelector("[role=tooltip]:not([hidden])"));
window.addEventListener("scroll", () => shown().forEach(place), { capture: true, passive: true });

// Escape hides it without leaving the heading.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const heading of shown()) heading.querySelector("[role=tooltip]").hidden = true;
});

// Everything is shown on paper.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
