"""Attack: adversarial examples of the correctly classified images, towards every other class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compute.attacks import lbfgs
from flows import networks
from flows.ingest import image_shape, read_images
from flows.lake import Lake, Partition
from flows.plan import Plan
from flows.progress import track
from flows.study import Study
from flows.vectors import table_of
from flows.versions import recorded
from sql.tables import ADVERSARIALS, ATTACKS

FIELDS = (
    "status", "target_probability", "l1", "l2", "linf", "c", "iterations", "gradient_calls", "forward_calls",
)  # fmt: skip


def missing_shards(study: Study, lake: Lake) -> list[tuple[str, int]]:
    """(attack id, shard) of the shards with a partition to make."""
    plan = Plan(study, lake)
    chosen = plan.chosen()
    missing = []
    for attack in study.attacks:
        for shard in chosen.shards():
            found = [lake.find(p) is not None for p in plan.adversarials(attack, shard, chosen)]
            lake.skipped += sum(found)
            if not all(found):
                missing.append((attack.id, shard))
        lake.write_entity(ATTACKS, {"attack": attack.id, **attack.parameters.as_row()})
    return missing


def attack_shard(study: Study, lake: Lake, attack_id: str, shard: int) -> None:
    """Make the missing partitions of a shard, all targets in one stream of full batches."""
    plan, attack = Plan(study, lake), study.attack(attack_id)
    chosen = plan.chosen()
    wanted = [p for p in plan.adversarials(attack, shard, chosen) if not lake.find(p)]
    images, inside = read_images(study, lake, shard), chosen.in_shard(shard)
    pairs = [(p, int(i)) for p in wanted for i in np.flatnonzero(inside.label != dict(p.keys)["target"])]
    shape, classes = image_shape(study, lake), len(plan.class_names())
    network = networks.load(study.model.file, shape, classes, study.model.weights)
    evaluate = network.evaluator(attack.parameters.logits)
    results: dict[int, lbfgs.AttackResult] = {}
    awaited = {partition: partition.rows for partition in wanted}
    successes = 0
    with track(f"{attack_id}, shard {shard}", len(pairs), "pairs") as advance:

        def keep(index: int, result: lbfgs.AttackResult) -> None:
            """A partition is written as soon as its last pair is done."""
            nonlocal successes
            results[index] = result
            successes += result.status == "success"
            advance(1, f"{successes / len(results):.1%} successful")
            partition = pairs[index][0]
            awaited[partition] -= 1
            if not awaited[partition]:
                rows = [(i, results[n]) for n, (p, i) in enumerate(pairs) if p is partition]
                _write(study, lake, partition, inside.image_id, inside.label, rows)

        lbfgs.attack(
            evaluate,
            images.of(inside.image_id[[i for _, i in pairs]]),
            np.array([dict(p.keys)["target"] for p, _ in pairs], np.int64),
            attack.parameters,
            study.batch_size,
            keep,
        )


def _write(
    study: Study,
    lake: Lake,
    partition: Partition,
    image_id: np.ndarray,
    label: np.ndarray,
    rows: Sequence[tuple[int, lbfgs.AttackResult]],
) -> None:
    places, results = [i for i, _ in rows], [result for _, result in rows]
    columns = {name: np.array([getattr(result, name) for result in results]) for name in FIELDS}
    columns["image_id"], columns["label"] = image_id[places], label[places]
    columns["pixels"] = np.stack([result.pixels for result in results])
    columns["logits"] = np.stack([result.logits for result in results])
    lake.write(partition, table_of(ADVERSARIALS, columns), recorded(study))
