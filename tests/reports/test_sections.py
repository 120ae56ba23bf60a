"""Figures that show a result as it is: their numbers are those of the result, their sentences follow it."""

import numpy as np
import polars as pl
import pytest

from reports.charts.agreement import LINE, SLOPES, apart, example_ranks
from reports.names import decimal, epsilon, method_name, signed
from reports.page import render_page
from reports.published import published_figures
from reports.results import CURVE_POINTS, StudyFacts
from reports.sentences import matrix
from reports.table import beside
from tests.reports.page_reader import PageReader
from tests.reports.small_study import make_study, results


@pytest.fixture(scope="module")
def read(page):
    return PageReader(page)


def drawn(read, name):
    """Rows of a chart's data, all of its data sets together."""
    return [row for rows in read.specs[name]["datasets"].values() for row in rows]


def numbers(figure):
    return [[value for _, value in row if value is not None] for row in figure.rows]


def published(frame):
    return frame.filter(pl.col("method").str.starts_with("published-"))


def test_curve_is_the_result_at_some_k(read, frames):
    curve = published(frames["overlap_curve"])
    rows = curve.select("method", "k", "overlap", "chance").rows()
    expected = {(method_name(m), k): (o, c) for m, k, o, c in rows}
    shown = {(row["method"], row["k"]): (row["overlap"], row["chance"]) for row in drawn(read, "curve-0-0")}
    assert shown.items() <= expected.items()
    ks = {k for _, k in shown}
    assert {1, 2, 3, curve["k"].max()} <= ks and 20 < len(ks) <= CURVE_POINTS
    assert {method for method, _ in shown} == {method for method, _ in expected}


def test_overlap_by_class_is_the_result_of_the_top_tenth(read, frames, facts):
    rows = published(frames["overlap_by_class"]).filter(original_band="10 %", adversarial_band="10 %")
    expected = {
        (method_name(r["method"]), facts.class_name(r["label"]), facts.class_name(r["target"])): r["overlap"]
        for r in rows.iter_rows(named=True)
    }
    cells = drawn(read, "overlap-by-class-0-0")
    shown = {(r["method"], r["label_name"], r["target_name"]): r["overlap"] for r in cells}
    assert shown == expected
    means = rows.group_by("label", "target").agg(pl.len())
    assert means.height > 1 and "maps agree least from" in read.figures["overlap-by-class-0"].text


def test_correlation_is_the_result(read, frames):
    rows = published(frames["map_correlation"])
    spearman = rows.filter(measure="spearman").select("method", "level", "value")
    expected = {(method_name(m), level): v for m, level, v in spearman.rows()}
    found = [row for row in drawn(read, "correlation-0-0") if row["measure"].startswith("Spearman")]
    assert {row["method"] for row in found} == {method for method, _ in expected}
    for row in found:
        for column, level in (("q05", 0.05), ("q25", 0.25), ("q50", 0.5), ("q75", 0.75), ("q95", 0.95)):
            assert row[column] == expected[row["method"], level]


def test_probability_stands_beside_the_printed(read, frames):
    shown = {(row["figure"], row["level"]): row["value"] for row in drawn(read, "probability-0-0")}
    mine = dict(frames["target_probability_quantiles"].select("level", "value").rows())
    assert {level: value for (what, level), value in shown.items() if what == "this study"} == mine
    printed = {level: value for (what, level), value in shown.items() if what == "printed"}
    assert printed == {0.001: 0.2662, 0.005: 0.5482, 0.01: 0.9337}
    assert f"at most {mine[0.5]:.3f}" in read.figures["probability-0"].text


def test_low_probability_counts_are_the_result(read, frames):
    rows = frames["low_probability_examples"]
    shown = drawn(read, "low-probability-0-0")
    assert sorted(row["share"] for row in shown) == sorted(rows["share"].to_list())
    mine = rows.filter(threshold_of="study")
    text = read.figures["low-probability-0"].text
    below = mine["threshold"][0]
    assert f"below {below:.4f}, quantile 0.005 of this study, for {mine['examples'].sum()} of" in text
    assert f" of {mine['successes'].sum()} successes" in text


def test_change_is_the_median_of_each_class_pair(read, frames, facts):
    rows = frames["attack_summary"].filter(pl.col("successes") > 0)
    expected = {
        (facts.class_name(r["label"]), facts.class_name(r["target"])): pytest.approx(r["median_l2"])
        for r in rows.iter_rows(named=True)
    }
    assert {
        (r["label_name"], r["target_name"]): r["median_l2"] for r in drawn(read, "change-0-0")
    } == expected


