"""How sure is the network of the target, which class comes next, and how far had the image to change?"""

from __future__ import annotations

import polars as pl

from reports.names import count, decimal, percent, plural
from reports.parts import Figure, Panel, Source
from reports.results import StudyFacts
from reports.table import Row, Table, number


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    return [
        _probability(source),
        _low_probability(source),
        _runner_up(source),
        _sizes(source),
        _change(source),
    ]


def _aim(source: Source) -> str:
    """What the examples are classified as."""
    targeted = source.of_attack("attack_overview")["targeted"]
    return "class reached" if (targeted == False).any() else "target"  # noqa: E712


def _probability(source: Source) -> Figure:
    from reports.charts.confidence import target_probability

    quantiles = source.of_attack("target_probability_quantiles")
    printed, aim = source.published.probabilities(), _aim(source)
    panels = [] if quantiles.is_empty() else [Panel(chart=target_probability(quantiles, printed, aim))]
    title, said = f"Probability of the {aim}", "No pair succeeded: there is no probability to show."
    values = dict(quantiles.select("level", "value").iter_rows())
    if 0.5 in values and 0.01 in values:
        said = (
            f"For half of {plural(quantiles['successes'][0], 'success', 'successes')} the probability of the "
            f"{aim} is at most {decimal(values[0.5], 3)}, for one in a hundred at most "
            f"{decimal(values[0.01], 3)}."
        )
        low = dict(printed.iter_rows()).get(0.01)
        if low is not None:
            said += f" In the paper one in a hundred is at most {decimal(low, 3)}."
    return Figure(f"probability{source.end}", title, "target_probability_quantiles", said, panels)


def _low_probability(source: Source) -> Figure:
    from reports.charts.matrix import class_matrices

    rows = source.of_attack("low_probability_examples")
    thresholds = {row["threshold_of"]: row["threshold"] for row in rows.iter_rows(named=True)}
    whose = {
        name: f"below {decimal(thresholds[name], 4)}, quantile 0.005 of {whom}"
        for name, whom in (("paper", "the paper"), ("study", "this study"))
        if name in thresholds
    }
    panels: list[Panel] = []
    said = "No pair succeeded: no example has a low probability."
    if whose:
        known = rows.filter(pl.col("threshold_of").is_in(list(whose))).with_columns(
            pl.col("threshold_of").replace(whose).alias("threshold"), pl.col("successes").alias("pairs")
        )
        order = list(whose.values())
        chart = class_matrices(
            known,
            source.facts,
            "share",
            "share of the pairs",
            ".0%",
            domain=(0, 1),
            facet="threshold",
            order=order,
        )
        panels, said = [Panel(chart=chart)], _least_sure(known, source.facts, order, _aim(source))
    title = "Examples of low probability by class pair"
    return Figure(f"low-probability{source.end}", title, "low_probability_examples", said, panels)


def _least_sure(rows: pl.DataFrame, facts: StudyFacts, order: list[str], aim: str) -> str:
    said = []
    for threshold in order:
        part = rows.filter(pl.col("threshold") == threshold)
        low, total = int(part["examples"].sum()), int(part["pairs"].sum())
        text = (
            f"The probability of the {aim} is {threshold}, for {count(low) if low else 'none'} of "
            f"{plural(total, 'success', 'successes')}"
        )
        most = part.sort("examples", "label", "target", descending=[True, False, False]).row(0, named=True)
        if low:
            pair = f"{facts.class_name(most['label'])} to {facts.class_name(most['target'])}"
            most_of_them = "" if low == 1 else "most often "
            text += f", {most_of_them}{pair} ({count(most['examples'])} of {count(most['pairs'])})"
        said.append(text + ".")
    return " ".join(said) + " Rows are labels, columns targets."


def _runner_up(source: Source) -> Figure:
    rows = source.of_attack("runner_up_classes")
    panels: list[Panel] = []
    said = "No pair succeeded: no class comes second."
    if not rows.is_empty():
        row = rows.row(0, named=True)
        said = (
            f"After the target, the image's own class comes second in {percent(row['second_is_label'])} of "
            "the "
            f"successes. Of the probability that the target leaves, the second class holds "
            f"{percent(row['median_second_share'])} in the median."
        )
        table = Table(("", "second class", "third class"))
        for title, column in (
            ("is the image's label", "{}_is_label"),
            ("part of what the target leaves, mean", "mean_{}_share"),
            ("part of what the target leaves, median", "median_{}_share"),
        ):
            cells = tuple(
                number(row[column.format(place)], lambda v: percent(v, 2)) for place in ("second", "third")
            )
            table.rows.append(Row(((title, 1),), cells))
        panels = [Panel(table=table)]
    return Figure(f"runner-up{source.end}", "The classes after the target", "runner_up_classes", said, panels)


def _sizes(source: Source) -> Figure:
    from reports.charts.confidence import change_sizes

    title, name = "How far images had to change", f"sizes{source.end}"
    rows = source.of_attack("change_quantiles").drop_nulls("value")
    values = {level: value for norm, level, value in rows["norm", "level", "value"].rows() if norm == "l2"}
    if not values:
        return Figure(name, title, "change_quantiles", "No pair succeeded: there is no change to measure.")
    said = (
        f"Share of {plural(rows['successes'][0], 'success', 'successes')} whose change is at most so large, "
        f"by three norms; components are counted from 0 to 1. In L2, half of the changes are at most "
        f"{decimal(values[0.5], 3)}, nine in ten at most {decimal(values[0.9], 3)}, the largest is "
        f"{decimal(values[1.0], 3)}."
    )
    return Figure(name, title, "change_quantiles", said, [Panel(chart=change_sizes(rows))])


def _change(source: Source) -> Figure:
    from reports.charts.matrix import class_matrices

    title, name = "Change by class pair", f"change{source.end}"
    rows = source.of_attack("attack_summary").drop_nulls("median_l2").filter(pl.col("successes") > 0)
    if rows.is_empty():
        return Figure(name, title, "attack_summary", "No pair succeeded: there is no change to measure.")
    facts, rows = source.facts, rows.sort("median_l2", "label", "target")
    ends = [rows.row(0, named=True), rows.row(-1, named=True)]
    near, far = (
        f"{facts.class_name(row['label'])} to {facts.class_name(row['target'])} "
        f"({decimal(row['median_l2'], 3)})"
        for row in ends
    )
    said = (
        f"Median L2 of the change over the successes of a class pair: smallest from {near}, largest from "
        f"{far}. Components are counted from 0 to 1."
    )
    chart = class_matrices(rows, facts, "median_l2", "median L2 of the change", ".2f")
    return Figure(name, title, "attack_summary", said, [Panel(chart=chart)])
