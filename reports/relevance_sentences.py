"""Sentences of the page about distributions of relevance and about ranking, written from the results."""

from __future__ import annotations

import polars as pl

from reports.names import count, decimal, full_name, percent, plural


def histograms(moments: pl.DataFrame) -> str:
    """Change of the standard deviation from originals to adversarial examples, and the share at zero."""
    wide = _original_beside_adversarial(moments, "std")
    if wide.is_empty():
        return "No method has maps of both originals and adversarial examples."
    narrower = wide.filter(pl.col("adversarial") < pl.col("original")).height
    return (
        "Up, the share of values in a bin, on a logarithmic axis; across, relevance. For "
        f"{count(narrower)} of {plural(wide.height, 'method')} the relevance of adversarial examples has a "
        "smaller standard deviation than that of originals."
    )


def moments(table: pl.DataFrame) -> str:
    """How many maps were left out, and the largest share of exact zeros."""
    if table.is_empty():
        return "No map enters."
    bad = table.filter(pl.col("non_finite_maps") + pl.col("zero_maps") > 0)["method"].n_unique()
    methods = table["method"].n_unique()
    lost = f"{count(bad)} of {plural(methods, 'method')}" if bad else "No method"
    text = f"{lost} lost maps that are not finite or all zero."
    zeros = table.drop_nulls("share_zero").sort("share_zero", "method")
    if zeros.is_empty():
        return text
    most = zeros.row(-1, named=True)
    share, method = percent(most["share_zero"], 2), full_name(most["method"])
    return f"{text} The largest share of values that are exactly zero is {share} ({method})."


def quantiles(table: pl.DataFrame, published: bool) -> str:
    """Where half of the relevance lies, by method."""
    spread = (
        table.filter(pl.col("level").is_in([0.1, 0.9]))
        .sort("level")
        .group_by("method")
        .agg((pl.col("value").last() - pl.col("value").first()).alias("spread"), pl.len().alias("n"))
    )
    spread = spread.filter((pl.col("n") == 2) & pl.col("spread").is_not_null()).sort("spread", "method")
    if spread.is_empty():
        return "No map enters."
    low, high = spread.row(0), spread.row(-1)
    text = (
        f"Eight in ten values lie within a span of {decimal(low[1], 3)} ({full_name(low[0])}) to "
        f"{decimal(high[1], 3)} "
        f"({full_name(high[0])})."
    )
    return text + (f" {COMPARED}" if published else "")


OVERLAP_TABLE = (
    "Share of the components of the first band in the original's map that lie in the second band of the "
    "adversarial example's map, mean over pairs; chance is the second band's share of all components."
)


COMPARED_POINTS = (
    "Differences to the printed figures are in percentage points, coloured by size (0.5, 2 and 5)."
)


SHIFT_TABLE = (
    "Quantiles in places, the median also as a share of all n components of a map; only components found "
    "again are counted, and unmoved is the share of those with shift zero."
)


COMPARED = (
    "Printed figures are those of the paper, over its own network and its 77,402 adversarial examples; "
    "differences are this study less the paper, coloured by size (beyond 0.005, 0.02 and 0.05)."
)


MISPRINTS = (
    "Quantiles of the tables above whose printed figure the authors' own network and adversarial examples "
    "contradict, where a slip of a digit explains it. The differences above are to the figures as printed."
)


def shift(quantiles_: pl.DataFrame) -> str:
    """Median |rank shift| within the top 10 %."""
    rows = (
        quantiles_.filter(
            (pl.col("original_band") == "10 %")
            & (pl.col("adversarial_band") == "10 %")
            & (pl.col("level") == 0.5)
        )
        .drop_nulls("abs_shift")
        .sort("abs_shift", "method")
    )
    if rows.is_empty():
        return "No component of the top 10 % was found again in the top 10 %."
    low, high = rows.row(0, named=True), rows.row(-1, named=True)
    return (
        "Up, shares; across, places, and below them the share of all components of a map that they are. Only "
        "components that are found again are counted. Of those in the top 10 % of both maps, half move by at "
        "most "
        f"{decimal(low['abs_shift'], 0)} ({full_name(low['method'])}) to "
        f"{decimal(high['abs_shift'], 0)} places "
        f"({full_name(high['method'])}); a positive shift is a move down."
    )


def overlap(rows: pl.DataFrame) -> str:
    """How many methods exceed chance by a factor of two in the top 10 %, and ties."""
    same = rows.filter(
        (pl.col("original_band") == "10 %") & (pl.col("adversarial_band") == "10 %")
    ).drop_nulls("overlap")
    if same.is_empty():
        return "No pair has two maps to compare."
    above = same.filter(pl.col("overlap") > 2 * pl.col("chance")).height
    tied = rows.filter(pl.col("tied_pairs") > 0.1 * pl.col("pairs"))["method"].n_unique()
    methods = plural(same.height, "method")
    text = (
        f"In the top 10 %, the overlap is more than twice its chance level for {count(above)} of {methods}."
    )
    if tied:
        text += (
            f" For {plural(tied, 'method')}, marked \N{DAGGER}, ties at a band's edge in more than a "
            f"tenth of the pairs leave the "
            "overlap without meaning there."
        )
    return text


def _original_beside_adversarial(moments: pl.DataFrame, column: str) -> pl.DataFrame:
    originals = moments.filter(pl.col("subject") == "original").select(
        "method", pl.col(column).alias("original")
    )
    others = moments.filter(pl.col("subject") != "original").select(
        "method", pl.col(column).alias("adversarial")
    )
    return originals.join(others, on="method").drop_nulls()