def test_sizes_are_the_quantiles_of_the_change(read, frames):
    names = {"l2": "L2", "linf": "L\u221e", "l1": "L1"}
    rows = frames["change_quantiles"].select("norm", "level", "value").rows()
    expected = {(names[norm], level): value for norm, level, value in rows}
    shown = {(r["norm"].partition(",")[0], r["level"]): r["value"] for r in drawn(read, "sizes-0-0")}
    assert shown == expected and len(expected) > 40
    assert f"the largest is {decimal(expected['L2', 1.0], 3)}" in read.figures["sizes-0"].text


def test_tables_3_and_4_stand_side_by_side(read, frames):
    change = frames["relevance_quantile_change"].filter(subject="lbfgs")
    for method in change["method"].unique():
        mine = change.filter(method=method).sort("level")
        at = numbers(read.figures["quantile-quantile-0"]).index(mine["original_value"].to_list())
        found = numbers(read.figures["quantile-quantile-0"])[at + 1 : at + 3]
        assert found == [mine["value"].to_list(), mine["change"].to_list()]


def test_rank_shift_is_told_as_a_share_of_all_components_too(read, frames):
    rows = drawn(read, "shift-0-0")
    n = 12 * 12 * 3
    assert all(row["low_share"] == pytest.approx(row["bin_low"] / n) for row in rows)
    ticks = {
        chart["spec"]["encoding"]["x"]["axis"]["labelExpr"] for chart in read.specs["shift-0-0"]["hconcat"]
    }
    assert all(f"datum.value / {n}," in tick for tick in ticks)


def test_what_was_printed_stands_beside_with_the_difference(read, frames):
    row = frames["attack_overview"].row(0, named=True)
    gap = signed(100 * (row["success_rate"] - 0.9661), 2)
    assert f"{gap} to printed" in read.figures["attack-overview"].text
    moments = frames["relevance_moments"].filter(method="published-lrp-alpha1-beta0")
    for subject, printed in (("original", 0.1013), ("lbfgs", 0.0930)):
        std = moments.filter(subject=subject, explains="label" if subject == "original" else "target")[
            "std"
        ].item()
        assert f"printed {printed:.4f}\n{signed(std - printed)}" in read.figures["moments-0"].text
    shift = frames["rank_shift_quantiles"].filter(
        method="published-lrp-alpha1-beta0", original_band="10 %", adversarial_band="10 %", level=0.5
    )
    beside = f"printed 51.0\n{signed(shift['abs_shift'].item() - 51, 1)}"
    assert beside in read.figures["shift-quantiles-0"].text
    assert f"printed 0.00\n{signed(shift['mean_shift'].item(), 2)}" in read.figures["shift-quantiles-0"].text
    assert "The paper's classifier took 8,902 of 10,000 test images" in read.figures["scope"].text


@pytest.mark.parametrize(
    ("value", "css"), [(0.5, ""), (0.504, ""), (0.506, "gap1"), (0.47, "gap2"), (0.56, "gap3"), (None, "")]
)
def test_differences_are_coloured_by_size(value, css):
    cell = beside(value, 0.5, decimal, signed)
    assert cell.css == css and cell.remark.startswith("printed 0.5000")
    assert beside(value, None, decimal, signed).remark == ""
    large = beside(None if value is None else 100 * value, 50.0, decimal, signed, unit=100.0)
    assert large.css == css


@pytest.mark.parametrize(
    ("successes", "said"),
    [
        ((4, 4), "Every attacked pair succeeded, in 2 class pairs."),
        ((0, 0), "No attacked pair succeeded, in 2 class pairs."),
        ((4, 3), "In 1 of 2 class pairs all succeeded; the lowest rate is 75.0 % (plane to bird, 3 of 4)."),
        (
            (1, 3),
            "The success rates of 2 class pairs lie between 25.0 % (plane to car, 1 of 4) and 75.0 % "
            "(plane to bird, 3 of 4).",
        ),
    ],
)
def test_success_by_class_pair_is_told_by_its_ends(facts, successes, said):
    rows = pl.DataFrame({"targeted": True, "label": 0, "target": [1, 2], "pairs": 4, "successes": successes})
    rows = rows.with_columns(success_rate=pl.col("successes") / pl.col("pairs"))
    assert matrix(rows, facts).replace("\N{NO-BREAK SPACE}", " ") == said


