"""The page as a whole: well formed, offline, complete, and its numbers those of the results."""

import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest

from reports.bundle import vega_bundle
from reports.names import BAND_PAIRS, band_name, method_name
from reports.page import ReportError, load_results, render_page, sql_texts, write_report
from reports.published import PublishedFigures, published_figures
from reports.results import COLUMNS, check_results
from sql.package import published_figures as published_csv
from tests.reports.page_reader import PageReader
from tests.reports.small_study import CLASSES, LEVELS, make_study, results


@pytest.fixture(scope="module")
def read(page):
    return PageReader(page)


def values(figure):
    return [[value for _, value in row if value is not None] for row in figure.rows]


def row_of(figure, *heads):
    """The row whose first cells have these texts, heads that span rows filled in."""
    above: list[str] = []
    for row in figure.rows[1:]:
        texts = [text for text, value in row if value is None]
        above = texts if len(texts) >= len(heads) else above[: len(heads) - len(texts)] + texts
        if above[: len(heads)] == list(heads):
            return row
    raise AssertionError(f"no row {heads}")


def test_page_loads_nothing(read, page):
    loaded = [(tag, address) for tag, address in read.addresses if not address.startswith("#")]
    assert loaded == []
    assert "default-src 'none'" in page
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    images = re.findall(r'"url": "([^"]{0,30})', json.dumps(read.specs))
    assert images and all(image.startswith("data:image/png;base64,") for image in images)


def test_links_lead_to_anchors_and_ids_are_unique(read):
    assert len(read.ids) == len(set(read.ids))
    assert {address[1:] for _, address in read.addresses} <= set(read.ids)
    assert {"in-short", "study", "attacks", "maps", "distributions", "ranking"} <= set(read.ids)


def test_every_chart_has_its_place(read):
    assert {f"chart-{name}" for name in read.specs} == {i for i in read.ids if i.startswith("chart-")}
    assert len(read.specs) == 25


def test_every_figure_names_and_shows_its_query(read):
    sql = sql_texts()
    for name, figure in read.figures.items():
        analysis = re.search(r"Query: (\w+)", figure.text)
        assert analysis or name in ("glossary", "cite"), name
        if not analysis:
            continue
        assert sql[analysis[1]].splitlines()[-1] in figure.text
    shown = {found[1] for f in read.figures.values() if (found := re.search(r"Query: (\w+)", f.text))}
    absent = {"attack_failures", "path_jump", "map_similarity", "sanity_checks"}  # no failure, no control
    assert shown == set(COLUMNS) - absent


def test_the_page_carries_the_results_it_shows(read, frames):
    shown = check_results(frames, "small", "./lake")
    named = {figure.text.partition("Query: ")[2].split("\n")[0] for figure in read.figures.values()} - {""}
    assert set(read.results["small"]) == named and len(named) > 15
    for name, carried in read.results["small"].items():
        frame = shown[name]
        assert carried["rows"] == frame.height
        assert set(carried["columns"]) | set(carried["left_out"]) == set(frame.columns)
        for column, carried_values in carried["columns"].items():
            of_type = float if frame[column].dtype.is_float() else lambda value: value
            found = [None if value is None else of_type(value) for value in carried_values]
            assert pl.Series(column, found, frame[column].dtype).equals(frame[column]), name


def test_every_number_of_a_table_is_of_the_result_it_names(read, frames):
    """Or is printed in the paper, or the difference of both."""
    shown = check_results(frames, "small", "./lake")
    paper = pl.read_csv(io.StringIO(published_csv()), infer_schema_length=None)
    printed = {float(value) for value in (*paper["value"], *paper["likely"].drop_nulls())}
    tables = 0
    for name, figure in read.figures.items():
        found = [value for row in values(figure) for value in row]
        analysis = figure.text.partition("Query: ")[2].split("\n")[0]
        if not found or not analysis:
            continue
        tables += 1
        numbers = [column for column in shown[analysis].iter_columns() if column.dtype.is_numeric()]
        own = {value for column in numbers for value in column.drop_nulls()}
        if "chance" in shown[analysis].columns:  # "times chance"
            own |= set(shown[analysis]["overlap"] / shown[analysis]["chance"])
        differences = {round(value - p, 12) for p in printed for value in own}
        strange = [v for v in found if v not in own | printed and round(v, 12) not in differences]
        assert strange == [], name
    assert tables > 6


@pytest.fixture(scope="module")
def controlled():
    return results(make_study(), controls=True)


