// Uses preview pages in headless Chromium, for check_preview.py: node drive_preview.mjs PLAN.json, results as JSON.
// PLAN: pages {name: path of an .html}, pictures (the folder for screenshots), node (the folder with node_modules).

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { chromium } = createRequire(`${plan.node}/package.json`)("playwright-core");
const quiet = ["quic", "background-networking", "component-update", "sync", "gpu"].map((name) => `--disable-${name}`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--no-first-run", ...quiet],
});
const SCREENS = {
  desktop: { viewport: { width: 1200, height: 900 }, colorScheme: "light" },
  dark: { viewport: { width: 1200, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 375, height: 812 }, colorScheme: "light", isMobile: true, hasTouch: true },
};
const result = {};

try {
  for (const [name, path] of Object.entries(plan.pages)) {
    result[name] = { looks: {} };
    for (const [screen, options] of Object.entries(SCREENS)) {
      result[name].looks[screen] = await visit(options, path, (page) => look(page, `${name}-${screen}`));
    }
    result[name].keys = await visit(SCREENS.desktop, path, keys);
    result[name].pages = await visit(SCREENS.phone, path, pages);
    result[name].taps = await visit(SCREENS.phone, path, taps);
    result[name].plain = await visit({ ...SCREENS.desktop, javaScriptEnabled: false }, path, plain);
  }
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(result));

/** Open a page of its own, do something there, and add what it asked for and complained of. */
async function visit(options, path, action) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const [requests, complaints, url] = [[], [], pathToFileURL(path).href];
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && request.url() !== url) requests.push(request.url());
  });
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    complaints.push(dialog.message());
    dialog.dismiss();
  });
  await page.goto(url);
  const done = await action(page);
  const hacked = options.javaScriptEnabled === false ? false : await page.evaluate(() => "hacked" in window);
  await context.close();
  return { ...done, requests, complaints, hacked };
}

/** Screenshots, and what a reader sees at first. */
async function look(page, name) {
  await page.screenshot({ path: `${plan.pictures}/${name}.png` });
  await page.screenshot({ path: `${plan.pictures}/${name}-whole.png`, fullPage: true });
  return page.evaluate(() => ({
    title: document.title,
    width: document.documentElement.scrollWidth,
    screen: window.innerWidth,
    broken: Array.from(document.images).filter((image) => !image.complete || image.naturalWidth === 0).length,
    contrast: [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor],
    small: Array.from(document.querySelectorAll(".switch label, select, .pager button, .sources button")).filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width > 0 && (box.width < 24 || box.height < 16);
    }).length,
  }));
}

/** Everything by keyboard alone. */
async function keys(page) {
  const seen = { stops: [], outlines: [] };
  for (let stop = 0; stop < 60; stop += 1) {
    await page.keyboard.press("Tab");
    const at = await focused(page);
    if (at.tag === "BODY") break;
    seen.stops.push(at.what);
    seen.outlines.push(at.outline);
    if (at.what === "large" || seen.stops.filter((what) => what === at.what).length > 3) break;
  }
  const grid = page.locator(".sources").first();
  const switched = page.locator(".part").first().locator(".switch input");
  seen.views = [];
  if ((await switched.count()) > 0) {
    await switched.first().focus();
    for (let view = 0; view < (await switched.count()); view += 1) {
      seen.views.push({
        value: await page.evaluate(() => document.activeElement.value),
        checked: await page.evaluate(() => document.activeElement.checked),
        shown: await visibleFigures(grid),
      });
      await page.keyboard.press("ArrowRight");
    }
  }
  await grid.locator("button[tabindex='0']").focus();
  seen.walk = [(await focused(page)).label];
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "End", "ArrowRight", "Home"]) {
    await page.keyboard.press(key);
    seen.walk.push((await focused(page)).label);
  }
  await page.keyboard.press("Enter");
  seen.large = [await page.textContent("#large-name")];
  seen.largeFigures = await page.locator("#large img:visible").count();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) {
    await page.keyboard.press(key);
    seen.large.push(await page.textContent("#large-name"));
  }
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !document.getElementById("large").open);
  seen.back = (await focused(page)).label;
  const select = page.locator(".filter select").first();
  seen.filtered = null;
  if ((await select.count()) > 0) {
    await select.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Tab");
    seen.filtered = {
      count: await page.locator(".count").first().textContent(),
      classes: await grid.locator(".item:visible").evaluateAll((items) => items.map((item) => item.dataset.class)),
      next: (await focused(page)).tag,
    };
  }
  return seen;
}

/** What has the focus. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const drawn = element.matches(".switch input") ? element.nextElementSibling : element;
    const style = getComputedStyle(drawn);
    return {
      tag: element.tagName,
      what: element.id || element.className || element.getAttribute("aria-label") || element.tagName.toLowerCase(),
      label: element.textContent.trim() || element.querySelector("img")?.alt,
      outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    };
  });
}

/** How many pictures are shown. */
function visibleFigures(grid) {
  return grid.locator("img:visible").count();
}

/** The same with a finger. */
async function taps(page) {
  const labels = page.locator(".part").first().locator(".switch label");
  if ((await labels.count()) > 0) await labels.last().tap();
  const grid = page.locator(".sources").first();
  const shown = await visibleFigures(grid);
  await grid.locator(".item img:visible").nth(1).tap();
  const name = await page.textContent("#large-name");
  await page.screenshot({ path: `${plan.pictures}/${await page.evaluate(() => location.pathname.split("/").pop())}-large.png` });
  await page.locator("#next").tap();
  const next = await page.textContent("#large-name");
  const box = await page.locator("#large").boundingBox();
  await page.locator("#close").tap();
  await page.waitForFunction(() => !document.getElementById("large").open);
  return { shown, name, next, box };
}

/** All pages, by the buttons of both ends and by the list, and the large view from one page to the next. */
async function pages(page) {
  const part = page.locator(".part").first();
  const [upper, lower] = [part.locator(".pager").first(), part.locator(".pager").last()];
  const seen = { there: await upper.isVisible(), ranges: [], images: new Set() };
  const look = async () => {
    seen.ranges.push(await upper.locator(".range").textContent());
    for (const image of await part.locator(".sources img:visible").all()) seen.images.add(await image.getAttribute("alt"));
  };
  await look();
  while (seen.there && (await lower.locator(".on").isEnabled())) {
    await lower.locator(".on").tap();
    await look();
  }
  if (seen.there) {
    seen.focus = await page.evaluate(() => document.activeElement.closest(".pager") === document.querySelector(".pager"));
    seen.onScreen = await upper.isVisible();
    await upper.locator("select").selectOption({ index: 0 });
    seen.ranges.push(await upper.locator(".range").textContent());
    await part.locator(".item:visible button").last().click();
    const before = await page.textContent("#large-name");
    await page.locator("#next").tap();
    seen.turned = [before, await page.textContent("#large-name"), await lower.locator(".range").textContent()];
    await page.locator("#close").tap();
    seen.rows = await part.locator(".row:visible").count();
  }
  return { ...seen, images: seen.images.size, width: await page.evaluate(() => document.documentElement.scrollWidth) };
}

/** Without scripts. */
async function plain(page) {
  const grid = page.locator(".sources").first();
  const all = await visibleFigures(grid);
  const labels = page.locator(".part").first().locator(".switch label");
  if ((await labels.count()) > 0) await labels.last().click();
  const useless = await page.locator(".filter:visible, .pager:visible").count();
  return { all, one: await visibleFigures(grid), useless };
}
