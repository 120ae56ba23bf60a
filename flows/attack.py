"""Attack: adversarial examples of the correctly classified images, or those that were imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compute.attacks import controls, registry
from compute.attacks.controls import Control
from compute.attacks.imported import Imported, judge, read_pixels
from compute.attacks.result import AttackResult
from flows import networks
from flows.force import drop_maps_of_others, require_replaceable
from flows.ingest import image_shape, read_images
from flows.lake import Lake, Partition
from flows.pieces import Piece
from flows.plan import CONTROLS, Plan
from flows.progress import console, track
from flows.study import AttackSection, Study
from flows.vectors import matrix, table_of
from flows.versions import recorded
from sql.tables import ADVERSARIALS, ATTACKS, IMPORTS

if TYPE_CHECKING:
    from compute.attacks.foolbox_attacks import Pool

POOL = 100
"""Images of each class that an attack may start from: the first that are correctly classified."""


def missing_shards(study: Study, lake: Lake, force: bool = False) -> list[tuple[str, int]]:
    """(attack id, shard) of the shards with a partition to make, controls behind their attacks."""
    return [(piece.name, piece.shard) for stage in missing(study, lake, force) for piece in stage]


def missing(study: Study, lake: Lake, force: bool = False) -> tuple[list[Piece], list[Piece]]:
    """What lacks of attacks, and what lacks of controls, which need the attacks' examples; `force`: all."""
    plan = Plan(study, lake)
    chosen = plan.chosen()
    planned = {
        attack.id: {shard: plan.adversarials(attack, shard, chosen) for shard in chosen.shards()}
        for attack in study.subjects
    }
    lake.look_up(p for shards in planned.values() for wanted in shards.values() for p in wanted)
    attacks: list[Piece] = []
    controlling: list[Piece] = []
    for attack in study.subjects:
        for shard, wanted in planned[attack.id].items():
            if force:
                require_replaceable(lake, wanted)
            lacking = [p for p in wanted if force or lake.find(p) is None]
            lake.skipped += len(wanted) - len(lacking)
            if lacking:
                stage = controlling if isinstance(attack.parameters, CONTROLS) else attacks
                stage.append(Piece(attack.id, shard, _images(attack, lacking)))
        lake.write_entity(ATTACKS, {"attack": attack.id, **attack.parameters.as_row()})
        if isinstance(attack.parameters, Imported):
            pairing = plan.pairing(attack)
            _record(lake, pairing.as_row(study.dataset.id, study.model.id, attack.id))
            console.print(f"{attack.id}: {pairing.sentence()}", highlight=False, soft_wrap=True)
    return attacks, controlling


def _images(attack: AttackSection, lacking: Sequence[Partition]) -> dict[int | None, int]:
    """Images to attack by target; an untargeted attack goes through all classes at once."""
    if not registry.is_targeted(attack.parameters):
        return {None: lacking[0].rows}
    return {partition.aimed: partition.rows for partition in lacking}


def _record(lake: Lake, row: dict[str, Any]) -> None:
    """Write the row of an import, once: files that are no examples may come and go beside these."""
    path = f"{IMPORTS.name}/{row['import_id']}.parquet"
    if (
        not lake.exists(path)
        or lake.read(path, ["fingerprint"])["fingerprint"][0].as_py() != row["fingerprint"]
    ):
        lake.write_entity(IMPORTS, row)


def attack_shard(
    study: Study,
    lake: Lake,
    attack_id: str,
    shard: int,
    targets: Collection[int | None] | None = None,
    force: bool = False,
) -> None:
    """Make the missing partitions of a shard, with `force` all, towards all targets or some of them."""
    plan, attack = Plan(study, lake), study.attack(attack_id)
    chosen = plan.chosen()
    wanted = [
        p
        for p in plan.adversarials(attack, shard, chosen)
        if (targets is None or p.aimed in targets) and (force or not lake.find(p))
    ]
    if not wanted:
        return
    if isinstance(attack.parameters, Imported):
        _import(plan, attack, shard, wanted)
    elif isinstance(attack.parameters, CONTROLS):
        _control(plan, attack, attack.parameters, shard, wanted)
    else:
        _search(plan, attack, attack.parameters, shard, wanted)


def _import(plan: Plan, attack: AttackSection, shard: int, wanted: Sequence[Partition]) -> None:
    """Measure the delivered images of a shard, and let the network judge them."""
    study, pairing = plan.study, plan.pairing(attack)
    images, inside = read_images(study, plan.lake, shard), plan.chosen().in_shard(shard)
    targets = [partition.aimed for partition in wanted]
    places = [np.flatnonzero(plan.attacked(attack, target, inside)) for target in targets]
    files = [pairing.files(target, inside.image_id[of]) for target, of in zip(targets, places, strict=True)]
    with track(f"{attack.id}, shard {shard}", sum(map(len, files)), "files") as advance:
        pixels = read_pixels(path for paths in files for path in paths).astype(np.float32) / np.float32(255)
        logits = _network(plan).logits(pixels, networks.batch_size(study), advance)
    first = 0
    for partition, target, of in zip(wanted, targets, places, strict=True):
        rows = slice(first, first + len(of))
        originals = images.of(inside.image_id[of])
        results = judge(pixels[rows], originals, logits[rows], np.full(len(of), target))
        _write(plan, partition, inside.image_id[of], inside.label[of], results)
        first += len(of)


