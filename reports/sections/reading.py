"""How to read the page: its words, how a rank shift is made, and how to cite."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import polars as pl

from reports.names import NO_BREAK, ORIGINAL, count, full_name, method_order, plural
from reports.parts import Figure, Panel, Results
from reports.results import StudyFacts
from reports.table import Cell, Row, Table

TOP = 12
"""Components of the example that are followed from one map to the other."""

PAPER = """\
@article{dieter2023evaluation,
  author  = {Dieter, Tamara and Zisgen, Horst},
  title   = {Evaluation of the Explanatory Power Of Layer-wise Relevance Propagation
             using Adversarial Examples},
  journal = {Neural Processing Letters},
  year    = {2023},
  doi     = {10.1007/s11063-023-11166-8}
}"""

WORDS = {
    "relevance map": "One number for each component (pixel and colour channel): how much it speaks for a "
    "class (positive) or against it (negative). Each map is divided by its largest absolute value.",
    "adversarial example": "An image changed so little that people hardly see it, which the network takes "
    "for another class, the target.",
    "pair": "A correctly classified original, explained for its label, and an adversarial example of it, "
    "explained for the target.",
    f"most relevant, top 1{NO_BREAK}%, top 10{NO_BREAK}%": "The components of largest relevance, signed: "
    "the single one, and the best 1 % and 10 %. Ties are ordered by the component's place.",
    "overlap": "Share of the original's top components that are among the top components of the adversarial "
    "example's map.",
    "by chance": "The overlap that two maps without any connection would have.",
    "rank shift": "A component's place in the adversarial example's map minus its place in the original's: "
    "positive means that it moved down.",
    "published, canonical convention": "LRP as the paper's released code computes it, and as the literature "
    "defines it.",
    "not finite, all zero": "A map with an overflow or a division by zero, or with no relevance anywhere; "
    "counted, and left out of all statistics.",
}


def figures(results: Results, facts: StudyFacts) -> list[Figure]:
    """The figures of the section; of a study without a pair to show, there is no example."""
    rows = [Row(((word, 1),), (Cell(text, css="text"),)) for word, text in WORDS.items()]
    table = Table(("word", "meaning"), rows)
    glossary = Figure("glossary", "Words", "", "As this page uses them.", [Panel(table=table)])
    example = _example(results["map_gallery"], facts)
    cite = Figure(
        "cite",
        "How to cite",
        "",
        "The paper whose experiment this repeats, and this study, as BibTeX.",
        [Panel(text=f"{PAPER}\n\n{_study_entry(facts)}")],
    )
    return [glossary, *([example] if example else []), cite]


def _example(maps: pl.DataFrame, facts: StudyFacts) -> Figure | None:
    from reports.charts.agreement import example_ranks, rank_slopes

    maps = facts.in_order(maps.filter(pl.col("status") == "ok"))
    for method in method_order(maps["method"]):
        of_method = maps.filter(pl.col("method") == method)
        for row in of_method.filter(pl.col("subject") != ORIGINAL).iter_rows(named=True):
            same = {key: row[key] for key in ("attack", "image_id")}
            originals = of_method.filter(pl.col("subject") == ORIGINAL, **same)
            if originals.is_empty():
                continue
            original, adversarial = (np.asarray(r["relevance"]) for r in (originals.row(0, named=True), row))
            top = min(TOP, len(original))
            ranks = example_ranks(original, adversarial, row["width"], row["channels"], top)
            stayed = ranks.filter(pl.col("adversarial") <= top).height
            said = (
                f"Image {row['image_id']} ({facts.class_name(row['label'])}) and its adversarial example "
                f"towards {facts.class_name(row['target'])} ({row['attack']}), {full_name(method)}: the "
                f"{plural(top, 'component')} most relevant in the original's map, and where among all "
                f"{count(len(original))} they stand in the other map; {count(stayed) if stayed else 'none'} "
                f"of them are among its first {top}. A component's rank shift is its place on the right less "
                "that on the left."
            )
            title = "How a rank shift is made (Fig. 4)"
            return Figure("rank-shift-example", title, "map_gallery", said, [Panel(chart=rank_slopes(ranks))])
    return None


def _study_entry(facts: StudyFacts) -> str:
    note = "; ".join(f"{name}: {value}" for name, value in facts.settings.items())
    fields = {
        "title": facts.title or facts.name,
        "note": note,
        "howpublished": f"Relevance Lake {facts.versions.get('relevance-lake', '')}".strip(),
    }
    lines = ",\n".join(_field(name, value) for name, value in fields.items() if value)
    key = "".join(c if c.isalnum() else "-" for c in facts.name)
    return f"@misc{{{key},\n{lines}\n}}"


def _field(name: str, value: str) -> str:
    start = f"  {name} = {{"
    return fill(_plain(value) + "}", 88, initial_indent=start, subsequent_indent=" " * len(start))


def _plain(text: str) -> str:
    """Without what BibTeX takes for structure."""
    return (
        "".join(c for c in text if c not in "{}\\")
        .replace("_", r"\_")
        .replace("%", r"\%")
        .replace("&", r"\&")
    )
