"""Small lakes for tests, written with pyarrow straight from the table contract.

A toy lake is first a dictionary of rows (so that oracles can compute from them with NumPy alone) and then
files. Its maps have ties, zeros, NaNs and whole zero maps; its attacks fail now and then; its partitions
hold one row or many.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sql.tables import ENTITIES, NULL_PARTITION, PARTITIONED, SHARD

Row = dict[str, Any]
Rows = dict[str, list[Row]]

DATASET, MODEL = "toy-test", "toy-model"
ATTACKS = ("lbfgs", "other-attack")
METHODS = ("lrp-0", "lrp-epsilon-0.01")


def band_size(share: float, n: int) -> int:
    """Components in a band, as the contract says: round(n * share), half up, at least 1."""
    return max(1, int(np.floor(n * share + 0.5)))


def stable_rank(values: np.ndarray) -> np.ndarray:
    """Place of each component in descending order, ties by component."""
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return rank


def ties_at(values: np.ndarray, k: int) -> int:
    """Other components that share the value at the k-th place."""
    return int((values == np.sort(values)[::-1][k - 1]).sum()) - 1


def map_columns(values: np.ndarray, logit: float | None = None) -> Row:
    """Columns of a relevance map that follow from its values, before division by the scale, and its logit."""
    n = len(values)
    sums = start_columns(values, logit)
    nothing = sums | {"ties_at_31": None, "ties_at_307": None, "rank": None}
    if not np.isfinite(values).all():
        return {"scale": np.float32(np.inf), "status": "non_finite", "relevance": values} | nothing
    scale = np.abs(values).max()
    if scale == 0:
        return {"scale": scale, "status": "zero", "relevance": values} | nothing
    scaled = (values / scale).astype(np.float32)
    return sums | {
        "scale": scale,
        "status": "ok",
        "relevance": scaled,
        "ties_at_31": ties_at(scaled, band_size(0.01, n)),
        "ties_at_307": ties_at(scaled, band_size(0.1, n)),
        "rank": stable_rank(scaled),
    }


def start_columns(values: np.ndarray, logit: float | None = None) -> Row:
    """Start, sum and absorbed relevance of a map: conserved, but for rounding; of every other unknown.

    `logit`: where it starts; None: wherever its parts add up to.
    """
    known = np.isfinite(values).all()
    total = values.sum(dtype=np.float64)
    absorbed = np.array(
        [0.5 * values[0], -0.125 * (values[1 % len(values)] > 0), values[2:9].sum() / 4], np.float64
    )
    if logit is None:
        start = np.float32(total + absorbed.sum() if known else values[-1])
    else:
        start = np.float32(logit)
        absorbed[2] = logit - total - absorbed[:2].sum()
    parts = absorbed.tolist() if known and np.round(values[0]) % 2 else [None] * 3
    names = ("absorbed_bias", "absorbed_stabiliser", "absorbed_empty")
    return {"start": start, "relevance_sum": float(total)} | dict(zip(names, parts, strict=True))


def random_map(rng: np.random.Generator, n: int, like: np.ndarray | None = None) -> np.ndarray:
    """One map: heavy-tailed; now and then coarse (many ties), sparse, all zero, or with a NaN."""
    values = rng.standard_t(2, n).astype(np.float32)
    if like is not None and np.isfinite(like).all() and like.any():
        values = (like / np.abs(like).max() + np.float32(0.05) * values).astype(np.float32)
    kind = rng.integers(8)
    if kind == 0:
        values = np.round(values).astype(np.float32)
        values[0] = 1
    elif kind == 1:
        values[rng.random(n) < 0.4] = 0
        values[values == 0] *= -1  # some zeros are -0.0
    elif kind == 2:
        values[:] = 0
    elif kind == 3:
        values[rng.integers(n)] = np.nan
    return values


MakeMap = Callable[[np.random.Generator, int, np.ndarray | None], np.ndarray]
"""Makes one map of n values; of an adversarial example it is given the original's too."""

OUTCOMES = {"success": 0.8, "failed": 0.1, "already_target": 0.1}
"""How often an attack of a toy lake ends in which way."""


