"""What a study wants in the lake, and what of it is there.

Partitions are planned from the lake alone, table after table: which images are attacked is known
once predictions are there, which maps are wanted once adversarial examples are. No TensorFlow, no
Prefect: `status` and `--dry-run` read this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from typing import Any, get_args

import numpy as np

from compute.attacks.controls import Control, Noise
from compute.attacks.imported import Imported, find_examples
from compute.attacks.registry import is_targeted
from compute.classifier import model_sha256
from compute.methods import Method
from compute.randomisation import NUMERICS_VERSION, Randomisation
from flows.errors import LakeMismatch
from flows.lake import Lake, Partition
from flows.pairing import Pairing, pair, require_some
from flows.study import AttackSection, SentStudy, Study, load_study
from sql.tables import RANDOMISATIONS, SHARD

ORIGINAL = "original"
CONTROLS = get_args(Control)

EXAMPLES = ("image_id", "status")
"""What of adversarial examples tells which maps are wanted."""

LOOKED_UP = 1024
"""Partitions whose files are looked up side by side."""


@dataclass(frozen=True)
class Predicted:
    """What the classifier made of the dataset: arrays [n] by image_id."""

    label: np.ndarray
    correct: np.ndarray


@dataclass(frozen=True)
class Chosen:
    """The images that a study attacks: int64 arrays, ordered by image_id."""

    image_id: np.ndarray
    label: np.ndarray

    def in_shard(self, shard: int) -> Chosen:
        inside = self.image_id // SHARD == shard
        return Chosen(self.image_id[inside], self.label[inside])

    def holds(self, image_ids: np.ndarray) -> np.ndarray:
        """Which of these images are among them, bool [m]."""
        places = np.searchsorted(self.image_id, image_ids)
        within = places < len(self.image_id)
        within[within] = self.image_id[places[within]] == image_ids[within]
        return within

    def shards(self) -> list[int]:
        return [int(shard) for shard in np.unique(self.image_id // SHARD)]


def opened(study: str | SentStudy, lake: str, limit: int | None = None) -> tuple[Study, Lake]:
    """A study, with its limit replaced where one is given, and its lake."""
    loaded = load_study(study)
    return loaded.model_copy(update={"limit": limit}) if limit else loaded, Lake(lake)


class Plan:
    """The partitions that a study wants in a lake."""

    def __init__(self, study: Study, lake: Lake) -> None:
        self.study, self.lake = study, lake
        self._found: Predicted | None = None
        self._pairings: dict[str, Pairing] = {}
        self._made_from: dict[tuple[str | None, str | None], dict[str, Any]] = {}

    @cached_property
    def dataset_made_from(self) -> dict[str, Any]:
        section = self.study.dataset
        return {"source": section.source, "split": section.split, "files": section.digest}

    @cached_property
    def model_made_from(self) -> dict[str, Any]:
        return {"sha256": model_sha256(self.study.model.file, self.study.model.weights)}

    @property
    def _dataset(self) -> tuple[str, str]:
        return ("dataset", self.study.dataset.id)

    @property
    def _model(self) -> tuple[str, str]:
        return ("model", self.study.model.id)

    def check_inputs(self) -> None:
        """Raise what is wrong with the inputs before work starts: missing files, a lake made from others."""
        _ = self.dataset_made_from, self.model_made_from
        for attack in self.study.subjects:
            self.attack_made_from(attack)
        for partition in self.known():
            self.lake.find(partition)

    @cached_property
    def randomisations(self) -> dict[str, Randomisation]:
        """Networks of the sanity check by subject, by depth, as far as they are in the lake; none unasked."""
        if not self.study.sanity.cascading_randomisation:
            return {}
        found = {}
        for name in self.lake.names(RANDOMISATIONS.name):
            path = f"{RANDOMISATIONS.name}/{name}"
            row = self.lake.read(path).to_pylist()[0]
            if row["model"] != self.study.model.id:
                continue
            wanted = {"seed": self.study.sanity.seed, "version": NUMERICS_VERSION}
            for key, value in wanted.items():
                if row[key] != value:
                    raise LakeMismatch(
                        f"{self.lake.url}/{path} was made with {key} {row[key]}, the study's sanity check "
                        f"has {value}. Use another lake, or delete {RANDOMISATIONS.name} and their maps"
                    )
            found[row["subject"]] = Randomisation(**{f.name: row[f.name] for f in fields(Randomisation)})
        return dict(sorted(found.items(), key=lambda item: item[1].depth))

    def has_randomisations(self) -> bool:
        """Whether it is known which networks the sanity check explains by."""
        found = self.randomisations.values()
        return not self.study.sanity.cascading_randomisation or (
            len(found) > 0 and len(found) == next(iter(found)).of_depth
        )

    def image_count(self) -> int | None:
        """Images of the dataset; None before they are in the lake."""
        path = f"datasets/{self.study.dataset.id}.parquet"
        if not self.lake.exists(path):
            return None
        return int(self.lake.read_again(path, ["images", "classes"])["images"][0].as_py())

    def class_names(self) -> tuple[str, ...]:
        """Classes of the dataset, once it is in the lake."""
        row = self.lake.read_again(f"datasets/{self.study.dataset.id}.parquet", ["images", "classes"])
        return tuple(row["classes"][0].as_py())

    def images(self, count: int) -> list[Partition]:
        """Partitions of a dataset of `count` images."""
        return [
            Partition("images", (self._dataset,), shard, rows, {"dataset": self.dataset_made_from})
            for shard, rows in _shard_sizes(count)
        ]

    def predictions(self, count: int) -> list[Partition]:
        made_from = {"dataset": self.dataset_made_from, "model": self.model_made_from}
        return [
            Partition("predictions", (self._dataset, self._model), shard, rows, made_from)
            for shard, rows in _shard_sizes(count)
        ]

    def has_predictions(self) -> bool:
        """Whether it is known which images are attacked."""
        self._found = self._found or self._predictions()
        return self._found is not None

    def _predicted(self) -> Predicted:
        if not self.has_predictions() or self._found is None:
            raise RuntimeError(f"{self.study.dataset.id} has no predictions in the lake: ingest comes first")
        return self._found

    def _predictions(self) -> Predicted | None:
        count = self.image_count()
        if count is None:
            return None
        parts = []
        for partition in self.predictions(count):
            path = self.lake.find(partition)
            if path is None:
                return None
            parts.append(self.lake.read_again(path, ["label", "correct"]))
        label, correct = (
            np.concatenate([np.asarray(part[name]) for part in parts]) for name in ("label", "correct")
        )
        return Predicted(label.astype(np.int64), correct)

    def chosen(self) -> Chosen:
        """The correctly classified images, the first `limit` of them; predictions must be there.

        In a study with imported attacks only those that one of them has an example of.
        """
        ids = self._candidates[: self.study.limit]
        return Chosen(ids, self._predicted().label[ids])

    def first_of_each_class(self, count: int) -> Chosen:
        """Of every class the first images that are correctly classified, whatever is attacked."""
        predicted = self._predicted()
        ids = np.flatnonzero(predicted.correct)
        first = [ids[predicted.label[ids] == label][:count] for label in range(len(self.class_names()))]
        ids = np.sort(np.concatenate(first))
        return Chosen(ids, predicted.label[ids])

    @cached_property
    def _candidates(self) -> np.ndarray:
        """The images that are chosen where there is no limit."""
        ids = np.flatnonzero(self._predicted().correct)
        imported = [self.pairing(attack).image_id for attack in self._imported()]
        return ids[np.isin(ids, np.concatenate(imported))] if imported else ids

    def _imported(self) -> list[AttackSection]:
        return [attack for attack in self.study.attacks if isinstance(attack.parameters, Imported)]

    def pairing(self, attack: AttackSection) -> Pairing:
        """The files of an imported attack that are examples of the dataset; predictions must be there."""
        if attack.id not in self._pairings:
            assert isinstance(attack.parameters, Imported)
            predicted, folder = self._predicted(), attack.parameters.path
            found = pair(
                find_examples(folder),
                predicted.label,
                predicted.correct,
                self._image_size(),
                len(self.class_names()),
            )
            require_some(found, folder, self.study.dataset.id)
            self._pairings[attack.id] = found
        return self._pairings[attack.id]

    def _image_size(self) -> tuple[int, int]:
        path = self.lake.find(self.images(self.image_count() or 0)[0])
        assert path is not None
        rows = self.lake.read_again(path, ["height", "width"])
        return int(rows["height"][0].as_py()), int(rows["width"][0].as_py())

    def attack_made_from(self, attack: AttackSection) -> dict[str, Any]:
        parameters = attack.parameters.as_row()
        if isinstance(attack.parameters, Imported):
            parameters["files"] = find_examples(attack.parameters.path).fingerprint
        made_from = {"dataset": self.dataset_made_from, "model": self.model_made_from, "attack": parameters}
        if isinstance(attack.parameters, CONTROLS):
            made_from["controlled"] = self.attack_made_from(self._controlled(attack))["attack"]
        return made_from

    def _controlled(self, attack: AttackSection) -> AttackSection:
        """The attack that a control is of; any other is of itself."""
        return self.study.attack(attack.parameters.of) if isinstance(attack.parameters, CONTROLS) else attack

    def _selection(self, attack: AttackSection | None) -> dict[str, Any]:
        """Of which images a partition is, where it is not of all that are correctly classified.

        Partitions are found by their number of rows, taken for the first so many of the shard; without
        this an attack on other images would pass for one on these. An imported attack's own files
        say of which images it is.
        """
        if attack is not None and isinstance(self._controlled(attack).parameters, Imported):
            return {}
        if len(self._candidates) == np.count_nonzero(self._predicted().correct):
            return {}
        digest = hashlib.sha256(self._candidates.astype("<i8").tobytes()).hexdigest()
        return {"images": f"those with an imported example, {digest}"}

    def attacked(self, attack: AttackSection, target: int, images: Chosen) -> np.ndarray:
        """Which of these images are attacked towards a target, bool [m]; untargeted attacks take all."""
        if not is_targeted(attack.parameters):
            return np.ones(len(images.label), bool)
        others, attack = images.label != target, self._controlled(attack)
        if isinstance(attack.parameters, Imported):
            return others & np.isin(images.image_id, self.pairing(attack).of(target))
        return others

    def adversarials(self, attack: AttackSection, shard: int, chosen: Chosen) -> list[Partition]:
        """One partition per target class towards which some chosen image of the shard is attacked.

        Of an untargeted attack one per class: that it ended at it is known once it has been run.
        """
        inside = chosen.in_shard(shard)
        classes = len(self.class_names())
        parts = 1 if is_targeted(attack.parameters) else classes
        made_from = self._kept((attack.id, None), lambda: self.attack_made_from(attack), attack)
        wanted = []
        for target in range(classes):
            rows = int(self.attacked(attack, target, inside).sum())
            keys = (self._dataset, self._model, ("attack", attack.id), ("target", target))
            if rows:
                wanted.append(Partition("adversarials", keys, shard, rows, made_from, parts))
        return wanted

    def original_maps(self, method: Method, shard: int, chosen: Chosen) -> Partition:
        """Maps of the shard's originals, explained for their label."""
        keys = self._map_keys(method, ORIGINAL, "label", None)
        rows = len(chosen.in_shard(shard).image_id)
        return Partition("relevance", keys, shard, rows, self._original_made_from(method))

    def question_maps(self, method: Method, target: int, shard: int, chosen: Chosen) -> Partition:
        """Maps of the shard's originals of other classes, explained for a target."""
        keys = self._map_keys(method, ORIGINAL, "target", target)
        rows = int((chosen.in_shard(shard).label != target).sum())
        return Partition("relevance", keys, shard, rows, self._original_made_from(method))

    def _original_made_from(self, method: Method) -> dict[str, Any]:
        of_inputs = {"dataset": self.dataset_made_from, "model": self.model_made_from}
        return self._kept((None, method.id), lambda: of_inputs | {"method": method.as_row()}, None)

    def _kept(
        self,
        of: tuple[str | None, str | None],
        make: Callable[[], dict[str, Any]],
        attack: AttackSection | None,
    ) -> dict[str, Any]:
        """What partitions of an attack and a method are made from: the same for all shards and targets."""
        if of not in self._made_from:
            self._made_from[of] = make() | self._selection(attack)
        return self._made_from[of]

    def randomised_maps(self, method: Method, subject: str, shard: int, chosen: Chosen) -> Partition:
        """Maps of the shard's originals, explained for their label by a randomised network."""
        keys = self._map_keys(method, subject, "label", None)
        made_from = {
            **self._original_made_from(method),
            "randomisation": self.randomisations[subject].as_row(),
        }
        return Partition("relevance", keys, shard, len(chosen.in_shard(shard).image_id), made_from)

    def adversarial_maps(
        self, method: Method, attack: AttackSection, explains: str, target: int, shard: int, rows: int
    ) -> Partition:
        """Maps of so many of the shard's images of an attack or a control towards a target."""
        made_from = self._kept(
            (attack.id, method.id),
            lambda: self.attack_made_from(attack) | {"method": method.as_row()},
            attack,
        )
        keys = self._map_keys(method, attack.id, explains, target)
        return Partition("relevance", keys, shard, rows, made_from)

    def _map_keys(
        self, method: Method, subject: str, explains: str, target: int | None
    ) -> tuple[tuple[str, str | int | None], ...]:
        return (
            self._dataset,
            self._model,
            ("method", method.id),
            ("subject", subject),
            ("explains", explains),
            ("target", target),
        )

    def explained(self, attack: AttackSection, path: str, chosen: Chosen) -> dict[str, np.ndarray]:
        """Rows of a file of adversarials whose maps are wanted, by the class explained: label or target.

        Of an attack those of successes; in the 2 x 2 design they are explained for both. The image of a
        control is explained for its own class.
        """
        rows = self.lake.read_again(path, EXAMPLES)
        wanted, status = chosen.holds(np.asarray(rows["image_id"])), np.asarray(rows["status"])
        success, kept = (np.flatnonzero(wanted & (status == name)) for name in ("success", "kept"))
        if isinstance(attack.parameters, Noise):
            found = {"label": kept}
        elif isinstance(attack.parameters, CONTROLS):
            found = {"label": kept, "target": success}
        else:
            found = {"target": success}
            if self.study.controls.two_by_two and is_targeted(attack.parameters):
                found["label"] = success
        return {explains: places for explains, places in found.items() if len(places)}

    def known(self) -> Iterator[Partition]:
        """Every wanted partition that can be named by now, in the order in which they are made.

        Maps that were computed elsewhere are wanted for the paper's comparison alone, not for controls.
        """
        partitions = self._known()
        while some := list(islice(partitions, LOOKED_UP)):
            self.lake.look_up(some)
            yield from some

    def look_ahead(self) -> None:
        """Read what the files in place say, side by side, before they are asked for one by one."""
        for _ in self.known():
            pass

    def _known(self) -> Iterator[Partition]:
        count = self.image_count()
        if count is None:
            return
        yield from self.images(count)
        yield from self.predictions(count)
        if not self.has_predictions():
            return
        chosen = self.chosen()
        methods = self.study.parsed_methods()
        for attack in self.study.subjects:
            for shard in chosen.shards():
                yield from self.adversarials(attack, shard, chosen)
        for shard in chosen.shards():
            for method in methods:
                yield self.original_maps(method, shard, chosen)
                if method.is_imported:
                    continue
                for target in self.questions(shard, chosen):
                    yield self.question_maps(method, target, shard, chosen)
                for subject in self.randomisations:
                    yield self.randomised_maps(method, subject, shard, chosen)
        for attack in self.study.subjects:
            for shard in chosen.shards():
                found = [
                    (examples.aimed, path)
                    for examples in self.adversarials(attack, shard, chosen)
                    if (path := self.lake.find(examples)) is not None
                ]
                self.lake.read_ahead([path for _, path in found], EXAMPLES)
                for target, path in found:
                    for explains, places in self.explained(attack, path, chosen).items():
                        of_paper = explains == "target" and not isinstance(attack.parameters, CONTROLS)
                        for method in methods if of_paper else self.study.computed_methods():
                            yield self.adversarial_maps(method, attack, explains, target, shard, len(places))

    def questions(self, shard: int, chosen: Chosen) -> list[int]:
        """Targets that originals of a shard are explained for: of the 2 x 2 design, else none."""
        if not self.study.controls.two_by_two:
            return []
        label = chosen.in_shard(shard).label
        return [target for target in range(len(self.class_names())) if (label != target).any()]

    def has_adversarials(self) -> bool:
        """Whether every adversarial example is there, controls included."""
        chosen = self.chosen()
        return all(
            self.lake.find(partition)
            for attack in self.study.subjects
            for shard in chosen.shards()
            for partition in self.adversarials(attack, shard, chosen)
        )

    def is_complete(self) -> bool:
        """Whether everything is there, results and report aside."""
        return (
            self.has_predictions()
            and self.has_randomisations()
            and all(self.lake.find(partition) for partition in self.known())
        )


def _shard_sizes(count: int) -> list[tuple[int, int]]:
    """(shard, images in it) of a dataset of `count` images."""
    return [(first // SHARD, min(SHARD, count - first)) for first in range(0, count, SHARD)]
