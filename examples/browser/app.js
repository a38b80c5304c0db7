// The page: which pack, which pairs, and their images on canvases.

import { OnnxPack } from "./pack.js";

const PAGE = 48; // images at a time
const element = (id) => document.getElementById(id);
let pack = null;
let first = 0; // number of the first pair shown, when they are in order

async function load(name, bytesOf) {
  show(`Loading ${name} …`);
  pack = null;
  try {
    const opened = await OnnxPack.open(await bytesOf());
    if (!opened.isRaw) throw new Error("its images are in a learned pixel space: export it with --space raw");
    pack = opened;
  } catch (error) {
    fail(`${name}: ${error.message}`);
    return;
  }
  describe();
  first = 0;
  await draw(inOrder());
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the server answers ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}

function describe() {
  const [channels, height, width] = pack.card.shape;
  element("title").textContent = pack.card.title;
  const facts = [
    `${pack.length.toLocaleString("en")} images of ${width}×${height}×${channels}`,
    `${pack.card.classes.length} classes`,
    pack.info.digest.slice(0, 19) + "…",
  ];
  element("facts").textContent = facts.join(" · ");
}

function inOrder() {
  return Array.from({ length: Math.min(PAGE, pack.length - first) }, (_, i) => first + i);
}

function atRandom() {
  return Array.from({ length: Math.min(PAGE, pack.length) }, () => Math.floor(Math.random() * pack.length));
}

async function draw(pairs) {
  const before = performance.now();
  const { images, shape, labels } = await pack.decode(pairs);
  const took = performance.now() - before;
  const size = shape[1] * shape[2] * shape[3];
  const figures = pairs.map((pair, i) => figure(pair, images.subarray(i * size, (i + 1) * size), shape, labels[i]));
  element("images").replaceChildren(...figures);
  show(`${pairs.length} images decoded in ${took.toFixed(1)} ms`);
}

function figure(pair, values, shape, label) {
  const made = document.createElement("figure");
  const name = nameOf(label);
  const canvas = painted(values, shape);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `image ${pair}, ${name}`);
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  made.title = `pair ${pair}: ${name}`;
  made.append(canvas, caption);
  return made;
}

/** The class of a hard label, or the class of the largest share. */
function nameOf(label) {
  const { classes } = pack.card;
  return classes[Array.isArray(label) ? label.indexOf(Math.max(...label)) : label];
}

/** A canvas of the image's own size with values [C, H, W] in [0, 1]; one channel is grey. */
function painted(values, [, channels, height, width]) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const pixels = new ImageData(width, height);
  const plane = width * height;
  for (let at = 0; at < plane; at++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * at + c] = 255 * values[(channels < 3 ? 0 : c) * plane + at];
    pixels.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function show(text) {
  element("status").textContent = text;
  element("error").textContent = "";
  for (const button of document.querySelectorAll("button")) button.disabled = !pack;
  element("previous").disabled = !pack || first === 0;
  element("next").disabled = !pack || first + PAGE >= pack.length;
}

function fail(text) {
  element("images").replaceChildren();
  element("title").textContent = "dsetpack";
  element("facts").textContent = "";
  show("");
  element("error").textContent = text;
}

function turn(pages) {
  first += pages * PAGE;
  return draw(inOrder());
}

element("previous").addEventListener("click", () => turn(-1));
element("next").addEventListener("click", () => turn(1));
element("random").addEventListener("click", () => draw(atRandom()));
element("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) load(file.name, async () => new Uint8Array(await file.arrayBuffer()));
});

const model = new URLSearchParams(location.search).get("model") ?? "pack.onnx";
load(model, () => fetched(model));
