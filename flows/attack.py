"""Attack: adversarial examples of the correctly classified images, towards every other class, or imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compute.attacks import lbfgs
from compute.attacks.imported import Imported, judge, read_pixels
from compute.attacks.result import AttackResult
from flows import networks
from flows.ingest import image_shape, read_images
from flows.lake import Lake, Partition
from flows.plan import Plan
from flows.progress import console, track
from flows.study import AttackSection, Study
from flows.vectors import table_of
from flows.versions import recorded
from sql.tables import ADVERSARIALS, ATTACKS, IMPORTS

MEASURED = ("status", "target_probability", "l1", "l2", "linf")
SPENT = ("c", "iterations", "gradient_calls", "forward_calls")
"""Columns that only a search has."""


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
        if isinstance(attack.parameters, Imported):
            pairing = plan.pairing(attack)
            _record(lake, pairing.as_row(study.dataset.id, study.model.id, attack.id))
            console.print(f"{attack.id}: {pairing.sentence()}", highlight=False, soft_wrap=True)
    return missing


def _record(lake: Lake, row: dict[str, Any]) -> None:
    """Write the row of an import, once: files that are no examples may come and go beside these."""
    path = f"{IMPORTS.name}/{row['import_id']}.parquet"
    if (
        not lake.exists(path)
        or lake.read(path, ["fingerprint"])["fingerprint"][0].as_py() != row["fingerprint"]
    ):
        lake.write_entity(IMPORTS, row)


def attack_shard(study: Study, lake: Lake, attack_id: str, shard: int) -> None:
    """Make the missing partitions of a shard."""
    plan, attack = Plan(study, lake), study.attack(attack_id)
    chosen = plan.chosen()
    wanted = [p for p in plan.adversarials(attack, shard, chosen) if not lake.find(p)]
    if not wanted:
        return
    if isinstance(attack.parameters, Imported):
        _import(plan, attack, shard, wanted)
    else:
        _search(plan, attack, attack.parameters, shard, wanted)


def _import(plan: Plan, attack: AttackSection, shard: int, wanted: Sequence[Partition]) -> None:
    """Measure the delivered images of a shard, and let the network judge them."""
    study, lake, pairing = plan.study, plan.lake, plan.pairing(attack)
    images, inside = read_images(study, lake, shard), plan.chosen().in_shard(shard)
    targets = [int(dict(partition.keys)["target"] or 0) for partition in wanted]
    places = [np.flatnonzero(plan.attacked(attack, target, inside)) for target in targets]
    files = [pairing.files(target, inside.image_id[of]) for target, of in zip(targets, places, strict=True)]
    with track(f"{attack.id}, shard {shard}", sum(map(len, files)), "files") as advance:
        pixels = read_pixels(path for paths in files for path in paths).astype(np.float32) / np.float32(255)
        logits = _network(plan).logits(pixels, study.batch_size, advance)
    first = 0
    for partition, target, of in zip(wanted, targets, places, strict=True):
        rows, image_id = slice(first, first + len(of)), inside.image_id[of]
        own = {"image_id": image_id, "label": inside.label[of], "logits": logits[rows]}
        own["pixels"] = pixels[rows].reshape(len(of), -1)
        originals = images.of(image_id).reshape(len(of), -1)
        columns = own | judge(own["pixels"], originals, own["logits"], np.full(len(of), target))
        unknown: dict[str, np.ndarray] = dict.fromkeys(SPENT, np.ones(len(of), bool))
        columns |= dict.fromkeys(SPENT, np.zeros(len(of)))
        lake.write(partition, table_of(ADVERSARIALS, columns, unknown), recorded(study))
        first += len(of)


def _network(plan: Plan) -> networks.Network:
    return networks.of_study(plan.study, image_shape(plan.study, plan.lake), len(plan.class_names()))


def _search(
    plan: Plan, attack: AttackSection, parameters: lbfgs.LBFGS, shard: int, wanted: Sequence[Partition]
) -> None:
    """Search adversarial examples, all targets in one stream of full batches."""
    study, lake = plan.study, plan.lake
    images, inside = read_images(study, lake, shard), plan.chosen().in_shard(shard)
    pairs = [
        (p, int(i))
        for p in wanted
        for i in np.flatnonzero(plan.attacked(attack, int(dict(p.keys)["target"] or 0), inside))
    ]
    evaluate = _network(plan).evaluator(parameters.logits)
    results: dict[int, AttackResult] = {}
    awaited = {partition: partition.rows for partition in wanted}
    successes = 0
    with track(f"{attack.id}, shard {shard}", len(pairs), "pairs") as advance:

        def keep(index: int, result: AttackResult) -> None:
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
            parameters,
            study.batch_size,
            keep,
        )


def _write(
    study: Study,
    lake: Lake,
    partition: Partition,
    image_id: np.ndarray,
    label: np.ndarray,
    rows: Sequence[tuple[int, AttackResult]],
) -> None:
    places, results = [i for i, _ in rows], [result for _, result in rows]
    columns = {name: np.array([getattr(result, name) for result in results]) for name in (*MEASURED, *SPENT)}
    columns["image_id"], columns["label"] = image_id[places], label[places]
    columns["pixels"] = np.stack([result.pixels for result in results])
    columns["logits"] = np.stack([result.logits for result in results])
    lake.write(partition, table_of(ADVERSARIALS, columns), recorded(study))