def toy_rows(
    *,
    shape: tuple[int, int, int] = (4, 4, 3),
    image_ids: tuple[int, ...] = (0, 1, 2, 3, 5, 8, 13, 1001),
    classes: int = 4,
    attacks: tuple[str, ...] = ATTACKS,
    methods: tuple[str, ...] = METHODS,
    dataset: str = DATASET,
    model: str = MODEL,
    seed: int = 0,
    untargeted: tuple[str, ...] = (),
    make_map: MakeMap = random_map,
    outcomes: Mapping[str, Mapping[str, float]] | None = None,
) -> Rows:
    """The rows of a toy lake; every third image is misclassified, so not attacked.

    `outcomes` are the probabilities of the statuses of an attack's pairs, where they are not OUTCOMES.
    """
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    n = height * width * channels
    rows: Rows = {table.name: [] for table in PARTITIONED + ENTITIES}
    of_data = {"dataset": dataset}
    of_model = of_data | {"model": model}
    for place, image_id in enumerate(image_ids):
        label = int(rng.integers(classes))
        who = {"image_id": image_id, "label": label}
        size = {"height": height, "width": width, "channels": channels}
        rows["images"].append(of_data | who | size | {"pixels": rng.integers(0, 256, n)})
        correct = place % 3 != 2
        predicted = label if correct else (label + 1) % classes
        logits = rng.normal(size=classes).astype(np.float32)
        logits[predicted] = logits.max() + 1
        rows["predictions"].append(
            of_model | who | {"predicted": predicted, "correct": correct, "logits": logits}
        )
        if not correct:
            continue
        originals = {method: make_map(rng, n, None) for method in methods}
        explained = {"explained_class": label}
        for method, values in originals.items():
            keys = {"method": method, "subject": "original", "explains": "label", "target": None}
            rows["relevance"].append(
                of_model | keys | who | explained | map_columns(values, float(logits[label]))
            )
        for attack in attacks:
            targets = sorted(set(range(classes)) - {label})
            chances = (outcomes or {}).get(attack, OUTCOMES)
            for target in [int(rng.choice(targets))] if attack in untargeted else targets:
                status = rng.choice(list(chances), p=list(chances.values()))
                if attack in untargeted and status == "failed":
                    target = label  # the class that it kept
                pair = of_model | {"attack": attack, "target": target} | who
                result = adversarial_columns(rng, str(status), n, classes, target)
                rows["adversarials"].append(pair | result)
                if status != "success":
                    continue
                for method in methods:
                    keys = {"method": method, "subject": attack, "explains": "target", "target": target}
                    explained = {"explained_class": target}
                    values = map_columns(make_map(rng, n, originals[method]), float(result["logits"][target]))
                    rows["relevance"].append(of_model | keys | who | explained | values)
    names = {"datasets": (dataset,), "models": (model,), "attacks": attacks, "methods": methods}
    names["runs"] = ("20260102-r1",)
    for table in ENTITIES:
        first = table.columns[0].name
        rows[table.name] = [{first: name} for name in names.get(table.name, ())]
    for row in rows["attacks"]:
        row["algorithm"] = f"algorithm of {row['attack']}"
        row |= {"epsilon": None, "control_of": None, "fraction": None}
        row["targeted"] = row["attack"] not in untargeted
    pairs = sum(row["attack"] == attacks[-1] for row in rows["adversarials"])
    left_out = {"own_class": 3, "no_image": 1, "misclassified": 2, "wrong_size": 1, "unreadable": 1}
    ids = {"import_id": f"{dataset}.{model}.{attacks[-1]}", "attack": attacks[-1]}
    rows["imports"] = [of_model | ids | {"files": pairs + 12, "imported": pairs, "misnamed": 4} | left_out]
    return rows


def with_other_designs(rows: Rows) -> Rows:
    """The rest of the 2 x 2 design and controls of one attack beside the maps that the paper compares."""
    rng = np.random.default_rng(9)
    controls = {
        "noise-lbfgs": "noise",
        "reverse-lbfgs": "reverse",
        "path-0.25-lbfgs": "path",
        "path-0.5-lbfgs": "path",
        "darkened-lbfgs": "darkened",
        "round-lbfgs": "round",
        "floor-lbfgs": "floor",
    }
    for row in [row for row in rows["relevance"] if row["subject"] != "original"]:
        values = map_columns(rng.standard_t(2, len(row["relevance"])).astype(np.float32))
        rows["relevance"].append(row | values | {"explains": "label", "explained_class": row["label"]})
        asked = ("dataset", "model", "method", "target", "image_id")
        known = [r for r in rows["relevance"] if r["subject"] == "original" and r["explains"] == "target"]
        if not any(all(r[name] == row[name] for name in asked) for r in known):
            rows["relevance"].append(row | map_columns(-row["relevance"]) | {"subject": "original"})
    originals = [r for r in rows["relevance"] if (r["subject"], r["explains"]) == ("original", "label")]
    for model in [row["model"] for row in rows["models"]]:
        for depth in (1, 2):
            subject = f"randomised-{depth}"
            network = {"model": model, "subject": subject, "depth": depth, "of_depth": 2}
            network |= {"randomisation": f"{model}.{subject}", "layer": f"layer-{3 - depth}"}
            rows["randomisations"].append(network)
            for row in [row for row in originals if row["model"] == model]:
                like = row["relevance"] if depth == 1 else None
                values = map_columns(random_map(rng, len(row["relevance"]), like))
                rows["relevance"].append(row | values | {"subject": subject})
    turning = ("path", "round", "floor")
    pairs = [row for row in rows["adversarials"] if row["attack"] == "lbfgs" and row["status"] == "success"]
    maps = [r for r in rows["relevance"] if r["subject"] == "original" and r["explains"] == "label"]
    for name, algorithm in controls.items():
        fraction = float(name.split("-")[1]) if algorithm == "path" else None
        fraction = {"reverse": -1.0, "darkened": 0.44}.get(algorithm, fraction)
        known = {"fraction": fraction, "targeted": True, "epsilon": None}
        rows["attacks"].append({"attack": name, "algorithm": algorithm, "control_of": "lbfgs"} | known)
        for pair in pairs:
            kind = rng.integers(6)
            status = "failed" if kind == 0 else "success" if kind < 4 and algorithm in turning else "kept"
            made = {"attack": name, "status": status, "reason": "no luck" if status == "failed" else None}
            rows["adversarials"].append(pair | made)
            explains = "target" if status == "success" else "label"
            for row in maps if status != "failed" else ():
                if (row["dataset"], row["image_id"]) != (pair["dataset"], pair["image_id"]):
                    continue
                values = map_columns(random_map(rng, len(row["relevance"]), row["relevance"]))
                keys = {"subject": name, "explains": explains, "target": pair["target"]}
                explained = {"explained_class": pair[explains]}
                rows["relevance"].append(row | values | keys | explained)
    return rows