def test_runner_up_tails_zero_and_diagnostics_are_the_results(read, frames):
    row = frames["runner_up_classes"].row(0, named=True)
    assert numbers(read.figures["runner-up-0"])[1:] == [
        [row["second_is_label"], row["third_is_label"]],
        [row["mean_second_share"], row["mean_third_share"]],
        [row["median_second_share"], row["median_third_share"]],
    ]
    for method in frames["relevance_tails"]["method"].unique():
        tails = frames["relevance_tails"].filter(subject="lbfgs", method=method).sort("sign", "level")
        values = {(sign, level): v for sign, level, v in tails.select("sign", "level", "value").rows()}
        keys = (("negative", 0.01), ("negative", 0.5), ("positive", 0.5), ("positive", 0.99))
        assert [values[key] for key in keys if key in values] in numbers(read.figures["tails-0"])
    zero = frames["relevance_near_zero"].filter(subject="lbfgs").row(0, named=True)
    columns = ("methods", "share_zero", "share_near_zero", "positive_near_zero", "negative_near_zero")
    assert [zero[c] for c in columns] in numbers(read.figures["near-zero-0"])
    assert published_figures().near_zero("adversarial", "share_zero") == 0.0036
    points = signed(100 * (zero["share_zero"] - 0.0036), 2)
    assert f"printed 0.36\N{NO-BREAK SPACE}%\n{points}" in read.figures["near-zero-0"].text
    first = frames["map_diagnostics"].filter(method="lrp-0", subject="lbfgs").row(0, named=True)
    values = [first[c] for c in ("maps", "non_finite_maps", "zero_maps", "negative_starts", "sum_share")]
    assert any(row[:5] == values for row in numbers(read.figures["diagnostics"]))


def test_spread_follows_epsilon_and_quantiles_stand_against_each_other(read, frames):
    moments = published(frames["relevance_moments"])
    expected = {
        (f"{at:g}", r["subject"] == "original"): r["std"]
        for r in moments.iter_rows(named=True)
        if (at := epsilon(r["method"])) is not None
    }
    assert {
        (r["at"], r["map of"] == "original"): r["std"] for r in drawn(read, "std-by-epsilon-0-0")
    } == expected
    assert {at for at, _ in expected} == {"0", "0.01", "1"}
    change = published(frames["relevance_quantile_change"])
    shown = drawn(read, "quantile-quantile-0-0")
    points = {(r["method"], r["level"]): (r["original_value"], r["value"]) for r in shown}
    assert points == {
        (method_name(m), level): (o, v)
        for m, level, o, v in change.select("method", "level", "original_value", "value").rows()
    }


def test_example_follows_the_best_components():
    rng = np.random.default_rng(4)
    original, adversarial = rng.permutation(48).astype(float), rng.permutation(48).astype(float)
    ranks = example_ranks(original, adversarial, width=4, channels=3, top=5)
    for row in ranks.iter_rows(named=True):
        [component] = np.flatnonzero(original == 48 - row["original"])
        assert adversarial[component] == 48 - row["adversarial"]
        y, x, channel = np.unravel_index(component, (4, 4, 3))
        assert row["component"] == f"row {y}, column {x}, {('red', 'green', 'blue')[channel]}"
    assert ranks["original"].to_list() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("places", [[1, 2, 3], [3000, 3001, 3002, 3072], [5, 5000], list(range(3061, 3073))])
def test_numbers_of_the_example_do_not_cover_each_other(places):
    last = 3072
    heights = SLOPES * np.log(apart(pl.Series([min(p, last) for p in places]), last)) / np.log(last)
    assert (np.diff(heights) >= LINE - 1e-6).all()
    assert heights.min() >= -1e-6 and heights.max() <= SLOPES + 1e-6


def test_study_can_be_cited(frames, facts):
    page = PageReader(render_page(frames, StudyFacts("a_b", "./lake", "100% {odd} _title_"), queries={}))
    cite = page.figures["cite"].text
    assert "doi     = {10.1007/s11063-023-11166-8}" in cite
    assert "@misc{a-b," in cite and r"title = {100\% odd \_title\_}" in cite
    assert cite.count("{") == cite.count("}")


def test_without_success_every_figure_says_what_is_missing(facts):
    study = make_study(images=2, methods=("lrp-0",), published=False)
    study.success[:] = False
    page = PageReader(render_page(results(study), facts, queries={}))
    for name in ("probability-0", "low-probability-0", "runner-up-0", "change-0"):
        assert "No pair succeeded" in page.figures[name].text, name
    for name in ("curve-0", "overlap-by-class-0", "correlation-0"):
        assert "No pair has two maps to compare." in page.figures[name].text, name
    assert "std-by-epsilon-0" not in page.figures and "rank-shift-example" not in page.figures
