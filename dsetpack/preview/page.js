"use strict";
// Pages, the filter by class, the arrow keys between sources, and the large view. The switch needs no script.

const PICTURES = 200; // on a page
const large = document.getElementById("large");
const heading = document.getElementById("large-name");
const pictures = document.getElementById("large-pictures");
const [previous, next, close] = ["previous", "next", "close"].map((id) => document.getElementById(id));
const spelled = (number) => number.toLocaleString("en");
let current = null; // the item that the large view shows, and its list
let currentList = null;

/** The images or sources of a part. */
class List {
  constructor(part) {
    this.part = part;
    this.grid = part.querySelector(".sources");
    this.items = Array.from(this.grid.querySelectorAll(".item"));
    this.chosen = this.items; // those that the filter leaves
    this.each = Math.max(1, Math.floor(PICTURES / this.items[0].querySelectorAll("img").length));
    this.page = 0;
    this.pagers = Array.from(part.querySelectorAll(".pager"));
    this.filter = part.querySelector(".filter select");
    for (const item of this.items) {
      const button = item.querySelector("button");
      button.disabled = false;
      button.tabIndex = -1;
    }
    this.grid.addEventListener("keydown", (event) => this.walk(event));
    this.grid.addEventListener("focusin", (event) => this.mark(event.target));
    this.grid.addEventListener("click", (event) => {
      const item = event.target.closest(".item");
      if (item) show(this, item);
    });
    if (this.filter) this.filter.addEventListener("change", () => this.choose());
    for (const pager of this.pagers) {
      const [back, on, select] = [".back", ".on", "select"].map((name) => pager.querySelector(name));
      back.addEventListener("click", () => this.turn(this.page - 1, back));
      on.addEventListener("click", () => this.turn(this.page + 1, on));
      select.addEventListener("change", () => this.turn(Number(select.value), select));
    }
    this.choose();
  }

  get pages() {
    return Math.ceil(this.chosen.length / this.each);
  }

  /** The items of the page. */
  get visible() {
    return this.chosen.slice(this.page * this.each, (this.page + 1) * this.each);
  }

  /** Leave the items of one class only, or all. */
  choose() {
    const only = this.filter ? this.filter.value : "";
    this.chosen = only === "" ? this.items : this.items.filter((item) => item.dataset.class === only);
    for (const pager of this.pagers) {
      const options = Array.from({ length: this.pages }, (_, page) => new Option(`page ${page + 1} of ${this.pages}`, page));
      pager.querySelector("select").replaceChildren(...options);
      pager.hidden = this.pages < 2;
    }
    this.part.querySelector(".count").textContent =
      only === "" ? "" : `${spelled(this.chosen.length)} of ${spelled(this.items.length)} shown`;
    this.open(0);
  }

  /** Show a page. */
  open(page) {
    this.page = page;
    const shown = new Set(this.visible);
    for (const item of this.items) item.hidden = !shown.has(item);
    for (const row of this.grid.querySelectorAll(".row")) row.hidden = !row.querySelector(".item:not([hidden])");
    const start = page * this.each;
    for (const pager of this.pagers) {
      pager.querySelector(".range").textContent =
        `${spelled(start + 1)}–${spelled(start + shown.size)} of ${spelled(this.chosen.length)}`;
      pager.querySelector("select").value = page;
      pager.querySelector(".back").disabled = page === 0;
      pager.querySelector(".on").disabled = page === this.pages - 1;
    }
    this.mark(this.visible[0].querySelector("button"));
  }

  /** Show a page from its start, and keep the focus on the upper one of the two controls like this. */
  turn(page, control) {
    this.open(page);
    const upper = this.pagers[0].querySelector(control.matches("select") ? "select" : `.${control.className}`);
    (upper.disabled ? this.pagers[0].querySelector("button:enabled") : upper).focus();
  }

  /** Make a button the one that the tab key comes back to. */
  mark(button) {
    if (!button.matches(".item button")) return;
    for (const item of this.items) item.querySelector("button").tabIndex = -1;
    button.tabIndex = 0;
  }

  /** Arrow keys, Home and End between the items of the page. */
  walk(event) {
    const items = this.visible;
    const at = items.indexOf(event.target.closest(".item"));
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
}

/** The item above or below: the nearest one in the next row. */
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

/** Open the large view of an item, or change it. */
function show(list, item) {
  [current, currentList] = [item, list];
  const button = item.querySelector("button");
  const words = Array.from(button.querySelectorAll(".name, .number"), (word) => word.textContent);
  heading.textContent = words.length > 0 ? words.join(", ") : button.querySelector("img").alt;
  const figures = item.querySelectorAll("figure");
  const shown = figures.length > 0 ? figures : item.querySelectorAll("img");
  pictures.replaceChildren(...Array.from(shown, (picture) => picture.cloneNode(true)));
  previous.disabled = list.chosen[0] === item;
  next.disabled = list.chosen[list.chosen.length - 1] === item;
  if (!large.open) large.showModal();
  if (document.activeElement.disabled) close.focus(); // else the focus, and the arrow keys with it, would be lost
}

/** The item before or after the one in the large view, if need be on another page. */
function step(direction) {
  const at = currentList.chosen.indexOf(current) + direction;
  if (!currentList.chosen[at]) return;
  const page = Math.floor(at / currentList.each);
  if (page !== currentList.page) currentList.open(page);
  show(currentList, currentList.chosen[at]);
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
for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
for (const part of document.querySelectorAll(".part")) new List(part);
