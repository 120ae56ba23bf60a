"""Explain: relevance maps of originals and of successful adversarial examples."""

from __future__ import annotations

import numpy as np

from compute.ranking import finish_maps
from flows import networks
from flows.ingest import image_shape, read_images
from flows.lake import Lake, Partition
from flows.plan import ORIGINAL, Plan
from flows.progress import track
from flows.study import Study
from flows.vectors import matrix, table_of
from flows.versions import recorded
from sql.tables import METHODS, RELEVANCE

ABSORBED = ("absorbed_bias", "absorbed_stabiliser", "absorbed_empty")

Unit = tuple[str, int | None, int]
"""(subject, target or None, shard): images that one pass through the network explains by all methods."""


def missing_units(study: Study, lake: Lake) -> list[Unit]:
    """The units with a partition to make."""
    plan = Plan(study, lake)
    missing = []
    for unit in _units(plan):
        wanted = _partitions(plan, unit)
        found = [lake.find(partition) is not None for partition in wanted]
        lake.skipped += sum(found)
        if not all(found):
            missing.append(unit)
    for method in study.parsed_methods():
        lake.write_entity(METHODS, method.as_row())
    return missing


def _units(plan: Plan) -> list[Unit]:
    chosen = plan.chosen()
    units: list[Unit] = [(ORIGINAL, None, shard) for shard in chosen.shards()]
    for attack in plan.study.attacks:
        for shard in chosen.shards():
            for partition in plan.adversarials(attack, shard, chosen):
                units.append((attack.id, int(dict(partition.keys)["target"] or 0), shard))
    return units


def _examples(plan: Plan, unit: Unit) -> tuple[str, np.ndarray]:
    """Path of the unit's adversarials and the rows of it whose maps are wanted."""
    subject, target, shard = unit
    chosen = plan.chosen()
    for partition in plan.adversarials(plan.study.attack(subject), shard, chosen):
        if dict(partition.keys)["target"] == target:
            path = plan.lake.find(partition)
            if path is None:
                raise RuntimeError(f"{partition.file} is not in the lake: the attack comes first")
            return path, plan.successes(path, chosen)
    raise RuntimeError(f"shard {shard} has no pair with target {target}")


def _partitions(plan: Plan, unit: Unit) -> list[Partition]:
    subject, target, shard = unit
    methods = plan.study.parsed_methods()
    if target is None:
        chosen = plan.chosen()
        return [plan.original_maps(method, shard, chosen) for method in methods]
    attack, (_, rows) = plan.study.attack(subject), _examples(plan, unit)
    if not len(rows):
        return []
    return [plan.adversarial_maps(method, attack, target, shard, len(rows)) for method in methods]


def explain_unit(study: Study, lake: Lake, unit: Unit) -> None:
    """Make the unit's missing partitions: one forward pass serves all their methods."""
    plan = Plan(study, lake)
    subject, target, shard = unit
    wanted = [p for p in _partitions(plan, unit) if not lake.find(p)]
    names = {dict(p.keys)["method"] for p in wanted}
    methods = tuple(method for method in study.parsed_methods() if method.id in names)
    shape = image_shape(study, lake)
    if target is None:
        chosen = plan.chosen()
        inside = chosen.in_shard(shard)
        image_id, label, classes = inside.image_id, inside.label, inside.label
        images = read_images(study, lake, shard).of(image_id)
    else:
        path, rows = _examples(plan, unit)
        table = lake.read(path, ["image_id", "label", "pixels"]).take(rows)
        image_id, label = (np.asarray(table[name]).astype(np.int64) for name in ("image_id", "label"))
        classes = np.full(len(label), target)
        images = matrix(table["pixels"]).reshape(-1, *shape)
    network = networks.load(study.model.file, shape, len(plan.class_names()), study.model.weights)
    explainer = network.explainer(methods, study.batch_size)
    name = f"maps of {subject}" + ("" if target is None else f", target {target}") + f", shard {shard}"
    with track(name, len(images) * len(methods), "maps") as advance:
        seen = 0

        def count(done: int, total: int) -> None:
            nonlocal seen
            advance((done - seen) * len(methods))
            seen = done

        raw = explainer.explain(images, classes, count)
    for partition in wanted:
        maps = raw[str(dict(partition.keys)["method"])]
        finished = finish_maps(maps.relevance)
        missing = ~finished.ok
        columns = {
            "image_id": image_id, "label": label, "explained_class": classes, "start": maps.start,
            "scale": finished.scale, "status": finished.status, "relevance": finished.relevance,
            "rank": finished.rank, "ties_at_31": finished.ties_at_31, "ties_at_307": finished.ties_at_307,
            "relevance_sum": maps.relevance.sum(axis=1, dtype=np.float64),
        }  # fmt: skip
        absorbed = {name: getattr(maps, name) for name in ABSORBED}
        nulls: dict[str, np.ndarray] = dict.fromkeys(("rank", "ties_at_31", "ties_at_307"), missing)
        nulls["scale"] = finished.status == "non_finite"
        nulls |= {name: np.isnan(values) for name, values in absorbed.items()}
        lake.write(partition, table_of(RELEVANCE, columns | absorbed, nulls), recorded(study))