def test_every_number_of_a_chart_is_of_the_result_it_names(controlled, facts):
    """Or is printed in the paper; numbers that have the names of columns stand in one row of the result."""
    read, shown = PageReader(render_page(controlled, facts)), check_results(controlled, "small", "./lake")
    paper = pl.read_csv(io.StringIO(published_csv()), infer_schema_length=None)
    printed = {float(value) for value in paper["value"]}
    made = {
        "histogram": {"relevance"},  # middles of bins
        "rank-shift-example": {"place", "beside"},
        "scores": {"method"},  # names that tell the conventions apart
        "maps": {"method"},  # ids, for the picker
        "low-probability": {"threshold"},  # in words
    }
    for name, spec in read.specs.items():
        figure = name.rpartition("-")[0]
        result = shown[read.figures[figure].text.partition("Query: ")[2].split("\n")[0]]
        if "method" in result.columns:
            result = result.with_columns(pl.col("method").map_elements(method_name, return_dtype=pl.String))
        numeric = [column for column, dtype in result.schema.items() if dtype.is_numeric()]
        own = {value for column in numeric for value in result[column].drop_nulls()} | printed
        skipped = next((columns for start, columns in made.items() if name.startswith(start)), set())
        for rows in spec["datasets"].values():
            common = [c for c in rows[0] if c in (*numeric, "method") and c not in skipped]
            known = set(result.select(common).iter_rows())
            for row in rows:
                numbers = {v for k, v in row.items() if isinstance(v, int | float) and k not in skipped}
                assert numbers <= own, (name, row)
                if row.get("comparison") == "chance":  # a rung of its own: of the comparisons beside it
                    assert (row["method"], row["overlap"]) in set(result["method", "chance"].iter_rows())
                    continue
                one = tuple(row[column] for column in common)
                assert not common or one in known or row.get("figure") == "printed", (name, row)


def test_query_texts_bring_the_views_they_read():
    text = sql_texts()["topk_overlap"]
    assert text.index("-- view map_pairs") < text.index("-- view pair_ranks") < text.index("-- topk_overlap")


def test_quantiles_equal_the_result_and_stand_beside_the_printed(read, frames):
    for name, subject, printed_as in (
        ("adversarial", "lbfgs", "adversarial"),
        ("original", "original", "original"),
    ):
        figure = read.figures[f"quantiles-{name}-0"]
        rows = frames["relevance_quantiles"].filter(subject=subject)
        for method in rows["method"].unique():
            mine = rows.filter(method=method).sort("level")["value"].to_list()
            assert mine in values(figure)
        mine = rows.filter(method="published-lrp-epsilon-1").sort("level")["value"].to_list()
        at = values(figure).index(mine)
        printed = [published_figures().quantile("published-lrp-epsilon-1", printed_as, x) for x in LEVELS]
        assert values(figure)[at + 1] == printed
        assert values(figure)[at + 2] == [a - b for a, b in zip(mine, printed, strict=True)]  # type: ignore[operator]
        assert [t for t, _ in figure.rows[at]][-1] == f"{mine[-1]:.4f}"


def test_canonical_methods_have_nothing_printed_beside(read, frames):
    figure = read.figures["quantiles-adversarial-0"]
    methods = frames["relevance_quantiles"]["method"].unique().to_list()
    assert sum(row[0][0] == "printed" for row in figure.rows) == sum(
        m.startswith("published-") for m in methods
    )


def test_overlap_equals_the_result(read, frames):
    figure, overlap = read.figures["overlap-table-0"], frames["topk_overlap"]
    for method in overlap["method"].unique():
        rows = overlap.filter(method=method)
        pairs = [rows.row(by_predicate=_bands(*pair), named=True) for pair in BAND_PAIRS]
        assert [r["overlap"] for r in pairs] + [pairs[0]["identical"]] in values(figure)
    assert [r["chance"] for r in pairs] in values(figure)
    alpha1 = ("published-lrp-alpha1-beta0", "10 %", "10 %")
    assert published_figures().overlap(*alpha1) == 0.6412
    assert any(0.6412 in row for row in values(figure))


def test_summary_tells_times_chance(read, frames):
    row = frames["topk_overlap"].row(
        by_predicate=_bands("10 %", "10 %") & (pl.col("method") == "lrp-epsilon-1"), named=True
    )
    shown = [
        value
        for _, value in row_of(read.figures["summary"], "Canonical convention", method_name("lrp-epsilon-1"))
    ]
    assert shown[-3:] == [row["overlap"], row["chance"], row["overlap"] / row["chance"]]


