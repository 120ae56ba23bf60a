"""Is it the decision: the maps held against controls in which no decision changes."""

from __future__ import annotations

import polars as pl

from reports.names import (
    DAGGER,
    count,
    decimal,
    method_name,
    method_order,
    percent,
    plural,
    signed,
    verdict_name,
)
from reports.parts import Figure, Panel, Source, by_convention
from reports.sections import controls
from reports.sections.controls import BAND, with_ends
from reports.sentences import full_name
from reports.table import Cell, Row, Table, number

ANALYSIS = "decision_sensitivity"
UNCONTROLLED = ("adversarial", "other target", "other image of the class", "other image")
"""Comparisons that need no control."""

INTRODUCTION = (
    "Two maps that differ say little as long as it is unknown how far a map moves when nothing about the "
    "decision does. Here the map of each adversarial example is held against maps of images that differ from "
    "the original in other ways."
)
LIMITS = (
    "What the score cannot tell: a high one says that a map changes with the decision, not that the change "
    "is right. A map drawn anew for every class would score 1 and explain nothing. Whether a method names "
    "the components that the network used, only their removal can show. Noise differs from the attack's "
    "change in structure too, not only in that it keeps the class; the points on the way to the adversarial "
    "example are the check on that. And an overlap sees the order of components only, at one k."
)


def rows_of(source: Source) -> pl.DataFrame:
    """The rows of the attack at the headline band."""
    return source.of_attack(ANALYSIS).filter(pl.col("band") == BAND)


def is_controlled(rows: pl.DataFrame) -> bool:
    """Whether there is a noise control to hold the attack against."""
    return not rows.filter(pl.col("noise_pairs") > 0).is_empty()


def figures(source: Source) -> list[Figure]:
    """Figures of one attack: what there is of scores, numbers, ladder and way."""
    rows, end = rows_of(source), source.end
    designed = rows.filter(~pl.col("comparison").is_in(UNCONTROLLED))
    if designed.is_empty():
        return [
            Figure(f"decision{end}", "Controls", ANALYSIS, _nothing_to_hold_against(source)),
            *controls.sanity(source),
        ]
    made = []
    if is_controlled(rows):
        made += [_scores(rows, end), _numbers(rows, end)]
    else:
        said = "No pair of this attack has a map of its noise control: there is no score."
        made.append(Figure(f"scores{end}", "Decision sensitivity", ANALYSIS, said))
    made += [*controls.design(rows, end), _ladder(rows, end), *_path(rows, end)]
    return [*made, *controls.jump(source), *controls.measures(source), *controls.sanity(source)]


def _nothing_to_hold_against(source: Source) -> str:
    attack = source.of_attack("attack_overview").row(0, named=True)
    if not attack["successes"]:
        return "No pair of this attack succeeded: there is no map to hold against controls."
    if attack["targeted"] is False:
        return "This attack takes an image to any other class; controls are made of attacks that aim at one."
    return "The study has no controls of this attack."


def answer(rows: pl.DataFrame) -> str:
    """What the controls say of the attack, all methods together; rows: of the headline band."""
    tested = rows.filter((pl.col("comparison") == "adversarial") & pl.col("verdict").is_not_null())
    if tested.is_empty():
        return ""
    verdicts = {name: tested.filter(pl.col("verdict") == name) for name in tested["verdict"].unique()}
    more = verdicts.get("changes more", tested.clear()).drop_nulls("score").sort("score", "method")
    said = (
        "Held against noise as large as the attack's change, which leaves the decision as it was, the maps "
        f"of {more.height} of {plural(tested.height, 'method')} change more when the decision is overturned "
        "(top 10 %, Holm-adjusted p at most 0.05)"
    )
    if not more.is_empty():
        low, high = more.row(0, named=True), more.row(-1, named=True)
        said += (
            f"; their decision sensitivity lies between {_score(low)} and {_score(high)}, where 0 is no more "
            "than noise and 1 no more in common than by chance"
        )
    rest = {
        "no difference": "no difference can be told",
        "changes less": "it changes less",
        "unstable": "noise alone leaves no more than chance, so nothing can be said",
        "no test": "the images are too few to tell",
        "ties": "ties at the edge allow no verdict",
    }
    parts = [
        f"for {plural(verdicts[name].height, 'method')} {text}"
        for name, text in rest.items()
        if name in verdicts
    ]
    return f"{said}. {'; '.join(parts).capitalize()}." if parts else f"{said}."


def _score(row: dict) -> str:
    ends = f"{decimal(row['score_low'], 2)} to {decimal(row['score_high'], 2)}"
    return f"{decimal(row['score'], 2)} ({full_name(row['method'])}, {ends})"


