"""Time of the explain step with lake writing, against the engine's own time on the same images.

Bar: the step takes at most 1.3 times what the engine takes (propagation, scaling, ranking), because
it ranks and writes beside computing. On the released sample of Dieter & Zisgen where it is at hand
(600 images, 5,196 adversarial examples), else on the images of the demonstration.

Run from the repository root: python -m tests.benchmarks.bench_explain [images]
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time

import numpy as np

from compute.methods import PAPER_RULES
from compute.ranking import finish_maps
from flows import attack, explain, ingest, networks
from flows.lake import Lake
from flows.plan import ORIGINAL, Plan
from flows.study import Study, load_study
from sql.catalog import open_lake
from tests.benchmarks.bench_lrp import verdict
from tests.shared import CIFAR10, SHARED

BAR = 1.3


def sample_study(limit: int | None) -> Study:
    """The released sample, else the demonstration: the paper's rules in the published convention."""
    published = SHARED / "data" / "published"
    if published.is_dir():
        os.environ |= {"PUBLISHED": str(published), "CIFAR10": str(CIFAR10)}
    study = load_study("published" if published.is_dir() else "demo")
    methods = tuple(f"published-{rule}" for rule in PAPER_RULES)
    return study.model_copy(update={"limit": limit, "methods": methods})


def fill(study: Study, lake: Lake) -> None:
    """Write all that the step reads."""
    ingest.predict(study, lake, ingest.ingest_images(study, lake))
    for attack_id, shard in attack.missing_shards(study, lake):
        attack.attack_shard(study, lake, attack_id, shard)


def engine_seconds(study: Study, lake: Lake, subject: str, shard: int) -> tuple[float, int]:
    """Time of propagating, scaling and ranking a unit, one after the other, and its images."""
    chosen = Plan(study, lake).chosen().in_shard(shard).image_id.tolist()
    with open_lake(lake.url) as database:
        if subject == ORIGINAL:
            query = "select label as class, pixels from images"
        else:
            query = "select target as class, pixels from (from adversarials where status = 'success')"
        rows = database.arrow(f"{query} where list_contains(?, image_id)", [chosen])
    images = np.stack(rows["pixels"].to_numpy()).astype(np.float32)
    if subject == ORIGINAL:
        images /= np.float32(255)
    shape, classes = ingest.image_shape(study, lake), len(Plan(study, lake).class_names())
    explainer = networks.of_study(study, shape, classes).explainer(
        study.computed_methods(), networks.batch_size(study)
    )
    started = time.perf_counter()
    for batch in explainer.stream(images.reshape(-1, *shape), np.asarray(rows["class"]).astype(np.int64)):
        for maps in batch.values():
            finish_maps(maps.relevance)
    return time.perf_counter() - started, len(rows)


def main(limit: int | None = None) -> None:
    study = sample_study(limit)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        fill(study, lake)
        started = time.perf_counter()
        units = explain.missing_units(study, lake)
        step, engine, images = time.perf_counter() - started, 0.0, 0
        # the first unit traces the network: that is part of neither time
        engine_seconds(study, lake, *units[0])
        for unit in units:
            seconds, count = engine_seconds(study, lake, *unit)
            engine, images = engine + seconds, images + count
            started = time.perf_counter()
            explain.explain_unit(study, Lake(folder), unit)
            step += time.perf_counter() - started
        written = Lake(folder)
        assert Plan(study, written).is_complete()
        size = sum(written.bytes_of(path) for path in written.paths("relevance"))
    maps = images * len(study.methods)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{study.name}: {images:,} images, {maps:,} maps, {size / 1e6:,.0f} MB in {len(units)} units; "
        f"engine {engine:.1f} s = {engine / maps * 1e3:.2f} ms a map, step {step:.1f} s; "
        f"ratio {step / engine:.2f} {verdict(step / engine, BAR)}; peak memory {memory:.2f} GB"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