def test_moments_and_counts_equal_the_result(read, frames):
    figure = read.figures["moments-0"]
    counts = ["maps", "zero_maps", "non_finite_maps"]
    columns = [
        *counts,
        "mean",
        "std",
        "share_zero",
        "share_near_zero",
        "share_negative",
        "minimum",
        "maximum",
    ]
    for row in frames["relevance_moments"].select(columns).rows():
        assert [float(value) for value in row] in values(figure)
    left_out = frames["relevance_moments"].select(pl.sum("zero_maps", "non_finite_maps")).row(0)
    assert left_out[0] > 0 and left_out[1] > 0
    assert f"Left out: {left_out[1]} map" in read.text and f"{left_out[0]} all zero" in read.text


def test_attacks_and_rank_shift_equal_the_result(read, frames):
    row = frames["attack_overview"].row(0, named=True)
    shown = {r[0][0]: r[1][1] for r in read.figures["attack-overview"].rows[1:]}
    assert shown["success rate"] == row["success_rate"] and shown["succeeded"] == row["successes"]
    assert read.figures["attack-overview"].rows[6][2] == ("96.61\N{NO-BREAK SPACE}%", 0.9661)
    quantiles = frames["rank_shift_quantiles"].filter(
        _bands("10 %", "10 %") & (pl.col("method") == "published-lrp-alpha1-beta0")
    )
    expected = quantiles.sort("level")["abs_shift"].to_list()
    expected += quantiles.filter(pl.col("level") == 0.5)["abs_shift_share"].to_list()
    assert any(row[1 : 1 + len(expected)] == expected for row in values(read.figures["shift-quantiles-0"]))
    assert "printed 51" in read.figures["shift-quantiles-0"].text


def test_in_short_is_written_from_the_data(read, frames):
    row = frames["attack_overview"].row(0, named=True)
    short = read.text[read.text.index("An adversarial example is nearly") :]
    assert f"{row['successes']} of {row['pairs']} pairs succeeded" in short
    within = frames["topk_overlap"].filter(_bands("1 %", "1 %"))
    for share in (within["overlap"].min(), within["overlap"].max(), within["chance"].max()):
        assert f"{100 * share:.1f}\N{NO-BREAK SPACE}%" in short.split("This is not yet a verdict")[0]


def test_sentences_follow_the_data(frames, facts):
    changed = frames | {"attack_overview": frames["attack_overview"].with_columns(successes=pl.lit(7))}
    assert "7 of 72 pairs succeeded" in render_page(changed, facts, queries={})


def test_imported_examples_have_no_success_rate_of_an_attack(frames, facts):
    imported = frames["attack_overview"].with_columns(algorithm=pl.lit("imported"), mean_gradient_calls=None)
    page = PageReader(render_page(frames | {"attack_overview": imported}, facts))
    row = imported.row(0, named=True)
    assert (
        f"{row['pairs']} examples of 8 correctly classified images, of which the network takes" in page.text
    )
    assert "How many attempts failed is not known." in page.text
    assert "pairs succeeded (" not in page.text.split("This is not yet a verdict")[0]


def test_probable_misprints_are_named_where_the_study_has_the_figure(read, frames, facts):
    figure = read.figures["misprints-0"]
    quantiles = frames["relevance_quantiles"]
    expected = []
    for printed in published_figures().misprints:
        subject = "original" if printed.subject == "original" else "lbfgs"
        here = quantiles.filter(method=f"published-{printed.method}", subject=subject, level=printed.level)
        expected.append([printed.printed, here["value"].item(), printed.likely])
    assert len(expected) == 2
    assert values(figure)[1:] == expected
    assert "digits transposed" in figure.text
    assert row_of(figure, f"Table 3, {method_name('lrp-0')}, quantile 0.01")[1][1] == -0.2363
    only = frames | {"relevance_quantiles": quantiles.filter(method="lrp-0")}
    assert "misprints-0" not in PageReader(render_page(only, facts)).figures


def test_without_controls_there_is_no_verdict(read):
    assert "This is not yet a verdict on any method under lbfgs: without controls" in read.text
    assert "The study has no controls of this attack." in read.figures["decision-0"].text


def test_names_are_escaped(frames, facts):
    bad = "<script>alert(1)</script>"
    page = render_page(
        frames, replace(facts, title=bad, class_names=(bad, *CLASSES[1:]), settings={bad: bad})
    )
    assert bad not in page
    assert bad in PageReader(page).text


