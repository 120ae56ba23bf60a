"""What both galleries share: a reader picks label and target, and sees the sampled pairs that have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from reports.results import StudyFacts

ANY = -1
"""What a picker of classes stands at before a class is picked."""


def class_pickers(pairs: pl.DataFrame, facts: StudyFacts) -> list[alt.Parameter]:
    """Pickers of label and target, with the classes that `pairs` has (columns label, target)."""
    return [_class_picker(name, sorted(set(pairs[name])), facts) for name in ("label", "target")]


def picker(name: str, options: Sequence[Any], labels: Sequence[str]) -> alt.Parameter:
    """A list to pick from, which stands at its first option; charts read the parameter `name`."""
    bind = alt.binding_select(options=list(options), labels=list(labels), name=f"{name.capitalize()} ")
    return alt.param(name=name, value=options[0], bind=bind)


def _class_picker(name: str, classes: list[int], facts: StudyFacts) -> alt.Parameter:
    return picker(name, [ANY, *classes], ["any", *(facts.class_name(index) for index in classes)])


def picked(pairs: pl.DataFrame, first: int) -> str:
    """Vega expression: whether a row (place, label, target) is of a pair to show.

    Before a class is picked these are the first so many of `pairs` (column place).
    """
    last = max(sorted(pairs["place"])[:first], default=0)
    one = " && ".join(f"({n} == {ANY} || datum.{n} == {n})" for n in ("label", "target"))
    return f"label == {ANY} && target == {ANY} ? datum.place <= {last} : {one}"


def no_pair(pairs: pl.DataFrame) -> alt.Title:
    """A title that is there only where no pair of `pairs` has both classes that are picked."""
    known = json.dumps(sorted({f"{row['label']}/{row['target']}" for row in pairs.iter_rows(named=True)}))
    missing = f"label != {ANY} && target != {ANY} && indexof({known}, label + '/' + target) < 0"
    said = "No pair of this label and target is in the sample."
    return alt.Title(alt.ExprRef(f"{missing} ? '{said}' : ''"), anchor="start", fontWeight="normal")


def pair_texts(row: dict[str, Any], facts: StudyFacts) -> dict[str, Any]:
    """What tells the pair of a row (place, image_id, label, target) from others.

    `pair` is for people; `heading` has its lines apart, and the place before them: no two are the same.
    """
    label, target = facts.class_name(row["label"]), facts.class_name(row["target"])
    known = {name: row[name] for name in ("place", "label", "target")}
    image = f"image {row['image_id']}"
    return known | {
        "pair": f"{label} to {target}, {image}",
        "heading": "\n".join((str(row["place"]), label, f"to {target}", image)),
    }
