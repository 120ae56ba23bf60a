"""How far the maps of a pair agree as a whole: at every k, class by class, in correlation."""

from __future__ import annotations

import polars as pl

from reports.names import NO_BREAK, decimal, full_name, method_name, method_order, percent, plural
from reports.parts import Figure, Panel, Source, by_convention

NOTHING = "No pair has two maps to compare."


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    return [_curve(source), _by_class(source), _correlation(source)]


def _curve(source: Source) -> Figure:
    from reports.charts.agreement import overlap_curve

    curve = source.of_attack("overlap_curve").drop_nulls("overlap").sort("method", "k")
    said = NOTHING
    if not curve.is_empty():
        gap = curve.with_columns((pl.col("overlap") - pl.col("chance")).alias("gap"))
        top = gap.sort("gap", "method", "k").row(-1, named=True)
        said = (
            f"Share of the original's k most relevant components that are among the k most relevant of the "
            f"adversarial example, at {plural(curve['k'].n_unique(), 'value')} of k; dashed: by chance. "
            "The widest "
            f"distance to chance is {decimal(100 * top['gap'], 1)} percentage points at "
            f"k = {top['k']:,} ({full_name(top['method'])})."
        )
    panels = by_convention(curve, lambda part, _: Panel(chart=overlap_curve(part)))
    return Figure(f"curve{source.end}", "Overlap at every k", "overlap_curve", said, panels)


def _by_class(source: Source) -> Figure:
    from reports.charts.matrix import class_matrices

    rows = source.of_attack("overlap_by_class").drop_nulls("overlap")
    title, name, facts = (
        f"Overlap of the top 10{NO_BREAK}% by class pair",
        f"overlap-by-class{source.end}",
        source.facts,
    )
    if rows.is_empty():
        return Figure(name, title, "overlap_by_class", NOTHING)
    means = (
        rows.group_by("label", "target")
        .agg((pl.col("overlap") * pl.col("pairs")).sum() / pl.col("pairs").sum(), pl.col("pairs").max())
        .sort("overlap", "label", "target")
    )
    low, high = means.row(0, named=True), means.row(-1, named=True)
    said = (
        f"Rows are labels, columns targets; all methods have one scale. Over all methods, maps agree least "
        "from "
        f"{facts.class_name(low['label'])} to {facts.class_name(low['target'])} ({percent(low['overlap'])}, "
        f"{plural(low['pairs'], 'pair')}) and most from {facts.class_name(high['label'])} to "
        f"{facts.class_name(high['target'])} ({percent(high['overlap'])}, {plural(high['pairs'], 'pair')})."
    )
    ends = [float(rows["overlap"].min()), float(rows["overlap"].max())]  # pyright: ignore[reportArgumentType]

    def matrices(part: pl.DataFrame, methods: list[str]) -> Panel:
        names = [method_name(method) for method in method_order(methods)]
        known = part.with_columns(
            pl.col("method").replace_strict(method_order(methods), names, return_dtype=pl.String)
        )
        return Panel(
            chart=class_matrices(
                known, facts, "overlap", "overlap", ".0%", domain=ends, facet="method", order=names
            )
        )

    return Figure(name, title, "overlap_by_class", said, by_convention(rows, matrices))


def _correlation(source: Source) -> Figure:
    from reports.charts.agreement import correlation_intervals

    rows = source.of_attack("map_correlation").drop_nulls("value")
    ranks = rows.filter((pl.col("measure") == "spearman") & (pl.col("level") == 0.5)).sort("value", "method")
    said = NOTHING
    if not ranks.is_empty():
        low, high = ranks.row(0, named=True), ranks.row(-1, named=True)
        said = (
            f"Nine tenths of the pairs lie on the thin line, half on the thick one, the dot is the median. "
            "The median "
            f"of Spearman's correlation lies between {decimal(low['value'], 2)} "
            f"({full_name(low['method'])}) and "
            f"{decimal(high['value'], 2)} ({full_name(high['method'])})."
        )
    panels = by_convention(rows, lambda part, _: Panel(chart=correlation_intervals(part)))
    return Figure(f"correlation{source.end}", "Correlation of whole maps", "map_correlation", said, panels)
