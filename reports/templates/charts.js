// Charts in reach of the reader are drawn first, then the page is ready (data-ready), then the others are
// drawn one by one between what the reader does, until all are (data-drawn). Colours are the style sheet's.
const SMALLEST = 0.7; // a chart wider than its place is scaled down to this; below, its place scrolls
const NARROWEST = 150; // pixels
const failed = [];
const views = new WeakMap();

// Every data set and every text is carried once (reports/datasets.py).
function whole(spec, { texts, sets }) {
  const rows = (columns) => {
    const names = Object.keys(columns);
    const values = names.map((name) => columns[name].texts?.map((place) => texts[place]) ?? columns[name]);
    return (values[0] ?? []).map((_, i) => Object.fromEntries(names.map((name, j) => [name, values[j][i]])));
  };
  return { ...spec, datasets: Object.fromEntries(spec.datasets.map((name) => [name, rows(sets[name])])) };
}

// A single view is narrowed to its place; of small multiples as many stand side by side as have room, and one
// alone takes what there is.
function fitted(place, spec) {
  const { cell, margin = 70 } = spec.usermeta ?? {};
  const figure = place.closest("figure");
  const style = getComputedStyle(figure);
  const room = figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const narrowed = (width, most) => Math.max(NARROWEST, Math.min(most * width, room - margin));
  if (typeof spec.width === "number") return { ...spec, width: narrowed(spec.width, 1) };
  if (!cell || !spec.columns) return spec;
  const columns = Math.max(1, Math.min(spec.columns, Math.floor((room - margin) / cell)));
  const { width } = spec.spec;
  if (columns > 1 || typeof width !== "number") return { ...spec, columns };
  return { ...spec, columns, spec: { ...spec.spec, width: narrowed(width, 1.5) } };
}

const size = (spec) => [spec.columns, spec.spec?.width, spec.width].map((x) => (typeof x === "number" ? x : "")).join();

function fail(name, error) {
  failed.push(name);
  const problem = document.getElementById("problem");
  problem.hidden = false;
  problem.textContent = `Charts that could not be drawn: ${failed.join(", ")} (${error.message}).`;
  document.body.dataset.ready = "failed";
}

async function draw(place, charts) {
  const { config } = charts;
  const shown = whole(fitted(place, charts.specs[place.dataset.chart]), charts);
  place.dataset.size = size(shown);
  try {
    views.get(place)?.finalize();
    views.set(place, await window.vegaEmbed(place, shown, { actions: false, renderer: "svg", config }));
    const svg = place.querySelector("svg");
    for (const name of ["role", "aria-roledescription", "aria-label"]) place.removeAttribute(name);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", place.dataset.name);
    for (const drawing of svg.children) drawing.setAttribute("aria-hidden", "true"); // one picture, not its marks
    svg.style.minWidth = `${SMALLEST * svg.width.baseVal.value}px`;
  } catch (error) {
    place.textContent = `This chart could not be drawn: ${error.message}`;
    place.classList.add("warning");
    fail(place.dataset.chart, error);
  }
}

// 0: in or near the window; 1: in a panel that is shown; 2: in one that is not.
function distance(place) {
  if (!place.offsetParent) return 2;
  const { top, bottom } = place.getBoundingClientRect();
  return bottom > -window.innerHeight && top < 2 * window.innerHeight ? 0 : 1;
}

const pause = () => new Promise((done) => setTimeout(done));

async function drawAll(charts) {
  const left = [...document.querySelectorAll("[data-chart]")];
  while (left.length) {
    const distances = left.map(distance);
    const nearest = Math.min(...distances);
    if (nearest > 0) ready();
    const [place] = left.splice(distances.indexOf(nearest), 1);
    await draw(place, charts);
    await pause();
  }
  ready();
  document.body.dataset.drawn = failed.length ? "failed" : "true";
}

function ready() {
  document.body.dataset.ready = failed.length ? "failed" : "true";
}

async function start() {
  document.body.dataset.ready = document.body.dataset.drawn = "false";
  let charts;
  try {
    charts = await unpack("packed-charts");
  } catch (error) {
    return fail("all", error);
  }
  let drawing = drawAll(charts);
  let timer;
  const refit = async () => {
    for (const place of document.querySelectorAll("[data-chart]")) {
      const spec = charts.specs[place.dataset.chart];
      if (size(fitted(place, spec)) !== place.dataset.size) await draw(place, charts);
    }
  };
  window.addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => (drawing = drawing.then(refit)), 200);
  });
}

start();
