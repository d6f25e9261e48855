"use strict";
// The search box above a table, and its headings: a click sorts, another turns round.
const wordsOf = input => input.value.toLowerCase().split(/\s+/).filter(Boolean);

document.querySelectorAll(".search input").forEach(input => input.addEventListener("input", () => {
  const search = input.closest(".search"), rows = [...search.nextElementSibling.querySelector("tbody").rows];
  const words = wordsOf(input);
  rows.forEach(row => { const text = row.textContent.toLowerCase(); row.hidden = !words.every(word => text.includes(word)); });
  search.querySelector("[role=status]").textContent = words.length ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
}));

document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0], column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  head.parentElement.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const isNumber = head.classList.contains("number"), of = row => row.cells[column];
  const key = row => isNumber ? Number(of(row).dataset.value) : of(row).textContent;
  const isEmpty = row => isNumber ? of(row).dataset.value === "" : of(row).textContent === "–";
  [...body.rows].sort((a, b) => {
    if (isEmpty(a) !== isEmpty(b)) return isEmpty(a) ? 1 : -1;
    const [x, y] = [key(a), key(b)], order = x < y ? -1 : x > y ? 1 : 0;
    return down ? -order : order;
  }).forEach(row => body.append(row));
}));
