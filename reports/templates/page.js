const read = (id) => JSON.parse(document.getElementById(id).textContent);
const specs = read("specs");
const themes = read("themes");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const main = document.querySelector("main");

function show(convention) {
  for (const figure of document.querySelectorAll("figure")) {
    const panels = [...figure.querySelectorAll(".panel")];
    if (!panels.some((panel) => panel.dataset.convention === convention)) continue;
    for (const panel of panels) panel.classList.toggle("hidden", panel.dataset.convention !== convention);
    for (const button of figure.querySelectorAll(".tabs button"))
      button.setAttribute("aria-pressed", String(button.dataset.show === convention));
  }
}

function fitted(spec) {
  const cell = spec.usermeta?.cell;
  if (!cell || !spec.columns) return spec;
  return { ...spec, columns: Math.max(1, Math.min(spec.columns, Math.floor(main.clientWidth / cell))) };
}

async function draw() {
  document.body.dataset.ready = "false";
  const failed = [];
  for (const place of document.querySelectorAll("[data-chart]")) {
    const options = { actions: false, renderer: "svg", config: themes[dark.matches ? "dark" : "light"] };
    try {
      await window.vegaEmbed(place, fitted(specs[place.dataset.chart]), options);
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      place.classList.add("warning");
      failed.push(place.dataset.chart);
    }
  }
  const problem = document.getElementById("problem");
  problem.hidden = failed.length === 0;
  problem.textContent = `Charts that could not be drawn: ${failed.join(", ")}.`;
  document.body.dataset.ready = failed.length ? "failed" : "true";
}

const first = document.querySelector(".tabs button");
for (const button of document.querySelectorAll(".tabs button"))
  button.addEventListener("click", () => {
    const top = button.getBoundingClientRect().top;
    show(button.dataset.show);
    window.scrollBy(0, button.getBoundingClientRect().top - top);
  });
if (first) show(first.dataset.show);

let width = main.clientWidth;
let drawing = draw();
const again = () => (drawing = drawing.then(draw));
dark.addEventListener("change", again);
let timer;
window.addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (main.clientWidth === width) return;
    width = main.clientWidth;
    again();
  }, 200);
});
