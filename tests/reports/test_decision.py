"""The section that holds maps against controls: its numbers are those of the result, its words follow "
"them."""

import polars as pl
import pytest

from reports.names import method_name
from reports.page import render_page
from reports.sections.decision import BAND, answer
from tests.reports.page_reader import PageReader
from tests.reports.small_study import METHODS, make_study, results


@pytest.fixture(scope="module")
def controlled():
    return results(make_study(), controls=True)


@pytest.fixture(scope="module")
def read(controlled, facts):
    return PageReader(render_page(controlled, facts))


@pytest.fixture(scope="module")
def rows(controlled):
    return controlled["decision_sensitivity"].filter(band=BAND)


def test_in_short_gives_the_answer_instead_of_a_caveat(read, rows):
    assert "not yet a verdict" not in read.text
    assert answer(rows) in read.text
    more = rows.filter(comparison="adversarial", verdict="changes more")
    assert f"the maps of {more.height} of {2 * len(METHODS)} methods change more" in answer(rows)


def test_summary_tells_the_verdict(read, rows):
    verdicts = [line[-1][0] for line in read.figures["summary"].rows[1:]]
    expected = rows.filter(comparison="adversarial")["verdict"].to_list()
    assert sorted(verdicts) == sorted(expected) and read.figures["summary"].rows[0][-1][0] == "verdict"


def test_table_is_the_result(read, rows):
    table = read.figures["decision-0"].rows
    for method in METHODS:
        row = rows.filter(method=f"published-{method}", comparison="adversarial").row(0, named=True)
        named = [line for line in table if line[0][0] == method_name(method)]
        [shown] = [line for line in named if any(value == row["stability"] for _, value in line)]
        values = [value for _, value in shown]
        for column in ("chance", "stability", "overlap", "difference", "p_holm", "score"):
            assert row[column] in values, (method, column)
        assert shown[11][0] == row["verdict"]


def test_charts_draw_the_result(read, rows):
    drawn = [row for data in read.specs["scores-0-0"]["datasets"].values() for row in data if "score" in row]
    known = rows.filter(comparison="adversarial").drop_nulls("score")
    assert sorted(row["score"] for row in drawn) == sorted(known["score"])
    ladder = [row for data in read.specs["ladder-0-0"]["datasets"].values() for row in data]
    assert {row["comparison"] for row in ladder} >= {
        "noise, same question",
        "adversarial image and its question",
    }
    assert "path-0" not in read.figures


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("unstable", "noise alone leaves no more than chance, so nothing can be said"),
        ("ties", "ties at the edge allow no verdict"),
        ("changes less", "it changes less"),
        ("no difference", "no difference can be told"),
    ],
)
def test_the_answer_follows_the_verdicts(rows, verdict, said):
    changed = rows.with_columns(verdict=pl.when(pl.col("comparison") == "adversarial").then(pl.lit(verdict)))
    text = answer(changed)
    assert text.startswith("Held against noise") and "the maps of 0 of" in text
    assert said in text.lower() or said in text


def test_an_unstable_method_is_named(controlled, facts):
    lost = pl.col("method") == f"published-{METHODS[0]}"
    is_main = pl.col("comparison") == "adversarial"
    changed = controlled["decision_sensitivity"].with_columns(
        score=pl.when(~lost).then("score"),
        verdict=pl.when(lost & is_main).then(pl.lit("unstable")).otherwise("verdict"),
    )
    page = PageReader(render_page(controlled | {"decision_sensitivity": changed}, facts))
    named = f"no more in common than chance: published {method_name(METHODS[0])}."
    assert named in page.figures["scores-0"].text
