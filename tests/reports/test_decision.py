"""The section that holds maps against controls: its numbers are those of the result, its words follow "
"them."""

import polars as pl
import pytest

from reports.names import method_name, verdict_name
from reports.page import render_page
from reports.sections.controls import jump_sentence, sanity_sentence
from reports.sections.decision import BAND, LIMITS, answer
from tests.reports.page_reader import PageReader
from tests.reports.small_study import METHODS, make_study, results


@pytest.fixture(scope="module")
def controlled():
    return results(make_study(), controls=True)


def wrapped(values):
    return {name: pl.lit(value) for name, value in values.items()}


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


def test_what_the_score_cannot_tell_stands_outside_captions(read):
    assert LIMITS in read.text
    assert not any("cannot tell" in figure.text for figure in read.figures.values())


@pytest.mark.parametrize(
    ("changes", "said", "caveat"),
    [
        ({"successes": 0}, "No pair of this attack succeeded", False),
        ({"targeted": False}, "controls are made of attacks that aim at one", True),
        ({}, "The study has no controls of this attack.", True),
    ],
)
def test_why_an_attack_is_not_held_against_controls(frames, facts, changes, said, caveat):
    changed = {"attack_overview": frames["attack_overview"].with_columns(**wrapped(changes))}
    if changes.get("successes") == 0:
        of_pairs = ("topk_overlap", "decision_sensitivity")
        changed |= {name: frames[name].clear() for name in of_pairs}
    page = PageReader(render_page(frames | changed, facts))
    assert said in page.figures["decision-0"].text
    assert ("not yet a verdict" in page.text) == caveat
    assert LIMITS not in page.text


def test_controls_without_noise_say_that_there_is_no_score(controlled, facts):
    rows = controlled["decision_sensitivity"]
    other = rows.with_columns(
        comparison=pl.col("comparison").replace("noise", "reverse"),
        noise_pairs=pl.lit(0),
        verdict=pl.lit(None, pl.String),
    )
    page = PageReader(render_page(controlled | {"decision_sensitivity": other}, facts))
    assert "there is no score" in page.figures["scores-0"].text
    assert "not yet a verdict" in page.text and "decision-0" not in page.figures


def way(verdicts):
    """Rows of path_jump, one a method: its verdict, and how many times the turn is the rest."""
    return pl.DataFrame(
        {
            "method": list(verdicts),
            "band": BAND,
            "verdict": [verdict for verdict, _ in verdicts.values()],
            "turn": [2.0 * times for _, times in verdicts.values()],
            "rest": 2.0,
        }
    )


def test_the_way_is_told_by_how_much_maps_jump():
    some = way(
        {"lrp-0": ("jumps", 6.5), "gradient": ("jumps", 2.0), "random": ("even", 1.0), "a": ("ties", 9)}
    )
    assert jump_sentence(some) == (
        "On the straight way to the adversarial example, the maps of 2 of 3 methods change more where "
        "the class turns than elsewhere, 2.0 to 6.5 times as much; not so for Random map."
    )
    one = jump_sentence(way({"random": ("even", 1.0)}))
    assert "the maps of the one method do not change more" in one and one.endswith("not so for Random map.")
    assert jump_sentence(way({"a": ("ties", 2.0)})) == ""


def test_what_networks_forget_is_told_by_verdict():
    methods = {"lrp-0": "depends on the weights", "gradient": "keeps its map", "lrp-epsilon-1": None}
    rows = pl.DataFrame({"method": list(methods), "verdict": list(methods.values())})
    text = sanity_sentence(rows)
    assert "next to nothing by 1 method (canonical LRP-0)" in text
    assert "more than half by 1 method (Gradient)" in text and "a part by" not in text
    assert "(" not in sanity_sentence(rows, 0)
    assert sanity_sentence(rows.clear()) == ""


def test_summary_tells_the_verdict(read, rows):
    verdicts = [line[-1][0] for line in read.figures["summary"].rows[1:]]
    expected = rows.filter(comparison="adversarial")["verdict"].to_list()
    assert (
        sorted(verdicts) == sorted(map(verdict_name, expected))
        and read.figures["summary"].rows[0][-1][0] == "verdict"
    )


def test_table_is_the_result(read, rows):
    table = read.figures["decision-0"].rows
    for method in METHODS:
        row = rows.filter(method=f"published-{method}", comparison="adversarial").row(0, named=True)
        named = [line for line in table if line[0][0] == method_name(method)]
        [shown] = [line for line in named if any(value == row["stability"] for _, value in line)]
        values = [value for _, value in shown]
        for column in ("chance", "stability", "overlap", "difference", "p_holm", "score"):
            assert row[column] in values, (method, column)
        assert shown[10][0] == verdict_name(row["verdict"])


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
        ("no test", "the images are too few to tell"),
        ("no difference", "no difference can be told"),
    ],
)
def test_the_answer_follows_the_verdicts(rows, verdict, said):
    changed = rows.with_columns(verdict=pl.when(pl.col("comparison") == "adversarial").then(pl.lit(verdict)))
    text = answer(changed)
    assert text.startswith("Held against noise") and "the maps of 0 of" in text
    assert said in text.lower() or said in text


def test_a_score_with_ties_is_marked(controlled, facts):
    tied = (pl.col("method") == METHODS[0]) & (pl.col("comparison") == "adversarial")
    changed = controlled["decision_sensitivity"].with_columns(
        verdict=pl.when(tied).then(pl.lit("ties")).otherwise("verdict")
    )
    page = PageReader(render_page(controlled | {"decision_sensitivity": changed}, facts))
    drawn = [row for data in page.specs["scores-0-0"]["datasets"].values() for row in data if "score" in row]
    marked = {row["method"] for row in drawn if "\N{DAGGER}" in row["method"]}
    assert marked == {f"{method_name(METHODS[0])} \N{DAGGER}"}
    assert "\N{DAGGER}: ties at the edge" in page.figures["scores-0"].text


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
