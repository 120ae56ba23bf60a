"""What the maps are held against beside noise: the 2 x 2 design, the way, other measures, other weights."""

from __future__ import annotations

import polars as pl

from reports.names import NO_BREAK, count, decimal, method_name, method_order, percent, plural, signed
from reports.parts import Figure, Panel, Source, by_convention
from reports.sentences import full_name
from reports.table import Cell, Row, Table, number

BAND = "10 %"

DESIGN = {
    "adversarial": "both: R(x, y), R(x', t)",
    "image": "image: R(x, y), R(x', y)",
    "question": "question: R(x, y), R(x, t)",
    "question at the adversarial image": "question: R(x', y), R(x', t)",
    "image at the target": "image: R(x, t), R(x', t)",
    "crossed": "crossed: R(x, t), R(x', y)",
}
"""The six overlaps of four maps, as comparisons of decision_sensitivity."""

MEASURES = {
    "overlap at 10 %": ("overlap 10 %", 3),
    "rank-biased overlap at 10 %": ("rank-biased overlap", 3),
    "spearman": ("Spearman", 3),
    "spearman of magnitudes": ("Spearman of |R|", 3),
    "sign agreement": ("same sign", 3),
    "ssim": ("SSIM", 3),
    "wasserstein": ("Wasserstein", 4),
}
"""Measures of map_similarity that the page shows: heading and digits."""


def with_ends(row: dict, column: str, form) -> Cell:
    """A figure with its interval as remark, which does not repeat the unit."""
    if row.get(column) is None:
        return Cell("-")
    low, high = (form(row.get(f"{column}_{end}")).removesuffix(f"{NO_BREAK}%") for end in ("low", "high"))
    return number(row[column], form, "" if low == "-" else f"{low} to {high}")


def design(rows: pl.DataFrame, end: str) -> list[Figure]:
    """The six overlaps of the four maps; rows: of decision_sensitivity, of one attack and band."""
    shown = rows.filter(pl.col("comparison").is_in(list(DESIGN)))
    if shown["comparison"].n_unique() < len(DESIGN):
        return []
    said = (
        "R(x, y) is the map of image x explained for class y; x' is the adversarial example, t its target. "
        "Share of the top 10 % that two maps have in common, with 95 % intervals over images. A heading "
        "begins with what changes from one map to the other: the image, the question (the explained class), "
        "both, or both the other way round. Maps of LRP start from a logit, which is negative for most "
        "classes but the image's own. Where the rule at the output does not divide by it, a negative one "
        "turns the whole map: such maps are turned back, and rows 'as stored', where they differ, leave "
        "them as they are."
    )

    def panel(part: pl.DataFrame, methods: list[str]) -> Panel:
        found = {(row["method"], row["comparison"]): row for row in part.iter_rows(named=True)}
        headings = (
            heading.replace(", ", f",{NO_BREAK}").replace(f"),{NO_BREAK}", "), ")
            for heading in DESIGN.values()
        )
        table = Table(("method", *headings))
        for method in methods:
            signed_cells = [with_ends(found.get((method, name), {}), "overlap", percent) for name in DESIGN]
            stored = [
                found.get((method, f"{name} as stored"), found.get((method, name), {})) for name in DESIGN
            ]
            cells = [with_ends(row, "overlap", percent) for row in stored]
            table.rows.append(Row(((method_name(method), 1),), tuple(signed_cells)))
            if [cell.text for cell in cells] != [cell.text for cell in signed_cells]:
                table.rows.append(Row(((f"{method_name(method)}, as stored", 1),), tuple(cells)))
        return Panel(table=table)

    return [
        Figure(f"design{end}", "Image or question?", "decision_sensitivity", said, by_convention(rows, panel))
    ]


def jump_sentence(rows: pl.DataFrame) -> str:
    """What the way to the adversarial example shows, all methods together; rows: of path_jump, all bands."""
    tested = rows.filter((pl.col("band") == BAND) & (pl.col("verdict") != "ties"))
    if tested.is_empty():
        return ""
    jumps = tested.filter(verdict="jumps")
    said = (
        f"On the straight way to the adversarial example, {_maps_of(jumps.height, tested.height)} more where "
        "the class turns than elsewhere"
    )
    moving = jumps.filter(pl.col("rest") > 0)
    times = [decimal(value, 1) for value in (moving["turn"] / moving["rest"]).sort()]
    if times:
        span = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        said += f", {span} times as much"
    rest = method_order(tested.filter(pl.col("verdict") != "jumps")["method"])
    return f"{said}; not so for {', '.join(map(full_name, rest))}." if 0 < len(rest) <= 3 else f"{said}."


def _maps_of(some: int, all_: int) -> str:
    """Subject and verb: `the maps of 2 of 3 methods change`."""
    if all_ == 1:
        return "the maps of the one method change" if some else "the maps of the one method do not change"
    return f"the maps of {some} of {all_} methods change"


