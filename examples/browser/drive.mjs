// Uses the page in headless Chromium, for test_browser.py: node drive.mjs PLAN.json, results as JSON on standard output.
// PLAN: url, models [{file, pairs, noise}], refused [file], upload (a path), picture (where a screenshot goes).

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const quiet = ["quic", "background-networking", "component-update", "sync", "gpu"].map((name) => `--disable-${name}`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--no-first-run", ...quiet],
});
const result = { elsewhere: [] };
const complaints = [];

try {
  const page = await browser.newPage();
  page.on("request", (request) => {
    if (!request.url().startsWith(plan.url) && !request.url().startsWith("data:")) result.elsewhere.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));

  await open(page, "");
  result.first = await shown(page);
  await page.screenshot({ path: plan.picture });
  result.pages = [result.first.labels];
  while (await page.isEnabled("#next")) {
    await act(page, () => page.click("#next"));
    result.pages.push((await shown(page)).labels);
  }
  await act(page, () => page.click("#previous"));
  result.previous = (await shown(page)).labels;
  await act(page, () => page.click("#random"));
  result.random = (await shown(page)).labels;
  await act(page, () => page.setInputFiles("#file", plan.upload));
  result.uploaded = await page.textContent("#title");
  result.complaints = complaints.slice(); // before numbers and files that must fail
  result.decoded = [];
  for (const model of plan.models) result.decoded.push(await page.evaluate(decoded, model));

  result.refused = {};
  for (const file of plan.refused) {
    await open(page, `?model=${file}`);
    result.refused[file] = { alert: await page.textContent("#error"), images: await page.locator("canvas").count() };
  }
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(result));

/** Open the page, and wait until it shows images or an error. */
async function open(page, query) {
  await page.goto(plan.url + query);
  await page.waitForFunction(ready);
}

/** Do something, and wait until other images are there. */
async function act(page, action) {
  await page.evaluate(() => (window.before = document.querySelector("figure")));
  await action();
  await page.waitForFunction(() => !window.before.isConnected);
  await page.waitForFunction(ready);
}

/** In the page: whether it shows images or an error. */
function ready() {
  const [status, error] = ["status", "error"].map((id) => document.getElementById(id).textContent);
  return /decoded/.test(status) || error !== "";
}

/** What the page says and the pixels of its canvases. */
function shown(page) {
  return page.evaluate(() => ({
    title: document.getElementById("title").textContent,
    facts: document.getElementById("facts").textContent,
    labels: Array.from(document.querySelectorAll("figure"), (figure) => figure.title),
    captions: Array.from(document.querySelectorAll("figcaption"), (caption) => caption.textContent),
    pixels: Array.from(document.querySelectorAll("canvas"), (canvas) => {
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return { width, height, data: Array.from(data) };
    }),
  }));
}

/** In the page: what its pack.js makes of a model. */
async function decoded({ file, pairs, noise }) {
  const { OnnxPack } = await import("./pack.js");
  const pack = await OnnxPack.open(new Uint8Array(await (await fetch(file)).arrayBuffer()));
  const { images, shape, labels } = await pack.decode(pairs, noise && Float32Array.from(noise));
  let beyond = "accepted";
  try {
    await pack.decode([pack.length], noise && Float32Array.from(noise).subarray(0, noise.length / pairs.length));
  } catch (error) {
    beyond = String(error);
  }
  return { length: pack.length, title: pack.card.title, images: Array.from(images), shape, labels, beyond };
}