def _scores(rows: pl.DataFrame, end: str) -> Figure:
    from reports.charts.decision import SCORES, scores

    drawn = rows.filter(pl.col("comparison").is_in(list(SCORES)) & pl.col("score").is_not_null())
    of_examples = rows.filter((pl.col("comparison") == "adversarial") & (pl.col("noise_pairs") > 0))
    lost = of_examples.filter(pl.col("score").is_null())
    said = (
        "How much of what noise leaves in common is lost when the decision is overturned: the overlap with "
        "the noise control less that with the adversarial example, as a share of the former above chance. 0: "
        "the map notices the decision no more than noise; 1: it has no more in common than by chance. Lines "
        "are 95 % intervals, from a bootstrap over images. The grey tick is stability, the overlap with the "
        "noise control itself: where it is low, noise already scatters the map, and a high score says little."
    )
    if not lost.is_empty():
        names = ", ".join(full_name(method) for method in method_order(lost["method"]))
        said += f" Without a score, since noise leaves no more in common than chance: {names}."
    if "ties" in set(drawn["verdict"]):
        said += f" {DAGGER}: ties at the edge of the top 10 % allow no verdict."
    panels = [] if drawn.is_empty() else [Panel(chart=scores(drawn))]
    return Figure(f"scores{end}", "Decision sensitivity", ANALYSIS, said, panels)


def _numbers(rows: pl.DataFrame, end: str) -> Figure:
    said = (
        "Overlap of the top 10 % of the original's map with that of its noise control (stability), of the "
        "adversarial example explained for its target, of the same image explained for the label (image), "
        "and of the original explained for the target (question; turned back where a negative logit turns "
        "the map). Difference: stability less the overlap with the adversarial example, in percentage "
        "points. Below each figure its 95 % interval. p, of a bootstrap-t with 1,000 replicates, is adjusted "
        "for the number of methods (Holm): it is never below a thousandth of that number, and more careful "
        "than the intervals where images are few. The last column: how many images a difference of 1 "
        "percentage point needs (two-sided 0.05, power 80 %)."
    )

    def panel(part: pl.DataFrame, methods: list[str]) -> Panel:
        return Panel(table=_table(part, methods))

    return Figure(f"decision{end}", "Verdicts and their numbers", ANALYSIS, said, by_convention(rows, panel))


def _table(rows: pl.DataFrame, methods: list[str]) -> Table:
    columns = ("method", "chance", "stability", "adversarial", "image", "question")
    table = Table((*columns, "difference", "effect size", "p", "score", "verdict", "images for a point"))
    found = {(row["method"], row["comparison"]): row for row in rows.iter_rows(named=True)}
    for method in methods:
        main = found.get((method, "adversarial"), {})
        cells = [number(main.get("chance"), percent), with_ends(main, "stability", percent)]
        for name in ("adversarial", "image", "question"):
            cells.append(with_ends(found.get((method, name), {}), "overlap", percent))
        cells += [
            with_ends(main, "difference", lambda v: signed(None if v is None else 100 * v, 1)),
            number(main.get("effect_size"), lambda v: decimal(v, 2)),
            number(main.get("p_holm"), lambda v: decimal(v, 3)),
            with_ends(main, "score", lambda v: decimal(v, 2)),
            Cell(verdict_name(main.get("verdict")), css="text"),
            number(main.get("images_for_a_point"), count),
        ]
        table.rows.append(Row(((method_name(method), 1),), tuple(cells)))
    return table


def _ladder(rows: pl.DataFrame, end: str) -> Figure:
    from reports.charts.decision import ladder

    said = (
        "What the original's map has in common with each of the others, top 10 %, with 95 % intervals over "
        "images. At the bottom, and as a grey tick in each line, chance: what a map has in common with one "
        "whose components stand in another order."
    )
    if "other target" in set(rows["comparison"]):
        said += " One line compares the adversarial examples of two targets with each other."
    if {"round", "floor"} & set(rows["comparison"]):
        said += " Rounded and floored adversarial examples are held against what they were before."
    panels = by_convention(rows, lambda part, _: Panel(chart=ladder(part)))
    return Figure(
        f"ladder{end}", "Overlap with the original's map, control by control", ANALYSIS, said, panels
    )


def _path(rows: pl.DataFrame, end: str) -> list[Figure]:
    from reports.charts.decision import path

    on_the_way = rows.filter((pl.col("fraction") > 0) | (pl.col("comparison") == "adversarial"))
    if on_the_way["fraction"].drop_nulls().is_empty():
        return []
    said = (
        "Up, overlap with the original's map (top 10 %, the band is its 95 % interval); across, parts of the "
        "straight way to the adversarial example. Each image there is explained for the class that the "
        "network takes it for; dashed, the share of images that it already takes for the target. A map that "
        "follows the decision falls where the dashed line rises."
    )
    panels = by_convention(on_the_way, lambda part, _: Panel(chart=path(part)))
    return [Figure(f"path{end}", "On the way to the adversarial example", ANALYSIS, said, panels)]
