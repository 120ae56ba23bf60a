"""A small study: images, adversarial examples and maps by NumPy, its results by the analyses themselves.

The classifier is one hidden layer of ReLUs with random weights, the attack a few gradient steps towards the
target, the methods are LRP rules written for these two layers.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sql.catalog import analyses, open_lake
from sql.tables import ENTITIES, PARTITIONED
from tests.sql.lakes import Row, Rows, map_columns, write_lake

METHODS = ("lrp-0", "lrp-epsilon-0.01", "lrp-epsilon-1", "lrp-alpha1-beta0", "lrp-alpha2-beta-1")
LEVELS = (0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999)
KEYS = {"dataset": "noise", "model": "two-layers"}
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class Study:
    """Images (n, height, width, channels) uint8, pairs and maps; maps[method] = (originals, adversarials)."""

    attack: str
    images: np.ndarray
    labels: np.ndarray
    pair_image: np.ndarray
    pair_target: np.ndarray
    adversarials: np.ndarray
    success: np.ndarray
    logits: np.ndarray
    adversarial_logits: np.ndarray
    maps: dict[str, tuple[np.ndarray, np.ndarray]]


class Network:
    """x -> W2 relu(W1 (x - 0.5) + b)."""

    def __init__(self, components: int, generator: np.random.Generator) -> None:
        self.first = generator.normal(size=(48, components)) / np.sqrt(components)
        self.bias = generator.normal(size=48) * 0.1
        self.second = generator.normal(size=(10, 48)) / 3

    def hidden(self, x):
        return np.maximum(0, (x - 0.5) @ self.first.T + self.bias)

    def logits(self, x):
        return self.hidden(x) @ self.second.T

    def gradient(self, x, weights):
        """Gradient of the logits' sum with `weights` (rows, 10)."""
        return ((self.hidden(x) > 0) * (weights @ self.second)) @ self.first

    def relevance(self, x, classes, method):
        """Map of the logit of `classes`, one row each, divided by its largest |value|."""
        hidden, inputs = self.hidden(x), x - 0.5
        one_hot = np.eye(10)[classes]
        start = one_hot * self.logits(x)
        rule = method.removeprefix("published-")
        if rule.startswith("lrp-alpha"):
            alpha = float(rule[len("lrp-alpha")])
            maps = alpha * self._by_sign(inputs, hidden, start, +1) + (1 - alpha) * self._by_sign(
                inputs, hidden, start, -1
            )
        else:
            epsilon = 1e-9 if rule == "lrp-0" else float(rule.rsplit("-", 1)[1])
            above = start / stabilised(hidden @ self.second.T, epsilon)
            between = hidden * (above @ self.second)
            pre = inputs @ self.first.T + self.bias
            maps = inputs * ((between / stabilised(pre, epsilon)) @ self.first)
        return (maps / np.abs(maps).max(axis=1, keepdims=True)).astype(np.float32)

    def _by_sign(self, inputs, hidden, start, sign):
        second, first = (np.maximum(0, sign * w) for w in (self.second, self.first))
        above = hidden * ((start / (hidden @ second.T + 1e-7)) @ second)
        return inputs * ((above / (np.abs(inputs) @ first.T + 1e-7)) @ first)


def stabilised(z, epsilon):
    return z + epsilon * np.where(z >= 0, 1, -1)


def make_study(side=12, images=8, methods=METHODS, published=True, attack="lbfgs", seed=0) -> Study:
    """Smooth random images, attacked towards every other class; some maps are not finite, one is zero."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((images, 4, 4, 3))
    pixels = np.clip(coarse.repeat(side // 4, 1).repeat(side // 4, 2) * 255, 0, 255).astype(np.uint8)
    network = Network(side * side * 3, generator)
    flat = pixels.reshape(images, -1) / 255.0
    labels = network.logits(flat).argmax(axis=1)
    pair_image, pair_target = np.array([(i, t) for i in range(images) for t in range(10) if t != labels[i]]).T
    x = flat[pair_image].copy()
    wanted = np.eye(10)[pair_target]
    for _ in range(60):
        scores = np.exp(network.logits(x))
        probability = scores / scores.sum(axis=1, keepdims=True)
        step = network.gradient(x, (wanted - probability) * (probability.argmax(1) != pair_target)[:, None])
        x = np.clip(x + 0.05 * step, 0, 1)
    success = network.logits(x).argmax(axis=1) == pair_target
    names = (*methods, *(f"published-{m}" for m in methods)) if published else methods
    maps = {m: (network.relevance(flat, labels, m), network.relevance(x, pair_target, m)) for m in names}
    originals, adversarials = maps[names[0]]
    originals[0], adversarials[3] = 0.0, np.nan
    shape = pixels.shape[1:]
    return Study(
        attack,
        pixels,
        labels,
        pair_image,
        pair_target,
        x.astype(np.float32).reshape(-1, *shape),
        success,
        network.logits(flat),
        network.logits(x),
        maps,
    )


def results(study: Study, name: str = "small", controls: bool = False) -> dict[str, pl.DataFrame]:
    """The result of every analysis, as a lake would keep it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_lake(str(write(study, Path(folder), controls))) as lake,
    ):
        frames = {analysis: lake.analyse(analysis) for analysis in analyses()}
    return {key: frame.select(pl.lit(name).alias("study"), pl.all()) for key, frame in frames.items()}


