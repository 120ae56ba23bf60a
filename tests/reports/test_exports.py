"""Charts and tables as files, and several studies on one page."""

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from PIL import Image

from reports.exports import export, export_count
from reports.names import band_name
from reports.page import ReportError, page_content, render_page, side_by_side
from reports.parts import Figure, Group, Panel, Section
from reports.table import Cell, Row, Table
from tests.reports.page_reader import PageReader
from tests.reports.small_study import make_study, results


@pytest.fixture(scope="module")
def files(frames, facts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("charts")
    content = page_content(side_by_side([(frames, facts)]))
    written = list(export(content, folder))
    assert len(written) == export_count(content)
    assert sorted(path for paths in written for path in paths) == sorted(folder.iterdir())
    return folder


def test_every_chart_is_a_vector_and_a_raster_image(files, page):
    charts = PageReader(page).specs
    assert {path.stem for path in files.glob("*.svg")} == set(charts) == {p.stem for p in files.glob("*.png")}
    for name in charts:
        drawing = ET.parse(files / f"{name}.svg").getroot()
        with Image.open(files / f"{name}.png") as image:
            assert image.width == pytest.approx(2 * float(drawing.get("width", 0)), abs=2), name
            assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 2, name


def test_a_table_is_its_exact_numbers(files, frames):
    with (files / "summary-0.csv").open(encoding="utf-8", newline="") as file:
        heading, *lines = list(csv.reader(file))
    assert heading[:2] == ["convention", "method"] and all(len(line) == len(heading) for line in lines)
    own = {repr(value) for value in frames["topk_overlap"]["overlap"]}
    assert len({text for line in lines for text in line} & own) > 8


def test_a_head_that_spans_rows_stands_in_each(tmp_path):
    rows = [Row((("a", 2), ("x", 1)), (Cell("1.5 %", 0.015),)), Row((("a", 0), ("y", 1)), (Cell("-"),))]
    figure = Figure("f", "F", "", "", [Panel(table=Table(("one", "two", "three"), rows))])
    [[path]] = export([Section("s", "S", (), [Group("", [figure])])], tmp_path / "new" / "folder")
    assert list(csv.reader(io.StringIO(path.read_text("utf-8")))) == [
        ["one", "two", "three"], ["a", "x", "0.015"], ["a", "y", "-"],
    ]  # fmt: skip


def test_studies_stand_side_by_side(frames, facts):
    other = results(make_study(seed=3, images=3, published=False), "other")
    page = PageReader(render_page(frames, facts, others=[(other, replace(facts, name="other"))]))
    assert set(page.results) == {"small", "other"}
    for name, own in (("small", frames), ("other", other)):
        carried = page.results[name]["topk_overlap"]["columns"]["overlap"]
        assert carried == own["topk_overlap"]["overlap"].to_list()
    heads = [text for text, value in page.figures["summary"].rows[0]]
    assert [head for head in heads if "top\N{NO-BREAK SPACE}10" in head] == [
        *(f"lbfgs ({name}), {band_name('10 %')}" for name in ("small", "other"))
    ]  # fmt: skip
    ids = {"overlap-0", "overlap-1", "scope", "scope-1", "diagnostics-1", "maps-1"}
    assert ids <= set(page.figures)
    assert "where study = 'other'" in page.figures["overlap-1"].text
    assert "where study = 'small'" not in page.figures["overlap-1"].text
    first, second = (page.figures["summary"].text.count(f"where study = '{n}'") for n in ("small", "other"))
    assert (first, second) == (1, 1)
    mean = other["attack_overview"]["median_l2"][0]
    values = [value for row in page.figures["attack-overview"].rows for _, value in row]
    assert mean in values and frames["attack_overview"]["median_l2"][0] in values


def test_the_same_study_of_two_lakes_is_told_apart(frames, facts):
    there = replace(facts, lake="./there")
    page = PageReader(render_page(frames, facts, others=[(frames, there)]))
    assert set(page.results) == {"small in ./lake", "small in ./there"}
    with pytest.raises(ReportError, match="compared with itself"):
        render_page(frames, facts, others=[(frames, facts)])
    with pytest.raises(ReportError, match=r"no result of rank_shift: .*--lake \./there"):
        render_page(frames, facts, others=[({k: v for k, v in frames.items() if k != "rank_shift"}, there)])


def test_a_study_without_an_attack_stands_beside_one(frames, facts):
    none = {name: frame.clear() for name, frame in frames.items()}
    page = PageReader(render_page(frames, facts, others=[(none, replace(facts, name="none"))]))
    assert "overlap-0" in page.figures and "overlap-1" not in page.figures
