"""Imported adversarial examples: which files pair with a study's images, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compute.attacks.imported import Examples
from flows.errors import UserError

LEFT_OUT = {
    "own_class": "their image's own class as target",
    "no_image": "no such image or class in the dataset",
    "misclassified": "image not correctly classified",
    "wrong_size": "another size than the dataset's images",
    "unreadable": "not readable",
    "misnamed": "not named target_<t>/img_<id>_t<t>.png",
}
"""Reasons for which a file is no adversarial example of the study: columns of the table `imports`."""


@dataclass(frozen=True)
class Pairing:
    """The files that are adversarial examples of the study's images, ordered by target and image."""

    paths: tuple[Path, ...]
    image_id: np.ndarray
    target: np.ndarray
    counts: dict[str, int]
    """files, imported, and by reason how many were left out"""
    fingerprint: str

    def of(self, target: int) -> np.ndarray:
        """Images with an example towards a target, int64, ascending."""
        return self.image_id[self.target == target]

    def files(self, target: int, image_ids: np.ndarray) -> list[Path]:
        """The examples of these images towards a target."""
        towards = np.flatnonzero(self.target == target)
        return [self.paths[towards[i]] for i in np.searchsorted(self.image_id[towards], image_ids)]

    def as_row(self, dataset: str, model: str, attack: str) -> dict[str, Any]:
        """The row of the table `imports`."""
        ids = {
            "import_id": f"{dataset}.{model}.{attack}",
            "dataset": dataset,
            "model": model,
            "attack": attack,
        }
        return {**ids, **self.counts, "fingerprint": self.fingerprint}

    def sentence(self) -> str:
        """How many files were imported, and what became of the others."""
        left_out = [f"{self.counts[name]:,} {why}" for name, why in LEFT_OUT.items() if self.counts[name]]
        text = f"{self.counts['imported']:,} of {self.counts['files']:,} files imported"
        return f"{text}; left out: {', '.join(left_out)}" if left_out else text


def pair(
    examples: Examples, label: np.ndarray, correct: np.ndarray, size: tuple[int, int], classes: int
) -> Pairing:
    """Pair files with the images of a dataset, whose position is their id.

    label: int64 [n]; correct: bool [n], whether the classifier is right; size: height and width of
    the images. Every file counts once, by the first reason that applies.
    """
    known = (examples.image_id < len(label)) & (examples.target < classes)
    image = np.where(known, examples.image_id, 0)
    reasons = {
        "unreadable": examples.size[:, 0] == 0,
        "no_image": ~known,
        "own_class": label[image] == examples.target,
        "misclassified": ~correct[image],
        "wrong_size": (examples.size != size).any(axis=1),
    }
    left = np.ones(len(image), bool)
    counts = {"misnamed": examples.misnamed}
    for name, applies in reasons.items():
        counts[name] = int((left & applies).sum())
        left &= ~applies
    counts |= {"imported": int(left.sum()), "files": len(image) + examples.misnamed}
    return Pairing(
        tuple(path for path, kept in zip(examples.paths, left, strict=True) if kept),
        examples.image_id[left],
        examples.target[left],
        counts,
        examples.fingerprint,
    )


def require_some(pairing: Pairing, folder: str, dataset: str) -> None:
    """UserError where no file is an adversarial example of the dataset."""
    if not pairing.counts["imported"]:
        raise UserError(
            f"no file below {folder} is an adversarial example of {dataset}: {pairing.sentence()}. "
            "Is it the dataset (and split) that they were made from?"
        )