def write(study: Study, root: Path, controls: bool = False) -> Path:
    """A lake that holds the study, and noise controls of it where they are wanted; returns `root`."""
    rows: Rows = {table.name: [] for table in PARTITIONED + ENTITIES}
    height, width, channels = study.images.shape[1:]
    size = {"height": height, "width": width, "channels": channels}
    dataset = {"dataset": KEYS["dataset"]}
    for i, (pixels, label) in enumerate(zip(study.images, study.labels, strict=True)):
        who = {"image_id": i, "label": int(label)}
        rows["images"].append(dataset | who | size | {"pixels": pixels.ravel()})
        seen = {"predicted": int(label), "correct": True, "logits": study.logits[i]}
        rows["predictions"].append(KEYS | who | seen)
        for method, (originals, _) in study.maps.items():
            keys = {"method": method, "subject": "original", "explains": "label", "target": None}
            explained = {"explained_class": int(label)}
            rows["relevance"].append(KEYS | keys | who | explained | map_columns(originals[i]))
    for p in range(len(study.pair_image)):
        _write_pair(rows, study, p)
    for table, names in (
        ("datasets", (KEYS["dataset"],)),
        ("models", (KEYS["model"],)),
        ("methods", tuple(study.maps)),
    ):
        first = next(one for one in ENTITIES if one.name == table).columns[0].name
        rows[table] = [{first: name} for name in names]
    known = {"targeted": True, "epsilon": None, "control_of": None, "fraction": None}
    rows["attacks"] = [known | {"attack": study.attack, "algorithm": "lbfgs"}]
    if controls:
        of = {"control_of": study.attack}
        rows["attacks"].append(known | of | {"attack": f"noise-{study.attack}", "algorithm": "noise"})
        _write_noise(rows, study)
    return write_lake(root, rows)


def _write_noise(rows: Rows, study: Study) -> None:
    """For each success a control whose map is the original's with a little noise."""
    rng = np.random.default_rng(1)
    name = f"noise-{study.attack}"
    for row in [row for row in rows["adversarials"] if row["status"] == "success"]:
        rows["adversarials"].append(row | {"attack": name, "status": "kept"})
        keys = KEYS | {"target": row["target"], "image_id": row["image_id"], "label": row["label"]}
        for method, (originals, _) in study.maps.items():
            original = originals[row["image_id"]]
            noisy = (original + rng.normal(scale=0.02, size=original.shape)).astype(np.float32)
            explained = {"method": method, "subject": name, "explains": "label"}
            explained |= {"explained_class": row["label"]}
            rows["relevance"].append(keys | explained | map_columns(noisy))


def _write_pair(rows: Rows, study: Study, p: int) -> None:
    image, target, good = int(study.pair_image[p]), int(study.pair_target[p]), bool(study.success[p])
    pair = KEYS | {"target": target, "image_id": image, "label": int(study.labels[image])}
    found = _attack_columns(study, p) | {"status": "success" if good else "failed"}
    reason = {"reason": None if good else "budget spent"}
    rows["adversarials"].append(pair | {"attack": study.attack} | found | reason)
    for method, (_, adversarials) in study.maps.items() if good else ():
        keys = {"method": method, "subject": study.attack, "explains": "target", "explained_class": target}
        rows["relevance"].append(pair | keys | map_columns(adversarials[p]))


def _attack_columns(study: Study, p: int) -> Row:
    target, logits = int(study.pair_target[p]), study.adversarial_logits[p]
    change = (study.adversarials[p] - study.images[study.pair_image[p]] / 255.0).ravel()
    probabilities = np.exp(logits) / np.exp(logits).sum()
    second = int(np.argmax(np.where(np.arange(len(logits)) == target, -np.inf, logits)))
    sizes = {"l1": np.abs(change).sum(), "l2": np.sqrt((change**2).sum()), "linf": np.abs(change).max()}
    return (
        sizes
        | {"c": None, "iterations": 60, "gradient_calls": 60, "forward_calls": 60}
        | {"pixels": study.adversarials[p].ravel(), "logits": logits}
        | {"target_probability": probabilities[target]}
        | {"second_class": second, "second_probability": probabilities[second]}
    )