def jump(source: Source) -> list[Figure]:
    """Whether maps change more where the class does than elsewhere on the way."""
    rows = source.of_attack("path_jump").filter(pl.col("band") == BAND)
    if rows.is_empty():
        return []
    verdicts = {
        name: [full_name(method) for method in method_order(rows.filter(verdict=name)["method"])]
        for name in ("jumps", "even", "dips", "ties")
    }
    said = (
        "Between two neighbouring points of the way: one minus the overlap of their maps (top 10 %), per "
        "unit of the way, each map explained for the class that the network takes its image for. Where the "
        "class changes, against the pair's other intervals. A map that explains the decision jumps there: it "
        f"does for {', '.join(verdicts['jumps']) if verdicts['jumps'] else 'no method'}."
    )
    if verdicts["even"] or verdicts["dips"]:
        said += f" It does not for {', '.join([*verdicts['even'], *verdicts['dips']])}."
    if verdicts["ties"]:
        said += f" Ties allow no verdict on {', '.join(verdicts['ties'])}."

    def panel(part: pl.DataFrame, methods: list[str]) -> Panel:
        table = Table(("method", "at the turn", "elsewhere", "jump", "pairs", "verdict"))
        found = {row["method"]: row for row in part.iter_rows(named=True)}
        for method in methods:
            row = found[method]
            cells = [with_ends(row, name, lambda v: decimal(v, 2)) for name in ("turn", "rest")]
            cells.append(with_ends(row, "jump", lambda v: signed(v, 2)))
            cells += [number(row["pairs"], count), Cell(row["verdict"], css="text")]
            table.rows.append(Row(((method_name(method), 1),), tuple(cells)))
        return Panel(table=table)

    title = "Does the map jump where the decision turns?"
    return [Figure(f"jump{source.end}", title, "path_jump", said, by_convention(rows, panel))]


def measures(source: Source) -> list[Figure]:
    """Other measures than overlap: the adversarial example's map and the noise control's beside each "
    "other."""
    rows = source.of_attack("map_similarity").filter(
        (pl.col("comparison") == "adversarial") & pl.col("measure").is_in(list(MEASURES))
    )
    if rows["noise_pairs"].sum() == 0:
        return []
    said = (
        "The original's map and that of the adversarial example, by other measures than overlap; below each "
        "figure that of the noise control, then chance, where it is known: of maps whose components stand in "
        "another order. Rank-biased overlap gives 86 % of its weight to the top 10 %. SSIM is high for maps "
        "with few large values, whatever these are, and Wasserstein's distance sees values without their "
        "places."
    )

    def panel(part: pl.DataFrame, methods: list[str]) -> Panel:
        table = Table(("method", *(heading for heading, _ in MEASURES.values())))
        found = {(row["method"], row["measure"]): row for row in part.iter_rows(named=True)}
        for method in methods:
            cells = []
            for name, (_, digits) in MEASURES.items():
                row = found.get((method, name), {})
                beside = []
                if row.get("difference") is not None:
                    beside.append(f"noise{NO_BREAK}{decimal(row['mean'] + row['difference'], digits)}")
                if row.get("chance") is not None:
                    beside.append(f"chance{NO_BREAK}{decimal(row['chance'], digits)}")
                cells.append(number(row.get("mean"), lambda v, d=digits: decimal(v, d), "\n".join(beside)))
            table.rows.append(Row(((method_name(method), 1),), tuple(cells)))
        return Panel(table=table)

    title = "By other measures"
    return [Figure(f"measures{source.end}", title, "map_similarity", said, by_convention(rows, panel))]


LEFT = {
    "depends on the weights": "next to nothing by",
    "depends in part": "a part by",
    "keeps its map": "more than half by",
    "ties": "what ties do not let tell by",
}
"""Verdicts of sanity_checks, and what they say of a map."""


def sanity_sentence(rows: pl.DataFrame, named: int = 3) -> str:
    """What is left of the maps when all weights are drawn anew; rows: of sanity_checks.

    named: up to how many methods of a verdict are named, not only counted.
    """
    judged = rows.drop_nulls("verdict")
    parts = []
    for verdict, text in LEFT.items():
        if methods := method_order(judged.filter(verdict=verdict)["method"]):
            names = f" ({', '.join(map(full_name, methods))})" if len(methods) <= named else ""
            parts.append(f"{text} {plural(len(methods), 'method')}{names}")
    if not parts:
        return ""
    return (
        "When all weights of the network are drawn anew, the top 10 % of maps keep of what they were, above "
        f"chance, {', '.join(parts)}."
    )


def sanity(source: Source) -> list[Figure]:
    """What maps keep when the network forgets; once a study, with its first attack."""
    rows = source.results["sanity_checks"]
    if rows.is_empty() or source.attack != source.results["attack_overview"]["attack"][0]:
        return []
    from reports.charts.decision import forgetting

    judged_methods = rows["method"].n_unique()
    said = (
        "Up, what each original's map has in common with that by the trained network, with 95 % intervals "
        "over images; across, how many layers have their weights drawn anew, from the output down (Adebayo "
        "et al. 2018). A map that explains what was learnt has nothing in common at the right end; one that "
        "stays redraws "
        f"the picture. {sanity_sentence(rows, judged_methods)}"
    )
    panels = by_convention(rows, lambda part, _: Panel(chart=forgetting(part)))
    return [Figure(f"sanity{source.end}", "When the network forgets", "sanity_checks", said.strip(), panels)]
