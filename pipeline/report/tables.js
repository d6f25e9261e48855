"use strict";
// The search box above a table, and its headings: a click sorts, another turns round.
const wordsOf = input => input.value.toLowerCase().split(/\s+/).filter(Boolean);

document.querySelectorAll(".search [type=search]").forEach(input => input.addEventListener("input", () => {
  const search = input.closest(".search"), rows = [...search.nextElementSibling.querySelector("tbody").rows];
  const words = wordsOf(input);
  rows.forEach(row => { const text = row.textContent.toLowerCase(); row.hidden = !words.every(word => text.includes(word)); });
  search.querySelector("[role=status]").textContent = words.length ? `${rows.filter(row => !row.hidden).length} of ${rows.length}` : "";
}));

document.querySelectorAll("[data-all]").forEach(box => box.addEventListener("change", () =>
  box.closest(".search").nextElementSibling.classList.toggle("all", box.checked)));

// What a term means: shown while it is pointed at or focused, so a tap shows it too.
const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
tip.setAttribute("role", "tooltip");
document.body.append(tip);
function explain(term) {
  tip.textContent = term.dataset.term;
  tip.hidden = false;
  const at = term.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${at.bottom + tip.offsetHeight + 6 < innerHeight ? at.bottom + 6 : at.top - tip.offsetHeight - 6}px`;
}
document.querySelectorAll("[data-term]").forEach(term => {
  ["pointerenter", "focus", "click"].forEach(each => term.addEventListener(each, () => explain(term)));
  ["pointerleave", "blur"].forEach(each => term.addEventListener(each, () => { tip.hidden = true; }));
});
addEventListener("scroll", () => { tip.hidden = true; }, { capture: true, passive: true });

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
