"""Adversarial examples that others made: PNG files named by image and target, as the paper's authors do.

Nothing is searched here: a delivered image is measured against its original, and the network says
whether it is adversarial.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compute.attacks.result import AttackResult, measured

NUMERICS_VERSION = 1
"""Raised when a change of this module changes results."""

NAME = re.compile(r"target_(\d{1,9})/img_(\d{1,9})_t(\d{1,9})\.png")


class ExamplesError(ValueError):
    """Files that cannot be taken for adversarial examples; the message names place and remedy."""


@dataclass(frozen=True)
class Imported:
    """Parameters of an imported attack: how its examples were made is not known here."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a study is validated

    path: str
    """folder with files `target_<t>/img_<image id>_t<t>.png` anywhere below it"""

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id. The folder is not one: its files may move."""
        return {"algorithm": "imported", "targeted": True, "version": NUMERICS_VERSION}


@dataclass(frozen=True)
class Examples:
    """The files below a folder, ordered by target and image: one place in every array for each."""

    paths: tuple[Path, ...]
    image_id: np.ndarray
    """int64 [m]"""
    target: np.ndarray
    """int64 [m]"""
    size: np.ndarray
    """int64 [m, 2], height and width; 0 where the file is not a sound PNG"""
    misnamed: int
    """PNG files with other names"""
    fingerprint: str
    """SHA-256 over images, targets and contents: where the folder stands does not count"""


@cache
def find_examples(folder: str) -> Examples:
    """The examples below a folder: every file is read once a process, and its checksums are verified.

    Raises ExamplesError where there is no folder or no example in it, and where two files are of one
    image and target.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ExamplesError(f"no folder {root}: give one with files target_<t>/img_<image id>_t<t>.png")
    named: dict[tuple[int, int], Path] = {}
    misnamed = 0
    for path in sorted(root.rglob("*.png")):
        match = NAME.fullmatch(f"{path.parent.name}/{path.name}")
        if not match or match[1] != match[3]:
            misnamed += 1
            continue
        pair = int(match[1]), int(match[2])
        if pair in named:
            raise ExamplesError(
                f"{named[pair]} and {path} are of one image and target: "
                "name a folder with the examples of one split"
            )
        named[pair] = path
    if not named:
        raise ExamplesError(
            f"{root} has no file target_<t>/img_<image id>_t<t>.png below it "
            f"({misnamed} PNG files of other names)"
        )
    digest = hashlib.sha256()
    sizes = []
    for (target, image_id), path in sorted(named.items()):
        content = path.read_bytes()
        digest.update(f"{target} {image_id} {len(content)}\n".encode())
        digest.update(content)
        sizes.append(_size(content))
    pairs = np.array(sorted(named), np.int64)
    paths = tuple(named[pair] for pair in sorted(named))
    return Examples(paths, pairs[:, 1], pairs[:, 0], np.array(sizes, np.int64), misnamed, digest.hexdigest())


def _size(content: bytes) -> tuple[int, int]:
    """Height and width of a PNG whose checksums are right, else zeros."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
            return image.height, image.width
    except Exception:  # Pillow raises whatever a broken file leads it to
        return 0, 0


def read_pixels(paths: Iterable[Path]) -> np.ndarray:
    """Images of one size, uint8 [m, height, width, 3]; ExamplesError names a file without all its pixels."""
    from PIL import Image

    images = []
    for path in paths:
        try:
            with Image.open(path, formats=["PNG"]) as image:
                mode, values = image.mode, np.asarray(image.convert("RGBA"))
        except Exception as error:
            raise ExamplesError(f"{path} cannot be decoded ({error}): remove or replace it") from None
        if values[..., 3].min() < 255 or mode.startswith("I"):
            raise ExamplesError(f"{path} is transparent or has 16 bits a value: save it as 8-bit RGB")
        images.append(values[..., :3])
    return np.stack(images)


NOT_TAKEN = "the network does not take it for the target"


def judge(
    pixels: np.ndarray, originals: np.ndarray, logits: np.ndarray, targets: np.ndarray
) -> list[AttackResult]:
    """What is measured of delivered images; one that the network does not take for its target failed.

    pixels, originals: float32 [m, ...] in [0, 1]; logits: float32 [m, k] at `pixels`; targets: int64 [m].
    """
    results = []
    for image, original, own, target in zip(pixels, originals, logits, targets, strict=True):
        reached = own.argmax() == target
        status, reason = ("success", None) if reached else ("failed", NOT_TAKEN)
        results.append(measured(original, image, own, int(target), status, reason))
    return results
