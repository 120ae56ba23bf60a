"""Ingest: the dataset into `images`, the classifier's outputs on it into `predictions`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from compute.classifier import describe
from compute.datasets import load_dataset
from compute.randomisation import cascade
from flows import networks
from flows.force import require_same_images
from flows.lake import Lake
from flows.plan import Plan
from flows.progress import track
from flows.study import Study
from flows.vectors import matrix, table_of
from flows.versions import recorded
from sql.tables import DATASETS, IMAGES, MODELS, PREDICTIONS, RANDOMISATIONS, SHARD


def ingest_images(study: Study, lake: Lake, force: bool = False) -> int:
    """Write the dataset's missing partitions, with `force` all; the number of its images."""
    plan = Plan(study, lake)
    section = study.dataset
    count = plan.image_count()
    if not force and count is not None and all(lake.find(partition) for partition in plan.images(count)):
        lake.skipped += len(plan.images(count))
        return count
    dataset = load_dataset(section.source, section.path, section.split)
    count = len(dataset.labels)
    height, width, channels = dataset.pixels.shape[1:]
    with track("images", count, "images") as advance:
        for partition in plan.images(count):
            first = partition.shard * SHARD
            rows = slice(first, first + partition.rows)
            if lake.find(partition) and not force:
                lake.skipped += 1
            else:
                table = table_of(
                    IMAGES,
                    {
                        "image_id": np.arange(rows.start, rows.stop),
                        "label": dataset.labels[rows],
                        "height": np.full(rows.stop - rows.start, height),
                        "width": np.full(rows.stop - rows.start, width),
                        "channels": np.full(rows.stop - rows.start, channels),
                        "pixels": dataset.pixels[rows].reshape(rows.stop - rows.start, -1),
                    },
                )
                lake.write(partition, table, recorded(study))
            advance(partition.rows)
    lake.write_entity(
        DATASETS,
        {
            "dataset": section.id,
            "source": section.source,
            "split": section.split if section.source == "cifar10" else dataset.split,
            "images": count,
            "classes": list(dataset.classes),
            "fingerprint": dataset.fingerprint(),
        },
    )
    return count


def predict(study: Study, lake: Lake, count: int, force: bool = False) -> None:
    """Write missing partitions of the classifier's outputs, with `force` all, and its randomised networks.

    Raises UserError where another image would be correctly classified than before: attacks are of these.
    """
    plan = Plan(study, lake)
    missing = [partition for partition in plan.predictions(count) if force or not lake.find(partition)]
    lake.skipped += len(plan.predictions(count)) - len(missing)
    if not missing and plan.has_randomisations():
        return
    shape, classes = image_shape(study, lake), len(plan.class_names())
    network = networks.of_study(study, shape, classes)
    if not plan.has_randomisations():
        _randomise(study, lake, network)
    lake.write_entity(MODELS, {"model": study.model.id, **plan.model_made_from, **describe(network.model)})
    with track("predictions", sum(partition.rows for partition in missing), "images") as advance:
        for partition in missing:
            shard = read_images(study, lake, partition.shard)
            logits = network.logits(shard.pixels, networks.batch_size(study), advance)
            predicted = logits.argmax(axis=1)
            require_same_images(lake, partition, predicted == shard.label)
            lake.write(
                partition,
                table_of(
                    PREDICTIONS,
                    {
                        "image_id": shard.image_id,
                        "label": shard.label,
                        "predicted": predicted,
                        "correct": predicted == shard.label,
                        "logits": logits,
                    },
                ),
                recorded(study),
            )


def _randomise(study: Study, lake: Lake, network: networks.Network) -> None:
    """Write which networks the sanity check explains by: their weights follow from the rows."""
    for found in cascade(network.model, study.sanity.seed):
        subject = f"randomised-{found.depth}"
        keys = {"randomisation": f"{study.model.id}.{subject}", "model": study.model.id, "subject": subject}
        lake.write_entity(RANDOMISATIONS, keys | found.as_row())


class Shard:
    """Images of one shard: image_id, label int64 [m]; pixels float32 [m, h, w, c] in [0, 1]."""

    def __init__(self, rows: pa.Table) -> None:
        self.image_id = np.asarray(rows["image_id"]).astype(np.int64)
        self.label = np.asarray(rows["label"]).astype(np.int64)
        shape = tuple(int(rows[name][0].as_py()) for name in ("height", "width", "channels"))
        self.pixels = matrix(rows["pixels"]).reshape(-1, *shape).astype(np.float32) / np.float32(255)

    def of(self, image_ids: np.ndarray) -> np.ndarray:
        """Pixels of these images, float32 [m, h, w, c]."""
        return self.pixels[np.searchsorted(self.image_id, image_ids)]


def read_images(study: Study, lake: Lake, shard: int) -> Shard:
    """The images of a shard, from the lake."""
    return Shard(lake.read(_images_path(study, lake, shard)))


def image_shape(study: Study, lake: Lake) -> tuple[int, int, int]:
    """Height, width and channels of the dataset's images."""
    rows = lake.read_again(_images_path(study, lake, 0), ["height", "width", "channels"])
    height, width, channels = (int(rows[name][0].as_py()) for name in rows.column_names)
    return height, width, channels


def _images_path(study: Study, lake: Lake, shard: int) -> str:
    plan = Plan(study, lake)
    count = plan.image_count()
    path = lake.find(plan.images(count)[shard]) if count is not None else None
    if path is None:
        raise RuntimeError(f"shard {shard} of {study.dataset.id} is not in the lake: ingest comes first")
    return path
