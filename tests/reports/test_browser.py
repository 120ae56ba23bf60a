"""The page in a real browser, without a network."""

import csv
import json
import re
from collections import defaultdict

import pytest
from axe_playwright_python.sync_playwright import Axe

from reports.embedded import packed, unpacked
from reports.page import render_page
from tests.reports.browsing import chromium, opened
from tests.reports.page_reader import PageReader
from tests.reports.small_study import make_study, results

pytestmark = pytest.mark.browser

PAPER = 182
"""Width of what is printed on A4 between the margins of the page's style, in mm; its height is 267."""

PER_MM = 96 / 25.4

LINKS = """() => {
  for (const chart of document.querySelectorAll("[data-chart]")) {
    chart.style.position = "relative";
    for (const edge of ["upper", "lower"]) {
      const link = document.createElement("a");
      link.href = `https://chart.invalid/${edge}/${chart.dataset.chart}`;
      link.textContent = ".";
      const place = { upper: "top: 0", lower: "bottom: 0" }[edge];
      link.style = `position: absolute; left: 0; ${place}; height: 2px; width: 9px; overflow: hidden`;
      chart.append(link);
    }
  }
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def path(page, tmp_path_factory):
    written = tmp_path_factory.mktemp("page") / "page.html"
    written.write_text(page, "utf-8")
    return written


@pytest.fixture
def shown(browser, path):
    with opened(browser, path) as page:
        yield page


def every(page, selector, expression):
    """The value of a JavaScript expression over each element `e` of a selector."""
    return page.locator(selector).evaluate_all(f"elements => elements.map(e => {expression})")


def picker(figure, name):
    """The list from which a reader of a gallery picks."""
    return figure.locator(".vega-bind", has_text=name).locator("select")


def test_all_charts_are_drawn(shown, page):
    places = every(shown, "[data-chart]", "e.dataset.chart")
    assert sorted(places) == sorted(PageReader(page).specs) and len(places) == 25
    marks = ".querySelectorAll('svg [class*=mark-] > :is(path, image, text, line)').length"
    drawn = every(shown, "[data-chart]", f"[e.dataset.chart, e{marks}]")
    assert [chart for chart, count in drawn if count < 5] == []
    assert shown.locator("body").get_attribute("data-ready") == "true"
    assert every(shown, ".panel.hidden", "e.className")


def test_a_chart_that_fails_is_told(browser, page, tmp_path):
    charts = PageReader(page).scripts["packed-charts"]
    broken = unpacked(charts)
    broken["specs"]["success-0-0"] = {"layer": 7, "datasets": []}
    path = tmp_path / "page.html"
    path.write_text(page.replace(charts, packed(broken)), "utf-8")
    with opened(browser, path) as shown:
        assert shown.locator("body").get_attribute("data-drawn") == "failed"
        assert "Charts that could not be drawn: success-0-0" in shown.locator("#problem").inner_text()
        assert len(every(shown, "[data-chart] svg.marks", "1")) == 24


def test_pickers_change_the_gallery(shown, frames, facts):
    figure = shown.locator("#pairs-0")
    images = "[...e.querySelectorAll('image')].map(i => i.getAttribute('href') ?? i.href.baseVal)"
    before = figure.evaluate(f"e => {images}")
    row = frames["pair_gallery"].row(-1, named=True)
    label, target = (picker(figure, name) for name in ("Label", "Target"))
    label.select_option(label=facts.class_name(row["label"]))
    target.select_option(label=facts.class_name(row["target"]))
    shown.wait_for_function("document.querySelectorAll('#pairs-0 image').length === 3")
    heading = (
        f"{facts.class_name(row['label'])} to {facts.class_name(row['target'])}, image {row['image_id']}"
    )
    assert heading in figure.locator("svg").text_content()
    assert not set(figure.evaluate(f"e => {images}")) <= set(before)
    target.select_option(label=facts.class_name(row["label"]))
    shown.wait_for_function("document.querySelectorAll('#pairs-0 image').length === 0")
    assert "No pair of this label and target is in the sample." in figure.locator("svg").text_content()


def test_a_method_is_picked_among_the_maps(shown):
    figure = shown.locator("#maps-0 .panel:not(.hidden)")
    columns = "[...new Set([...e.querySelectorAll('image')].map(i => i.getAttribute('transform')))].length"
    before = figure.evaluate(f"e => {columns}")
    picker(figure, "Method").select_option(index=1)
    shown.wait_for_timeout(300)
    assert 0 < figure.evaluate(f"e => {columns}") < before


def test_a_convention_is_shown_everywhere(shown):
    shown.locator("#overlap-0 .tabs button").nth(1).click()
    pressed = every(shown, ".tabs button[aria-pressed=true]", "e.dataset.show")
    assert len(pressed) > 3 and len(set(pressed)) == 1
    assert every(shown, "#curve-0 .panel:not(.hidden)", "e.dataset.convention") == pressed[:1]


def test_folds_open_and_carry_query_and_data(shown, frames, tmp_path):
    fold = shown.locator("#overlap-0 details.query")
    assert not fold.locator("pre").is_visible()
    fold.locator("summary").click()
    assert "from pair_ranks" in fold.locator("pre").inner_text()
    expected = frames["topk_overlap"].to_dicts()
    for form, read in (("csv", lambda text: list(csv.DictReader(text.splitlines()))), ("json", json.loads)):
        with shown.expect_download() as download:
            fold.locator(f"[data-download={form}]").click()
        assert download.value.suggested_filename == f"small-topk_overlap.{form}"
        rows = read(download.value.path().read_text("utf-8"))
        assert [float(row["overlap"]) for row in rows] == [row["overlap"] for row in expected]
        assert [row["method"] for row in rows] == [row["method"] for row in expected]


def test_tables_are_sorted_by_their_numbers(shown):
    table = shown.locator("#summary table")
    values = "e.dataset.value"
    cells = "#summary tbody tr:not(.reference) td:nth-last-of-type(1)"
    before = every(shown, cells, values)
    head = table.locator("thead button").last
    for order in ("ascending", "descending"):
        head.click()
        assert table.locator("thead th").last.get_attribute("aria-sort") == order
        found = [float(value) for value in every(shown, cells, values) if value is not None]
        assert found == sorted(found, reverse=order == "descending") and len(found) > 3
    head.click()
    assert every(shown, cells, values) == before


def test_theme_is_changed_by_hand(shown):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = shown.evaluate(ground)
    for name in ("light", "dark", "auto"):
        shown.locator("#theme").click()
        assert name in shown.locator("#theme").inner_text()
        assert (shown.evaluate(ground) == light) == (name != "dark")


def test_nothing_is_cut_on_paper(browser, path):
    with opened(browser, path, width=int(PAPER * PER_MM)) as page:
        page.emulate_media(media="print")
        boxes = every(
            page, "[data-chart]", "[e.dataset.chart, e.querySelector('svg').getBoundingClientRect().toJSON()]"
        )
        assert len(boxes) == 25
        for name, box in boxes:
            assert 0 < box["width"] <= PAPER * PER_MM + 1, name
            assert 0 < box["height"] <= 267 * PER_MM, name
        assert page.evaluate("document.documentElement.scrollWidth") <= PAPER * PER_MM + 1
        assert page.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"


def test_no_chart_is_cut_between_pages(browser, path):
    """Links at the upper and at the lower edge of each chart come to the same page of the PDF."""
    with opened(browser, path) as page:
        names = every(page, "[data-chart]", "e.dataset.chart")
        page.evaluate(LINKS)
        printed = page.pdf(prefer_css_page_size=True)
    objects = dict(re.findall(rb"(?s)\n(\d+) 0 obj\n(.*?)\nendobj", printed))
    pages = [text for text in objects.values() if re.search(rb"/Type\s*/Page\b", text)]
    found = defaultdict(set)
    for number, text in enumerate(pages):
        annotations = re.search(rb"/Annots\s*\[(.*?)\]", text)
        for reference in re.findall(rb"(\d+) 0 R", annotations[1] if annotations else b""):
            if link := re.search(rb"https://chart\.invalid/(upper|lower)/([\w-]+)", objects[reference]):
                found[link[2].decode()].add((link[1].decode(), number))
    assert set(found) == set(names) and len(pages) > 10
    for name, edges in found.items():
        assert sorted(edge for edge, _ in edges) == ["lower", "upper"], name
        assert len({number for _, number in edges}) == 1, name


def test_charts_follow_the_width_of_the_window(browser, path):
    with opened(browser, path) as page:
        size = page.locator("#curve-0 [data-chart]").first.evaluate("e => e.dataset.size")
        assert int(size.split(",")[0]) >= 4
        page.set_viewport_size({"width": 390, "height": 900})
        page.wait_for_function(
            "document.querySelector('#curve-0 [data-chart]').dataset.size.startsWith('1,')"
        )
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        figure, chart = (page.locator(f"#probability-0 {s}").first.bounding_box() for s in (".scroll", "svg"))
        assert figure and chart and chart["width"] <= figure["width"] + 1


def test_a_phone_need_not_scroll_sideways(browser, path):
    with opened(browser, path, width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(browser, path, width, scheme):
    with opened(browser, path, width, color_scheme=scheme) as page:
        for summary in page.locator("details > summary").all():
            summary.click()
        found = Axe().run(page).response["violations"]
        serious = {rule["id"]: rule["nodes"] for rule in found if rule["impact"] in ("serious", "critical")}
        told = {
            name: [(n["target"], n["failureSummary"]) for n in nodes[:3]] for name, nodes in serious.items()
        }
        assert told == {}


def test_names_are_text(browser, frames, facts, tmp_path):
    name = "<script>alert(1)</script>"
    classes = (name, "</script><script>alert(2)</script>", *facts.class_names[2:])
    hostile = facts.__class__(name, f"./{name}", f"{name}&amp;", classes, {name: name})
    path = tmp_path / "page.html"
    path.write_text(render_page(frames, hostile), "utf-8")
    with opened(browser, path) as page:
        assert page.locator("h1").inner_text() == f"{name}&amp;"
        assert name in (page.locator("#success-0 svg").text_content() or "")


@pytest.mark.parametrize("kind", ["one image, one method", "no success", "all maps flagged"])
def test_poor_studies_have_an_honest_page(browser, facts, kind, tmp_path):
    study = make_study(images=1, methods=("lrp-0",), published=False)
    if kind == "no success":
        study.success[:] = False
    if kind == "all maps flagged":
        for originals, adversarials in study.maps.values():
            originals[:], adversarials[:] = float("nan"), float("nan")
    path = tmp_path / "page.html"
    path.write_text(render_page(results(study), facts), "utf-8")
    with opened(browser, path) as page:
        assert page.locator("body").get_attribute("data-drawn") == "true"
        said = page.locator("main").inner_text()
        assert "NaN" not in said and "undefined" not in said
        texts = every(page, "[data-chart] svg text", "e.textContent")
        assert not {"NaN", "null", "undefined"} & set(texts)