def test_study_without_success_says_what_is_missing(facts):
    study = make_study(images=2, methods=("lrp-0",), published=False)
    study.success[:] = False
    page = PageReader(render_page(results(study), facts))
    assert "No pair succeeded: there is nothing to show." in page.text
    assert "No pair has two maps to compare." in page.text
    assert "No pair of attack lbfgs has two maps to compare." in page.text
    assert "0 of 18 pairs succeeded" in page.text


def test_study_of_one_pair_and_one_method(facts):
    study = make_study(images=1, methods=("lrp-epsilon-1",), published=False)
    study.maps["lrp-epsilon-1"][0][:] = make_study(images=1).maps["lrp-epsilon-1"][0]
    study.success[1:] = False
    page = PageReader(render_page(results(study), facts))
    assert "1 of 9 pairs succeeded" in page.text
    assert "data-show" not in page.text


def test_all_maps_flagged(facts):
    study = make_study(images=2)
    for originals, adversarials in study.maps.values():
        originals[:], adversarials[:] = float("nan"), float("nan")
    page = PageReader(render_page(results(study), facts))
    assert "0 relevance maps by 10 methods enter the statistics." in page.text
    assert "No pair of attack lbfgs has two maps to compare." in page.text


def test_sections_repeat_for_each_attack(frames, facts):
    other = results(make_study(seed=1, images=3, attack="pgd", published=False))
    both = {}
    for name, frame in frames.items():
        added = other[name]
        if "subject" in frame.columns and "attack" not in frame.columns:
            added = added.filter(pl.col("subject") == "pgd")
        both[name] = pl.concat([frame, added]) if name != "study_overview" else frame
    page = PageReader(render_page(both, facts))
    assert {"overlap-0", "overlap-1", "success-1", "quantiles-adversarial-1", "summary"} <= set(page.figures)
    assert page.text.count("Attack pgd") == 2 * 5 + 1
    mine = other["relevance_quantiles"].filter(subject="pgd", method="lrp-0").sort("level")["value"].to_list()
    assert mine in values(page.figures["quantiles-adversarial-1"])
    assert mine not in values(page.figures["quantiles-adversarial-0"])


def test_attacks_stand_side_by_side_in_the_order_of_the_study(frames, facts):
    """A second attack of the same pairs, with half the overlap."""
    both = dict(frames)
    for name, frame in frames.items():
        if "attack" in frame.columns:
            both[name] = pl.concat([frame.with_columns(attack=pl.lit("aaa")), frame])
    half = pl.when(pl.col("attack") == "aaa").then(pl.col("overlap") / 2).otherwise(pl.col("overlap"))
    both["topk_overlap"] = both["topk_overlap"].with_columns(overlap=half)
    for order, first, second in ((("lbfgs", "aaa"), "lbfgs", "aaa"), ((), "aaa", "lbfgs")):
        page = PageReader(render_page(both, replace(facts, attacks=order), queries={}))
        figure = page.figures["summary"]
        assert [text for text, _ in figure.rows[0]][2:] == [
            f"{attack}, {band_name(band)}" for attack in (first, second) for band in ("1 %", "10 %")
        ]
        assert page.text.index(f"The attack {first} was run") < page.text.index(
            f"The attack {second} was run"
        )
        assert page.text.index(f"Attack {first}. Of the") < page.text.index(f"Attack {second}. Of the")
        found = row_of(figure, "Canonical convention", method_name("lrp-epsilon-1"))
        shares = [value for _, value in found if value is not None]
        whole, halved = (shares[:2], shares[2:]) if first == "lbfgs" else (shares[2:], shares[:2])
        assert [2 * value for value in halved] == pytest.approx(whole)


def test_failures_are_told_with_their_reasons(read, frames, facts):
    assert "failures-0" not in read.figures
    row = {"attack": "lbfgs", "reason": "budget spent", "pairs": 3, "share": 3 / 72}
    failed = pl.DataFrame([row | {"median_target_probability": 0.125}])
    page = PageReader(render_page(frames | {"attack_failures": failed}, facts, queries={}))
    figure = page.figures["failures-0"]
    assert values(figure)[-1] == [3, 3 / 72, 0.125]
    assert "budget spent" in figure.text
    assert "3 pairs failed (4.17\N{NO-BREAK SPACE}%)" in figure.text