def with_nothing_left(rows: Rows) -> Rows:
    """Ties of probabilities, one method whose maps are all flagged, and one attack that always failed."""
    tie_probabilities(rows)
    for row in rows["adversarials"]:
        if row["attack"] == ATTACKS[1]:
            row |= {"status": "failed", "reason": "not sure"}
    rows["relevance"] = [row for row in rows["relevance"] if row["subject"] != ATTACKS[1]]
    for row in rows["relevance"]:
        if row["method"] == METHODS[1]:
            row |= map_columns(np.full(len(row["relevance"]), np.nan, np.float32))
    return rows


def adversarial_columns(rng: np.random.Generator, status: str, n: int, classes: int, target: int) -> Row:
    """Columns of one attacked pair, of random values; its classes follow from its logits."""
    numbers = {name: np.float32(rng.gamma(2.0)) for name in ("l1", "l2", "linf", "c")}
    calls = {name: int(rng.integers(1, 500)) for name in ("iterations", "gradient_calls", "forward_calls")}
    logits = rng.normal(size=classes).astype(np.float32)
    if status == "success":
        logits[target] = logits.max() + 1
    second = int(np.argmax(np.where(np.arange(classes) == target, -np.inf, logits)))
    probabilities = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    return (
        numbers
        | calls
        | {
            "status": status,
            "reason": str(rng.choice(["budget spent", "not sure"])) if status == "failed" else None,
            "pixels": rng.random(n).astype(np.float32),
            "logits": logits,
            "target_probability": np.float32(probabilities[target]),
            "second_class": second,
            "second_probability": np.float32(probabilities[second]),
        }
    )


def tie_probabilities(rows: Rows) -> None:
    """Round logits and probabilities of the attacked pairs, so that many are equal."""
    for row in rows["adversarials"]:
        row["logits"] = np.round(row["logits"])
        row["target_probability"] = np.round(row["target_probability"], 1)
        others = np.where(np.arange(len(row["logits"])) == row["target"], -np.inf, row["logits"])
        row["second_class"] = int(np.argmax(others))


def write_lake(root: Path, rows: Rows) -> Path:
    """Write `rows` as the files of a lake at `root`; returns `root`."""
    for table in PARTITIONED:
        partitions = defaultdict(list)
        for row in rows[table.name]:
            keys = tuple(row[key.name] for key in table.keys)
            partitions[keys, row["image_id"] // SHARD].append(row)
        for (keys, shard), members in partitions.items():
            parts = [
                f"{key.name}={NULL_PARTITION if value is None else value}"
                for key, value in zip(table.keys, keys, strict=True)
            ]
            first = shard * SHARD
            name = f"ids-{first}-{first + SHARD - 1}-rows-{len(members)}.parquet"
            write_file(root.joinpath(table.name, *parts, name), table, members)
    for table in ENTITIES:
        for row in rows[table.name]:
            filled = {column.name: _example(column.type) for column in table.columns} | row
            write_file(root / table.name / f"{row[table.columns[0].name]}.parquet", table, [filled])
    return root


def write_file(path: Path, table: Any, rows: list[Row]) -> None:
    """Write `rows` as one file of `table`."""
    components = len(rows[0].get("pixels", rows[0].get("relevance", ())))
    classes = len(rows[0].get("logits", ())) if table in PARTITIONED else 0
    schema = table.arrow_schema(components, classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = [{name: _plain(row[name]) for name in schema.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(plain, schema), path)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _example(kind: str) -> Any:
    if kind.endswith("[]"):
        return ["1"] if kind.startswith("string") else [1]
    if kind.startswith("timestamp"):
        return datetime.datetime(2026, 1, 2, 3, 4, 5)
    return {"string": "text", "bool": True, "float64": 0.5}.get(kind, 7)
