"""Which maps a study wants, shard by shard and target by target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compute.methods import Method
from flows.errors import UserError
from flows.lake import Lake, Partition
from flows.plan import ORIGINAL, Plan

Unit = tuple[str, int]
"""(subject, shard)"""


@dataclass(frozen=True)
class Target:
    """Images of a shard that are explained for their label, or for a target.

    partitions: by method, all that the study wants, or those that the lake lacks.
    explains: label or target. target: of the examples, or of the question; None: originals and their label.
    examples: path of the adversarials and the rows of it whose maps are wanted; None: originals.
    """

    shard: int
    partitions: dict[Method, Partition]
    explains: str = "label"
    target: int | None = None
    examples: tuple[str, np.ndarray] | None = None

    def lacking(self, lake: Lake) -> Target:
        """The same with what is not in the lake yet."""
        missing = {method: p for method, p in self.partitions.items() if not lake.find(p)}
        return replace(self, partitions=missing)


def units_of(plan: Plan) -> list[Unit]:
    """Subjects and shards of a study; predictions must be in the lake."""
    if not plan.has_randomisations():
        raise RuntimeError("randomised networks of the sanity check are not in the lake: ingest comes first")
    subjects = (ORIGINAL, *plan.randomisations, *(attack.id for attack in plan.study.subjects))
    return [(subject, shard) for subject in subjects for shard in plan.chosen().shards()]


def targets_of(plan: Plan, unit: Unit, methods: Sequence[Method]) -> list[Target]:
    """What is wanted of a unit by these methods; adversarial examples must be in the lake."""
    subject, shard = unit
    chosen = plan.chosen()
    if subject == ORIGINAL:
        own = Target(shard, {method: plan.original_maps(method, shard, chosen) for method in methods})
        questions = [
            Target(shard, {m: plan.question_maps(m, t, shard, chosen) for m in methods}, "target", t)
            for t in plan.questions(shard, chosen)
        ]
        return [own, *questions]
    if subject in plan.randomisations:
        return [Target(shard, {m: plan.randomised_maps(m, subject, shard, chosen) for m in methods})]
    attack, targets = plan.study.attack(subject), []
    for partition in plan.adversarials(attack, shard, chosen):
        path = plan.lake.find(partition)
        if path is None:
            raise RuntimeError(f"{partition.file} is not in the lake: the attack comes first")
        aimed = partition.aimed
        for explains, rows in plan.explained(attack, path, chosen).items():
            wanted = {m: plan.adversarial_maps(m, attack, explains, aimed, shard, len(rows)) for m in methods}
            targets.append(Target(shard, wanted, explains, aimed, (path, rows)))
    return targets


def to_import(plan: Plan) -> list[str]:
    """Which maps of the study are still to be imported, a sentence by method."""
    maps: dict[str, dict[str, int]] = {}
    imported = {method.id for method in plan.study.parsed_methods() if method.is_imported}
    for partition in plan.known() if imported else ():
        keys = dict(partition.keys)
        if partition.table == "relevance" and keys["method"] in imported and not plan.lake.find(partition):
            of_method, subject = maps.setdefault(str(keys["method"]), {}), str(keys["subject"])
            of_method[subject] = of_method.get(subject, 0) + partition.rows
    return [
        f"{method}: maps are still to be imported, "
        + ", ".join(f"{count:,} of {subject}" for subject, count in counts.items())
        for method, counts in maps.items()
    ]


def require_imported(plan: Plan) -> None:
    """UserError where maps of the study are still to be imported."""
    if lacking := to_import(plan):
        raise UserError(f"{'; '.join(lacking)}: bring them by `relevance-lake import-maps`, then run again")
