"""A bucket of very many partitions that takes no space: names are real, what the files say comes from a few.

A file system for fsspec, so that all above it is the code that reads a bucket of S3: its listing has the form
of s3fs's, its files' ends are those of small real partition files of the same table, method and subject. It
answers at once: what the network would take is left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from fsspec import AbstractFileSystem

from flows.lake import Lake, Partition
from flows.plan import Plan
from flows.study import Study, parse_study
from sql.tables import DATASETS, SHARD, TABLES

ROWS = 10
"""Rows of a file: images of a shard attacked towards one of 1,000 classes, at 10 targets an image."""


def study(methods: int) -> Study:
    """A study of one attack and so many methods: epsilon rules."""
    names = ", ".join(f'"lrp-epsilon-{0.001 * (i + 1):g}"' for i in range(methods))
    text = f'name = "simulated"\nmethods = [{names}]\n\n[[attacks]]\nid = "lbfgs"\n'
    return parse_study(text, "simulated.toml", Path("."))


class SimulatedBucket(AbstractFileSystem):
    """The partitions of a study at `simulated://bucket/lake`; holds nothing but their names and templates."""

    protocol = "simulated"
    cachable = True
    folder: Path
    images: int
    classes: int
    methods: int

    def __init__(self, folder: str = "", images: int = 0, classes: int = 0, methods: int = 0) -> None:
        super().__init__()
        self.images, self.classes = images, classes
        self._study = study(methods)
        self._templates: dict[str, bytes] = {}
        self._make_templates(Lake(folder))

    def _make_templates(self, lake: Lake) -> None:
        """Small real files, by the place that they stand for: without target, and of the first shard."""
        shards, rng = self.images // SHARD, np.random.default_rng(0)
        row = {"dataset": self._study.dataset.id, "source": "folder", "split": "test", "images": self.images}
        row |= {"classes": [f"class {i}" for i in range(self.classes)], "fingerprint": "simulated"}
        self._keep(lake, lake.write_entity(DATASETS, row))
        plan = Plan(self._study, lake)
        for partition in plan.predictions(self.images):
            label = rng.integers(0, self.classes, SHARD)
            columns = {"label": label, "predicted": label, "correct": np.ones(SHARD, bool)}
            self._keep(lake, _written(lake, partition, columns))
        chosen, attack = plan.chosen(), self._study.attacks[0]
        for shard in range(shards):
            keys = (plan._dataset, plan._model, ("attack", attack.id), ("target", 0))
            made_from = plan.attack_made_from(attack)
            examples = Partition("adversarials", keys, shard, ROWS, made_from)
            self._keep(lake, _written(lake, examples, {"status": np.full(ROWS, "success")}))
        for method in self._study.parsed_methods():
            self._keep(lake, _written(lake, plan.original_maps(method, 0, chosen), {}))
            of_examples = plan.adversarial_maps(method, attack, "target", 0, 0, ROWS)
            self._keep(lake, _written(lake, of_examples, {}))

    def _keep(self, lake: Lake, path: str) -> None:
        # planned is the whole of a shard: a file of more rows serves as well
        named = path.replace(f"rows-{ROWS}.", f"rows-{SHARD}.")
        self._templates[self._template(named)] = (Path(lake.root) / path).read_bytes()

    @staticmethod
    def _template(path: str) -> str:
        """What stands for a file: of maps those of the first shard, of either those of the first class."""
        plain = re.sub(r"target=\d+", "target=0", path)
        return re.sub(r"ids-\d+-\d+-.*", "", plain) if path.startswith("relevance") else plain

    def names(self) -> Iterator[tuple[str, int, str]]:
        """Path, size and digest of every file."""
        for template, data in self._templates.items():
            facts = len(data), f'"{md5(data).hexdigest()}"'
            by_class = "target=0" in template
            for target in range(self.classes) if by_class else [0]:
                name = template.replace("target=0", f"target={target}")
                if not template.startswith("relevance"):
                    yield name, *facts
                    continue
                rows = ROWS if by_class else SHARD
                for first in range(0, self.images, SHARD):
                    yield f"{name}ids-{first}-{first + SHARD - 1}-rows-{rows}.parquet", *facts

    def find(self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **_: Any):
        """A listing as s3fs gives it."""
        time = datetime(2026, 1, 1, tzinfo=UTC)
        found = {}
        for name, size, tag in self.names():
            key = f"bucket/lake/{name}"
            found[key] = {
                "Key": key, "LastModified": time, "ETag": tag, "Size": size,
                "StorageClass": "STANDARD", "type": "file", "size": size, "name": key,
            }  # fmt: skip
        return found if detail else list(found)

    def _bytes(self, path: str) -> bytes:
        return self._templates[self._template(str(self._strip_protocol(path)).removeprefix("bucket/lake/"))]

    def cat_ranges(self, paths: list[str], starts: Any, ends: Any, **_: Any) -> list[bytes]:
        """Ends of files; all are shorter than what is read of an end."""
        return [self._bytes(path) for path in paths]

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        return io.BytesIO(self._bytes(path))


def _written(lake: Lake, partition: Partition, columns: dict[str, Any]) -> str:
    """A file of the partition's table whose vectors are null: only its footer and narrow columns are read."""
    table = TABLES[partition.table]
    schema, rows = table.arrow_schema(4, 4), partition.rows
    arrays = []
    for field in schema:
        if field.name == "image_id":
            values: Any = pa.array(np.arange(rows) + partition.shard * SHARD, field.type)
        elif field.name in columns:
            values = pa.array(columns[field.name]).cast(field.type)
        else:
            values = pa.nulls(rows, field.type)
        arrays.append(values)
    rows_of_it = pa.Table.from_arrays(arrays, schema=schema)
    return lake.write(partition, rows_of_it, {"versions": "simulated"})


fsspec.register_implementation("simulated", SimulatedBucket, clobber=True)
