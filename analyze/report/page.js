"use strict";
// Everything is there without this script, too: it shows values at once and sorts tables.

const UNITS = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50 };

// --- values of pictures ---

const box = document.createElement("div");
box.className = "value";
box.hidden = true;
document.body.append(box);

function show(shape) {
  document.querySelectorAll(".now").forEach((one) => one.classList.remove("now"));
  box.hidden = !shape;
  if (!shape) return;
  const title = shape.querySelector("title");
  if (title) {
    // Otherwise the browser shows it a second time.
    shape.dataset.value = title.textContent;
    title.remove();
  }
  shape.classList.add("now");
  box.textContent = shape.dataset.value;
  const place = shape.getBoundingClientRect();
  const left = place.left + place.width / 2 - box.offsetWidth / 2;
  box.style.left = `${Math.max(4, Math.min(left, document.documentElement.clientWidth - box.offsetWidth - 4))}px`;
  box.style.top = `${Math.max(4, place.top - box.offsetHeight - 6)}px`;
}

for (const picture of document.querySelectorAll("svg")) {
  const shapes = [...picture.querySelectorAll(".hit")];
  let at = -1;
  picture.addEventListener("pointermove", (event) => show(event.target.closest(".hit")));
  picture.addEventListener("pointerleave", () => show(null));
  picture.addEventListener("blur", () => show(null));
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") show(null);
    if (!step || !shapes.length) return;
    event.preventDefault();
    at = Math.max(0, Math.min(at + step, shapes.length - 1));
    show(shapes[at]);
  });
}
addEventListener("scroll", () => show(null), { passive: true });

// --- tables ---

function key(cell) {
  const found = /^(-?[\d,]*\.?\d+)\s*([a-zA-Z]+)?/.exec(cell.textContent.trim());
  return found ? Number(found[1].replaceAll(",", "")) * (UNITS[found[2]] || 1) : -Infinity;
}

function sort(table, column, numeric, down) {
  const rows = [...table.tBodies[0].rows].map((row) => [row, numeric ? key(row.cells[column]) : row.cells[column].textContent]);
  rows.sort(([, a], [, b]) => (down ? -1 : 1) * (a < b ? -1 : a > b ? 1 : 0));
  table.tBodies[0].append(...rows.map(([row]) => row));
}

for (const table of document.querySelectorAll("table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const numeric = cell.classList.contains("n");
      const before = cell.getAttribute("aria-sort");
      const down = before ? before === "ascending" : numeric;
      table.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(table, column, numeric, down);
    });
  });
}
