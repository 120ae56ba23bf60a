"""Synthetic lakes of any size, through the writer of the product: for tests and benchmarks.

A lake of the paper's size (8,902 images, seven rules, 604,000 maps, 9 GB) takes minutes. Its study stands
beside it, in `LAKE-study`: a study file, and a dataset file that the study's fingerprints fit, so that
`relevance-lake analyse LAKE-study/study.toml --lake LAKE` takes the lake for its own. Every number belongs to
the seed and to the keys of its partition: a file that is deleted is made again as it was.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from compute.datasets import CIFAR10_CLASSES, Dataset
from compute.methods import PAPER_RULES, Method
from flows.errors import UserError
from flows.lake import Lake
from flows.map_rows import map_rows
from flows.plan import Plan
from flows.progress import progress_display, track
from flows.study import AttackSection, Study, load_study
from flows.vectors import matrix, table_of
from sql.tables import ADVERSARIALS, ATTACKS, DATASETS, IMAGES, METHODS, MODELS, PREDICTIONS, SHARD
from tests import synthetic

FAILURES = ("no adversarial example within 1000 iterations", "the search of c ended below the confidence")


@dataclass(frozen=True)
class Specification:
    """What a synthetic lake holds. images: correctly classified ones; shape: height, width, channels.

    controlled: whether the study asks for a noise control, of which there are no images and no maps.
    """

    images: int = 8902
    methods: tuple[str, ...] = PAPER_RULES
    attacks: tuple[str, ...] = ("lbfgs",)
    classes: int = 10
    shape: tuple[int, int, int] = (32, 32, 3)
    seed: int = 0
    controlled: bool = False

    @property
    def total(self) -> int:
        """Images of the dataset, those included that are misclassified and so not attacked."""
        return max(self.images, round(self.images / synthetic.CORRECT_RATE))

    @property
    def components(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def class_names(self) -> tuple[str, ...]:
        return (*CIFAR10_CLASSES, *(f"class-{n}" for n in range(10, self.classes)))[: self.classes]


@dataclass(frozen=True)
class Generated:
    """What was generated. study: path of the study file; bytes_a_map: of the files of `relevance`."""

    lake: str
    study: str
    originals: int
    successes: int
    maps: int
    bytes_a_map: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.originals:,} images, {self.successes:,} successful examples, {self.maps:,} maps of "
            f"{self.bytes_a_map:,.0f} bytes in {self.seconds:.0f} s\nlake: {self.lake}\nstudy: {self.study}"
        )


def generate(lake: str | Path, specification: Specification, jobs: int = 1) -> Generated:
    """Write the lake's missing files with `jobs` processes; UserError where it holds another one."""
    started = time.monotonic()
    spec, place = specification, str(lake)
    study_file = _write_study(Path(f"{place}-study"), spec)
    study, target = load_study(study_file), Lake(place)
    _write_entities(study, target, spec)
    plan = Plan(study, target)
    shards = range(-(-spec.total // SHARD))
    of_images = [(_images, (shard,)) for shard in shards]
    of_attacks = [(_adversarials, (a.id, shard)) for a in study.attacks for shard in shards]
    of_maps = [(_maps, (method, shard)) for shard in shards for method in study.methods]
    with _workers(study_file, place, spec, jobs) as run:
        run("images", of_images)
        run("adversarial examples", of_attacks)
        run("maps", of_maps)
    target.refresh()
    plan.check_inputs()
    sizes = [target.bytes_of(path) for path in target.paths("relevance")]
    successes = sum(len(_successes(plan, path)) for path in target.paths("adversarials"))
    maps = (spec.images + successes) * len(spec.methods)
    seconds = time.monotonic() - started
    return Generated(place, study_file, spec.images, successes, maps, sum(sizes) / maps, seconds)


def _write_study(folder: Path, spec: Specification) -> str:
    """The study file and the dataset's file; the path of the study file."""
    folder.joinpath("dataset").mkdir(parents=True, exist_ok=True)
    attacks = "".join(f'\n[[attacks]]\nid = "{attack}"\nalgorithm = "lbfgs"\n' for attack in spec.attacks)
    file = folder / "study.toml"
    file.write_text(
        f'name = "synthetic"\ntitle = "A synthetic lake"\nmethods = {json.dumps(spec.methods)}\n\n'
        f"[controls]\nnoise = {str(spec.controlled).lower()}\n\n"
        f'[dataset]\nsource = "cifar10"\nsplit = "test"\nid = "synthetic-test"\npath = "dataset"\n{attacks}'
    )
    study = load_study(str(file))  # refuses names of methods and attacks before any work
    dataset = folder / "dataset" / "test-00000-of-00001.parquet"
    made_from = {"made_from": json.dumps({**asdict(spec), "methods": None, "attacks": None}, sort_keys=True)}
    if not dataset.exists():
        rows = [
            {"img": {"bytes": _png(pixels), "path": None}, "label": int(label)}
            for shard in range(-(-spec.total // SHARD))
            for pixels, label in zip(*_pixels_and_labels(study, spec, shard), strict=True)
        ]
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        schema = pa.schema([("img", image), ("label", pa.int64())], metadata=made_from)
        pq.write_table(pa.Table.from_pylist(rows, schema), dataset)
    found = (pq.read_schema(dataset).metadata or {}).get(b"made_from", b"").decode()
    if found != made_from["made_from"]:
        raise UserError(
            f"{folder} belongs to a lake of {found}, not of {made_from['made_from']}: name another lake, or "
            "delete both"
        )
    return str(file)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _write_entities(study: Study, lake: Lake, spec: Specification) -> None:
    """The one-row files of dataset, model, attacks and methods."""
    parts = [_pixels_and_labels(study, spec, shard) for shard in range(-(-spec.total // SHARD))]
    pixels, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    data = Dataset("cifar10", "test", pixels, labels, spec.class_names)
    names = {"source": "cifar10", "split": "test", "classes": list(data.classes)}
    row: dict[str, Any] = {"dataset": study.dataset.id, "images": len(labels), **names}
    lake.write_entity(DATASETS, {**row, "fingerprint": data.fingerprint()})
    network = {"input_shape": list(spec.shape), "classes": spec.classes, "layers": "none: synthetic"}
    sha256 = Plan(study, lake).model_made_from["sha256"]
    lake.write_entity(MODELS, {"model": study.model.id, "sha256": sha256, "parameters": 0, **network})
    for attack in study.subjects:
        lake.write_entity(ATTACKS, {"attack": attack.id, **attack.parameters.as_row()})
    for method in study.parsed_methods():
        lake.write_entity(METHODS, method.as_row())


@contextmanager
def _workers(study: str, lake: str, spec: Specification, jobs: int) -> Iterator[Callable[..., None]]:
    """Yields a function that runs a list of (work, arguments) behind a progress bar."""
    if jobs == 1:

        def run_here(what: str, tasks: list[tuple[Any, tuple[Any, ...]]]) -> None:
            with track(what, len(tasks), "parts") as advance:
                for work, arguments in tasks:
                    work(study, lake, spec, *arguments)
                    advance(1)

        yield run_here
        return
    # a forked process would share the locks of Arrow's threads
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:

        def run(what: str, tasks: list[tuple[Any, tuple[Any, ...]]]) -> None:
            with track(what, len(tasks), "parts") as advance:
                waiting = [pool.submit(work, study, lake, spec, *arguments) for work, arguments in tasks]
                try:
                    for done in as_completed(waiting):
                        done.result()
                        advance(1)
                finally:
                    for one in waiting:
                        one.cancel()

        yield run


@cache
def _plan(study: str, lake: str) -> Plan:
    """The plan; a process makes it once, and its listing of the lake with it."""
    return Plan(load_study(study), Lake(lake))


def _fresh_plan(study: str, lake: str) -> Plan:
    plan = _plan(study, lake)
    plan.lake.refresh()
    return plan


def _labels(study: Study, spec: Specification) -> np.ndarray:
    """Labels int64 [total]."""
    return synthetic.generator(spec.seed, study.dataset.id, "labels").integers(0, spec.classes, spec.total)


def _pixels_and_labels(study: Study, spec: Specification, shard: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [m, h, w, c] and labels int64 [m] of a shard."""
    labels = _labels(study, spec)[shard * SHARD : (shard + 1) * SHARD]
    rng = synthetic.generator(spec.seed, study.dataset.id, "pixels", shard)
    return synthetic.images(rng, len(labels), spec.shape), labels


def _images(study: str, lake: str, spec: Specification, shard: int) -> None:
    """A shard of `images` and `predictions`."""
    plan = _fresh_plan(study, lake)
    of_images, of_predictions = plan.images(spec.total)[shard], plan.predictions(spec.total)[shard]
    pixels, label = _pixels_and_labels(plan.study, spec, shard)
    image_id = np.arange(len(label)) + shard * SHARD
    who = {"image_id": image_id, "label": label}
    if not plan.lake.find(of_images):
        sizes = zip(("height", "width", "channels"), spec.shape, strict=True)
        columns: dict[str, np.ndarray] = {name: np.full(len(label), size) for name, size in sizes}
        columns["pixels"] = pixels.reshape(len(label), -1)
        plan.lake.write(of_images, table_of(IMAGES, who | columns), _recorded(spec))
    if not plan.lake.find(of_predictions):
        order = synthetic.generator(spec.seed, plan.study.model.id, "correct").permutation(spec.total)
        correct = np.isin(image_id, order[: spec.images])
        rng = synthetic.generator(spec.seed, plan.study.model.id, "logits", shard)
        logits = synthetic.logits(rng, label, correct, spec.classes)
        predicted = {"predicted": logits.argmax(axis=1), "correct": correct, "logits": logits}
        plan.lake.write(of_predictions, table_of(PREDICTIONS, who | predicted), _recorded(spec))


def _adversarials(study: str, lake: str, spec: Specification, attack_id: str, shard: int) -> None:
    """A shard of an attack's examples, target after target."""
    plan = _fresh_plan(study, lake)
    attack, chosen = plan.study.attack(attack_id), plan.chosen()
    inside = chosen.in_shard(shard)
    wanted = [p for p in plan.adversarials(attack, shard, chosen) if not plan.lake.find(p)]
    if not wanted:
        return
    pixels = _pixels_and_labels(plan.study, spec, shard)[0].reshape(-1, spec.components)
    for partition in wanted:
        of = np.flatnonzero(plan.attacked(attack, partition.aimed, inside))
        rng = synthetic.generator(spec.seed, attack_id, partition.aimed, shard)
        columns = _outcomes(rng, pixels[inside.image_id[of] - shard * SHARD], partition.aimed, spec.classes)
        who = {"image_id": inside.image_id[of], "label": inside.label[of]}
        plan.lake.write(partition, table_of(ADVERSARIALS, who | columns), _recorded(spec))


def _outcomes(rng: np.random.Generator, originals: np.ndarray, target: int, classes: int) -> dict[str, Any]:
    """Columns of attacked pairs of a target; originals: uint8 [n, d]."""
    count, rows = len(originals), np.arange(len(originals))
    success = rng.random(count) < synthetic.SUCCESS_RATE
    logits = synthetic.logits(rng, np.full(count, target), success, classes)
    probability, others = synthetic.softmax(logits), logits.copy()
    others[:, target] = -np.inf
    second = others.argmax(axis=1)
    pixels = synthetic.attacked(rng, originals)
    change = pixels.astype(np.float64) - originals / np.float64(255)
    reasons = rng.choice(FAILURES, count)
    iterations = rng.integers(20, 400, count)
    return {
        "status": np.where(success, "success", "failed"),
        "reason": [None if won else str(reason) for won, reason in zip(success, reasons, strict=True)],
        "pixels": pixels,
        "logits": logits,
        "target_probability": probability[:, target],
        "second_class": second,
        "second_probability": probability[rows, second],
        "l1": np.abs(change).sum(axis=1),
        "l2": np.sqrt(np.square(change).sum(axis=1)),
        "linf": np.abs(change).max(axis=1),
        "c": [float(c) if won else None for won, c in zip(success, rng.lognormal(-3, 1, count), strict=True)],
        "iterations": iterations,
        "gradient_calls": iterations + rng.integers(5, 80, count),
        "forward_calls": rng.integers(0, 40, count),
    }


def _maps(study: str, lake: str, spec: Specification, method_id: str, shard: int) -> None:
    """A shard of a method's maps, of originals and of all attacks' examples."""
    plan = _fresh_plan(study, lake)
    method = next(m for m in plan.study.parsed_methods() if m.id == method_id)
    chosen = plan.chosen()
    inside = chosen.in_shard(shard)
    if not len(inside.label):
        return
    rng = synthetic.generator(spec.seed, method.id, "original", shard)
    normals = synthetic.normals(rng, len(inside.label), spec.components)
    places = inside.image_id - shard * SHARD
    black = _pixels_and_labels(plan.study, spec, shard)[0].reshape(-1, spec.components)[places] == 0
    partition = plan.original_maps(method, shard, chosen)
    if not plan.lake.find(partition):
        predictions = plan.lake.find(plan.predictions(spec.total)[shard])
        logits = matrix(plan.lake.read(str(predictions), ["logits"])["logits"])[places]
        shape, start = synthetic.shape_of(method), logits[np.arange(len(places)), inside.label]
        raw = synthetic.raw_maps(rng, normals.copy(), shape, black, start, method.is_lrp)
        rows = map_rows(inside.image_id, inside.label, inside.label, raw)
        plan.lake.write(partition, rows, _recorded(spec))
    for attack in plan.study.attacks:
        _adversarial_maps(plan, spec, method, attack, shard, normals, black)


def _successes(plan: Plan, path: str) -> np.ndarray:
    """Rows of a file of adversarials that have maps."""
    return np.flatnonzero(np.asarray(plan.lake.read(path, ["status"])["status"]) == "success")


def _adversarial_maps(
    plan: Plan,
    spec: Specification,
    method: Method,
    attack: AttackSection,
    shard: int,
    normals: np.ndarray,
    black: np.ndarray,
) -> None:
    """Maps of an attack's successes in a shard; normals, black: of its originals, [m, d]."""
    chosen = plan.chosen()
    ids = chosen.in_shard(shard).image_id
    for examples in plan.adversarials(attack, shard, chosen):
        path, target = str(plan.lake.find(examples)), examples.aimed
        of = _successes(plan, path)
        partition = plan.adversarial_maps(method, attack, "target", target, shard, len(of))
        if not len(of) or plan.lake.find(partition):
            continue
        table = plan.lake.read(path, ["image_id", "label", "logits"]).take(of)
        image_id, label = (np.asarray(table[name]) for name in ("image_id", "label"))
        rows = np.searchsorted(ids, image_id)
        rng = synthetic.generator(spec.seed, method.id, attack.id, target, shard)
        shape, start = synthetic.shape_of(method), matrix(table["logits"])[:, target]
        values = synthetic.correlated(rng, normals[rows], shape)
        raw = synthetic.raw_maps(rng, values, shape, black[rows], start, method.is_lrp)
        maps = map_rows(image_id, label, np.full(len(label), target), raw)
        plan.lake.write(partition, maps, _recorded(spec))


def _recorded(spec: Specification) -> dict[str, Any]:
    return {"study": "synthetic", "generator": asdict(spec)}


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main(
    lake: Annotated[str, typer.Argument(help="Folder of the lake; its study goes to LAKE-study.")],
    images: Annotated[int, typer.Option(min=1, help="Correctly classified images.")] = 8902,
    methods: Annotated[str, typer.Option(help="Methods, with commas.")] = ",".join(PAPER_RULES),
    attacks: Annotated[str, typer.Option(help="Ids of attacks, with commas; all lbfgs.")] = "lbfgs",
    classes: Annotated[int, typer.Option(min=2, help="Classes.")] = 10,
    shape: Annotated[str, typer.Option(help="HEIGHTxWIDTHxCHANNELS of an image.")] = "32x32x3",
    seed: Annotated[int, typer.Option(help="Seed of every number.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Generate a synthetic lake; whole files that are there are kept.

    Example: python -m tests.lake_generator big --images 890 --methods lrp-0,lrp-alpha1-beta0
    """
    try:
        sizes = synthetic.parse_shape(shape)
        spec = Specification(images, _listed(methods), _listed(attacks), classes, sizes, seed)
        with progress_display():
            made = generate(lake, spec, jobs)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(made)


if __name__ == "__main__":
    typer.run(main)
