// The contents bar marks where the reader is: the last anchor above a line at a quarter of the window, or,
// where the page ends before it, the last section.
const bar = document.querySelector(".bar");
const places = [...bar.querySelectorAll("a")].map((link) => {
  const target = document.getElementById(link.hash.slice(1));
  return { link, target, section: target.matches("section") };
});
const LINE = 0.25;

function mark() {
  const end = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
  const passed = ({ target }) => target.getBoundingClientRect().top <= window.innerHeight * LINE + 1;
  const sections = places.filter(({ section }) => section);
  const section = (end && window.scrollY > 0 ? sections : sections.filter(passed)).at(-1) ?? sections[0];
  const figure = places.filter((place) => section.target.contains(place.target) && !place.section && passed(place));
  const here = [section.link, figure.at(-1)?.link];
  for (const { link } of places) {
    const now = here.includes(link);
    if (now === link.hasAttribute("aria-current")) continue;
    if (now) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
    link.closest("li").classList.toggle("here", now);
    if (now) reveal(link);
  }
}

// Scrolls the bar alone, never the page.
function reveal(link) {
  const list = bar.querySelector(".sections");
  const [box, frame] = [link.getBoundingClientRect(), list.getBoundingClientRect()];
  if (box.left < frame.left || box.right > frame.right) list.scrollBy({ left: box.left - frame.left - 16 });
  if (box.top < frame.top || box.bottom > frame.bottom) list.scrollBy({ top: box.top - frame.top - 60 });
}

const crossing = new IntersectionObserver(mark, { rootMargin: `-${LINE * 100}% 0px -${100 - LINE * 100}% 0px` });
for (const { target } of places) crossing.observe(target);
new IntersectionObserver(mark, { threshold: [0, 1] }).observe(document.querySelector("footer"));

const themes = ["auto", "light", "dark"];
const button = document.getElementById("theme");
button.hidden = false;
button.addEventListener("click", () => {
  const chosen = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % themes.length];
  document.documentElement.dataset.theme = chosen;
  button.textContent = `Theme: ${chosen}`;
});

// One convention is shown in all figures that have it.
function show(convention) {
  for (const figure of document.querySelectorAll("figure")) {
    const panels = [...figure.querySelectorAll(".panel")];
    if (!panels.some((panel) => panel.dataset.convention === convention)) continue;
    for (const panel of panels) panel.classList.toggle("hidden", panel.dataset.convention !== convention);
    for (const tab of figure.querySelectorAll(".tabs button"))
      tab.setAttribute("aria-pressed", String(tab.dataset.show === convention));
  }
}

const tabs = [...document.querySelectorAll(".tabs button")];
for (const tab of tabs)
  tab.addEventListener("click", () => {
    const top = tab.getBoundingClientRect().top;
    show(tab.dataset.show);
    window.scrollBy({ top: tab.getBoundingClientRect().top - top, behavior: "instant" });
  });
if (tabs.length) show(tabs[0].dataset.show);
