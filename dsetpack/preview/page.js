"use strict";
// The filter by class, the arrow keys between sources, and the large view. The switch needs no script.

const large = document.getElementById("large");
const heading = document.getElementById("large-name");
const pictures = document.getElementById("large-pictures");
const [previous, next, close] = ["previous", "next", "close"].map((id) => document.getElementById(id));
const grids = Array.from(document.querySelectorAll(".sources"));
let current = null; // the source that the large view shows

for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
for (const grid of grids) {
  const buttons = Array.from(grid.querySelectorAll("button"));
  for (const button of buttons) {
    button.disabled = false;
    button.tabIndex = -1;
  }
  if (buttons.length > 0) buttons[0].tabIndex = 0; // one stop for the tab key; arrows move inside
  grid.addEventListener("keydown", (event) => walk(grid, event));
  grid.addEventListener("focusin", (event) => mark(grid, event.target));
  grid.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) show(item);
  });
  const part = grid.closest(".part");
  const select = part.querySelector(".filter select");
  if (select) select.addEventListener("change", () => filter(part, grid, select));
}

close.addEventListener("click", () => large.close());
previous.addEventListener("click", () => step(-1));
next.addEventListener("click", () => step(1));
large.addEventListener("close", () => current.querySelector("button").focus());
large.addEventListener("click", (event) => {
  if (event.target === large) large.close(); // outside of its content
});
large.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else return;
  event.preventDefault();
});

/** The sources that the filter leaves. */
function visible(grid) {
  return Array.from(grid.children).filter((item) => !item.hidden);
}

/** Make a button the one that the tab key comes back to. */
function mark(grid, button) {
  if (!button.matches("button")) return;
  for (const other of grid.querySelectorAll("button")) other.tabIndex = other === button ? 0 : -1;
}

/** Show the sources of one class only, or all. */
function filter(part, grid, select) {
  for (const item of grid.children) item.hidden = select.value !== "" && item.dataset.class !== select.value;
  const left = visible(grid);
  mark(grid, left[0].querySelector("button"));
  part.querySelector(".count").textContent =
    select.value === "" ? "" : `${left.length} of ${grid.children.length} sources shown`;
}

/** Arrow keys, Home and End between the sources of a grid. */
function walk(grid, event) {
  const items = visible(grid);
  const at = items.indexOf(event.target.closest("li"));
  const to = {
    ArrowLeft: at - 1,
    ArrowRight: at + 1,
    ArrowUp: vertical(items, at, -1),
    ArrowDown: vertical(items, at, 1),
    Home: 0,
    End: items.length - 1,
  }[event.key];
  if (to === undefined || at < 0) return;
  event.preventDefault();
  if (items[to]) items[to].querySelector("button").focus();
}

/** The source above or below: the nearest one in the next row. */
function vertical(items, at, direction) {
  if (at < 0) return undefined;
  const { left, top } = items[at].getBoundingClientRect();
  let best = at;
  let nearest = Infinity;
  items.forEach((item, number) => {
    const box = item.getBoundingClientRect();
    const down = (box.top - top) * direction;
    const distance = down * 10 + Math.abs(box.left - left);
    if (down > 1 && distance < nearest) [best, nearest] = [number, distance];
  });
  return best;
}

/** Open the large view of a source, or change it. */
function show(item) {
  current = item;
  const button = item.querySelector("button");
  heading.textContent = `${button.querySelector(".name").textContent}, ${button.querySelector(".number").textContent}`;
  pictures.replaceChildren(...Array.from(item.querySelectorAll("figure"), (figure) => figure.cloneNode(true)));
  const items = visible(item.parentElement);
  previous.disabled = items[0] === item;
  next.disabled = items[items.length - 1] === item;
  if (!large.open) large.showModal();
  if (document.activeElement.disabled) close.focus(); // else the focus, and the arrow keys with it, would be lost
}

/** The source before or after the one in the large view. */
function step(direction) {
  const items = visible(current.parentElement);
  const other = items[items.indexOf(current) + direction];
  if (other) show(other);
}