def _control(
    plan: Plan, control: AttackSection, parameters: Control, shard: int, wanted: Sequence[Partition]
) -> None:
    """Make the controls of a shard's pairs, target by target; the attack comes first."""
    images, chosen = read_images(plan.study, plan.lake, shard), plan.chosen()
    network = _network(plan)
    attacked = {
        partition.aimed: partition
        for partition in plan.adversarials(plan.study.attack(parameters.of), shard, chosen)
    }
    with track(f"{control.id}, shard {shard}", sum(p.rows for p in wanted), "pairs") as advance:
        for partition in wanted:
            path = plan.lake.find(attacked[partition.aimed])
            if path is None:
                raise RuntimeError(
                    f"{attacked[partition.aimed].file} is not in the lake: the attack comes first"
                )
            rows = plan.lake.read(path, ["image_id", "label", "status", "pixels"])
            image_id, label = (np.asarray(rows[name]).astype(np.int64) for name in ("image_id", "label"))
            inside = np.isin(image_id, chosen.image_id)
            image_id, label = image_id[inside], label[inside]
            originals = images.of(image_id)
            pairs = controls.Attacked(
                image_id,
                label,
                np.full(len(label), partition.aimed),
                originals,
                matrix(rows["pixels"])[inside].reshape(originals.shape),
                np.asarray(rows["status"])[inside] == "success",
            )
            results = controls.make(
                parameters, control.id, pairs, lambda x: network.logits(x, networks.batch_size(plan.study))
            )
            _write(plan, partition, image_id, label, results)
            advance(len(results))


def _network(plan: Plan) -> networks.Network:
    return networks.of_study(plan.study, image_shape(plan.study, plan.lake), len(plan.class_names()))


def _search(
    plan: Plan,
    attack: AttackSection,
    parameters: registry.Searched,
    shard: int,
    wanted: Sequence[Partition],
) -> None:
    """Search adversarial examples, all targets in one stream of full batches.

    A partition is written as soon as its last pair is done; of an untargeted attack all are written at
    the end, each with the images that came to its class.
    """
    images, inside = read_images(plan.study, plan.lake, shard), plan.chosen().in_shard(shard)
    targeted = registry.is_targeted(parameters)
    if targeted:
        pairs = [(p, int(i)) for p in wanted for i in np.flatnonzero(plan.attacked(attack, p.aimed, inside))]
        classes = np.array([p.aimed for p, _ in pairs], np.int64)
    else:
        pairs, classes = [(None, i) for i in range(len(inside.label))], inside.label
    results: dict[int, AttackResult] = {}
    awaited = {partition: partition.rows for partition in wanted}
    successes = 0
    unit = "pairs" if targeted else "images"
    with track(f"{attack.id}, shard {shard}", len(pairs), unit) as advance:

        def write(partition: Partition, done: Sequence[int]) -> None:
            places = [pairs[n][1] for n in done]
            _write(plan, partition, inside.image_id[places], inside.label[places], [results[n] for n in done])

        def keep(index: int, result: AttackResult) -> None:
            nonlocal successes
            results[index] = result
            successes += result.status == "success"
            advance(1, f"{successes / len(results):.1%} successful")
            partition = pairs[index][0]
            if partition is not None:
                awaited[partition] -= 1
                if not awaited[partition]:
                    write(partition, [n for n, (p, _) in enumerate(pairs) if p is partition])

        registry.run(
            _network(plan),
            images.of(inside.image_id[[i for _, i in pairs]]),
            classes,
            parameters,
            networks.batch_size(plan.study),
            keep,
            _pool(plan) if registry.needs_pool(parameters) else None,
        )
        for partition in () if targeted else wanted:
            write(partition, [n for n in range(len(pairs)) if results[n].target == partition.aimed])


def _pool(plan: Plan) -> Pool:
    """Correctly classified images of every class, whatever the study's limit: one result for all limits."""
    from compute.attacks.foolbox_attacks import Pool

    first = plan.first_of_each_class(POOL)
    shards = [
        read_images(plan.study, plan.lake, int(shard)).of(first.in_shard(int(shard)).image_id)
        for shard in first.shards()
    ]
    return Pool(np.concatenate(shards), first.label)


def _write(
    plan: Plan, partition: Partition, image_id: np.ndarray, label: np.ndarray, results: Sequence[AttackResult]
) -> None:
    """Write rows of `adversarials`; there may be none."""
    components, classes = int(np.prod(image_shape(plan.study, plan.lake))), len(plan.class_names())
    columns: dict[str, Any] = {"image_id": image_id, "label": label}
    for name in (column.name for column in ADVERSARIALS.columns if column.name not in columns):
        columns[name] = [getattr(result, name) for result in results]
    for name, length in (("pixels", components), ("logits", classes)):
        columns[name] = np.array(columns[name], np.float32).reshape(-1, length)
    table = table_of(ADVERSARIALS, columns)
    drop_maps_of_others(plan.lake, partition, table)
    plan.lake.write(partition, table, recorded(plan.study))
