"""What a flow run shows on its page in Prefect: how far it is, what the lake holds, success by class, report.

They are shown beside the work and are no part of it: one that cannot be made is noted in the run's log, and
the run goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.counts import Step
from flows.lake import Lake
from flows.plan import Plan
from flows.run_log import note
from flows.study import Study
from flows.summary import totals


@contextmanager
def progress(study: str, step: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar of a step's pieces of work; yields `advance()`."""
    from prefect.artifacts import create_progress_artifact, update_progress_artifact

    done, said = 0, f"{step} of {study}"
    key = _key(study, step)
    artifact = _try(key, create_progress_artifact, 0.0, key=key, description=said) if total else None

    def advance() -> None:
        nonlocal done, artifact
        done += 1
        if artifact is not None:
            description = f"{said}: {done} of {total}"
            artifact = _try(key, update_progress_artifact, artifact, 100 * done / total, description)

    yield advance


def show_outcome(study: Study, lake: Lake, steps: Sequence[Step]) -> None:
    """Summary and success by class, of a run that is through."""
    from prefect.artifacts import create_markdown_artifact

    def show(what: str, text: Callable[[], str], description: str) -> None:
        key = _key(study.name, what)
        _try(key, lambda: create_markdown_artifact(text(), key=key, description=description))

    show("summary", lambda: summary(study, lake, steps), f"what {lake.url} holds of {study.name}")
    by_class = "share of the images of a label (row) that an attack brought to a target (column)"
    show("success", lambda: success_matrices(study, lake), by_class)


def link_report(study: Study, path: str) -> None:
    """A link to a report that was written."""
    from prefect.artifacts import create_link_artifact

    key = _key(study.name, "report")

    def make() -> Any:
        link = path if "://" in path else Path(path).as_uri()
        return create_link_artifact(link, link_text=path.rpartition("/")[2], key=key, description=path)

    _try(key, make)


def summary(study: Study, lake: Lake, steps: Sequence[Step]) -> str:
    """Markdown: what the lake holds of a study, and what this run wrote."""
    rows = [
        (name, f"{found.present:,}", f"{found.rows_present:,.0f}")
        for name, found in totals(study, lake).items()
    ]
    held = _table(("table", "partitions", "rows"), rows)
    done = [
        (
            step.name,
            f"{step.counts.written:,}",
            f"{step.counts.bytes / 1e6:,.1f}",
            f"{step.counts.seconds:,.1f}",
            ", ".join(
                f"{rate:,.3g} {name.replace('_a_second', '/s')}" for name, rate in step.counts.rates().items()
            ),
        )
        for step in steps
        if step.counts.seconds  # done
    ]
    wrote = _table(("step", "files written", "MB", "seconds", "rate"), done)
    return f"## {study.name} in {lake.url}\n\n{held}\n\n### This run\n\n{wrote}\n"


def success_matrices(study: Study, lake: Lake) -> str:
    """Markdown: of each attack the success rate from every label to every target, in percent."""
    columns = ["attack", "label", "target", "success_rate"]
    stored = lake.read(f"results/attack_summary/{study.name}.parquet", columns).to_pylist()
    names = Plan(study, lake).class_names()
    parts = []
    for attack in dict.fromkeys(row["attack"] for row in stored):
        rates = {(r["label"], r["target"]): r["success_rate"] for r in stored if r["attack"] == attack}
        rows = [
            (label, *(f"{100 * rates[n, m]:.0f}" if (n, m) in rates else "" for m in range(len(names))))
            for n, label in enumerate(names)
        ]
        parts.append(f"### {attack}: success in %\n\n{_table(('label', *names), rows)}\n")
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '-') for cell in line)} |" for line in lines)


def _key(study: str, what: str) -> str:
    """A key as Prefect takes it; artifacts of one key are versions of each other."""
    return re.sub("[^a-z0-9]+", "-", f"{study}-{what}".lower()).strip("-")


def _try(artifact: str, make: Callable[..., Any], *given: Any, **named: Any) -> Any:
    try:
        return make(*given, **named)
    except (
        Exception
    ) as error:  # a server that is gone, a result that is not there: whatever it is, the run goes on
        note("fault", what=f"artifact {artifact}", error=f"{type(error).__name__}: {error}")
        return None