def test_an_untargeted_attack_is_told_as_one(frames, facts):
    """Of 9 images of the first label 4 came to one class, and 5 kept theirs."""
    summary = frames["attack_summary"].head(1).with_columns(targeted=False, pairs=9, success_rate=4 / 9)
    kept = summary.with_columns(target=pl.col("label"), successes=0, success_rate=0.0)
    summary = pl.concat([summary.with_columns(successes=4), kept], how="vertical_relaxed")
    overview = frames["attack_overview"].with_columns(targeted=False)
    changed = frames | {"attack_summary": summary, "attack_overview": overview}
    page = PageReader(render_page(changed, facts, queries={}))
    row, ended = overview.row(0, named=True), summary.row(0, named=True)
    assert f"away from their class: {row['successes']} of {row['pairs']} images succeeded" in page.text
    figure = page.figures["success-0"]
    assert "Classes reached" in figure.text
    names = facts.class_name(ended["target"]), facts.class_name(ended["label"])
    assert f"The largest share goes from {names[1]} to {names[0]} (4 of 9)." in figure.text
    (cells,) = page.specs["success-0-0"]["datasets"].values()
    assert [(cell["label"], cell["target"]) for cell in cells] == [(ended["label"], ended["target"])]
    none = changed | {"attack_summary": kept}
    assert "No image left its class." in PageReader(render_page(none, facts, queries={})).text


def test_other_subjects_and_classes_stay_out_of_the_tables(frames, facts):
    """The other half of the 2 x 2 design and controls belong to sections of their own."""
    strange = (
        frames["relevance_quantiles"]
        .filter(subject="original")
        .with_columns(explains=pl.lit("target"), value=pl.lit(0.987654))
    )
    control = strange.with_columns(subject=pl.lit("noise-lbfgs"))
    changed = frames | {"relevance_quantiles": pl.concat([frames["relevance_quantiles"], strange, control])}
    assert "0.987654" not in render_page(changed, facts, queries={})


def test_results_are_read_from_the_lake(frames, facts, tmp_path):
    _store(frames, tmp_path)
    loaded = load_results(str(tmp_path), "small")
    assert loaded["topk_overlap"].equals(frames["topk_overlap"])
    path = write_report(loaded, facts, tmp_path / "out" / "small.html")
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert [p.name for p in path.parent.iterdir()] == ["small.html"]


def test_missing_result_names_the_remedy(frames, tmp_path):
    _store(frames, tmp_path)
    (tmp_path / "results" / "rank_shift" / "small.parquet").unlink()
    with pytest.raises(
        ReportError, match=r"no result of rank_shift at .*relevance-lake analyse small --lake"
    ):
        load_results(str(tmp_path), "small")


def test_damaged_and_outdated_results_are_refused(frames, facts, tmp_path):
    _store(frames, tmp_path)
    path = tmp_path / "results" / "attack_summary" / "small.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReportError, match=r"cannot read .*attack_summary.small\.parquet"):
        load_results(str(tmp_path), "small")
    old = frames | {"topk_overlap": frames["topk_overlap"].drop("chance")}
    with pytest.raises(
        ReportError, match=r"topk_overlap has no column chance: run `relevance-lake analyse small"
    ):
        write_report(old, facts, tmp_path / "small.html")
    assert not (tmp_path / "small.html").exists()


def test_without_published_figures(frames, facts):
    page = PageReader(render_page(frames, facts, published=PublishedFigures()))
    assert all("difference" not in [text for text, _ in row] for f in page.figures.values() for row in f.rows)


def test_page_is_small_and_import_is_light(page):
    assert len(page.encode()) < 2.5e6
    heavy = {"altair", "vl_convert", "tensorflow", "prefect", "duckdb"}
    code = f"import sys, reports.page; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_bundle_is_kept_and_damage_is_noticed(tmp_path):
    text = vega_bundle(tmp_path)
    assert "vegaEmbed" in text and "</script" not in text and "<!--" not in text
    (kept,) = tmp_path.iterdir()
    kept.write_text(kept.read_text("utf-8")[:5000], "utf-8")
    assert vega_bundle(tmp_path) == text
    digest = kept.read_text("utf-8").partition("\n")[0]
    assert vega_bundle(tmp_path) == text and kept.read_text("utf-8").startswith(digest)


def test_bundle_without_a_place_to_keep_it(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert "vegaEmbed" in vega_bundle(tmp_path / "file")


def _bands(original, adversarial):
    return (pl.col("original_band") == original) & (pl.col("adversarial_band") == adversarial)


def _store(frames, lake):
    for name, frame in frames.items():
        folder = lake / "results" / name
        folder.mkdir(parents=True)
        frame.write_parquet(folder / "small.parquet")
