"""The maps of one image, without a study and without a lake: a person's first try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.table import Table

from compute.classifier import SHIPPED
from compute.datasets import CIFAR10_CLASSES
from compute.maps import RawMaps
from compute.methods import Method, parse_method
from flows import networks
from flows.errors import UserError
from flows.map_rows import ABSORBED
from reports.sheet import contact_sheet

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by number of channels."""
TOP = 3
"""Most relevant components that the table names."""


@dataclass(frozen=True)
class Explained:
    """One image and its maps.

    image: float32 [h, w, c] in [0, 1]; size: width and height of the file's image; maps: by method id,
    raw, one map each; probabilities: float64 [k]; explained: the class whose logit is explained.
    """

    image: np.ndarray
    size: tuple[int, int]
    maps: dict[str, RawMaps]
    logits: np.ndarray
    explained: int
    class_names: tuple[str, ...]

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits."""
        powers = np.exp(self.logits.astype(np.float64) - self.logits.max())
        return powers / powers.sum()

    def map_of(self, method: str) -> np.ndarray:
        """A method's raw map [h, w, c]."""
        return self.maps[method].relevance[0].reshape(self.image.shape)

    def class_text(self, number: int) -> str:
        """A class with its probability."""
        return f"{self.class_names[number]} ({self.probabilities[number]:.1%})"


def explain_image(
    path: Path, model: str, weights: str | None, method_ids: Sequence[str], explained: str | None
) -> Explained:
    """Maps of an image file by these methods; the image is resized to what the network takes.

    explained: number or name of the class to explain; None: the one that the network sees. Raises
    UserError or the error of a room for whatever does not fit.
    """
    methods = tuple(dict.fromkeys(_method(id) for id in method_ids))
    picture = _open(path)
    network = networks.load(model, weights=weights)
    height, width, channels = network.model.input_shape[1:]
    if channels not in MODES:
        raise UserError(f"{model} takes images of {channels} channels: an image file has 1 or 3")
    image = _fitted(picture, width, height, MODES[channels])
    logits = network.logits(image[None], 1)[0]
    names = tuple(map(str, range(len(logits))))
    if model in ("shipped", SHIPPED):
        names = CIFAR10_CLASSES
    number = int(logits.argmax()) if explained is None else _class_number(explained, names)
    maps = network.explainer(methods, 1).explain(image[None], np.array([number]))
    return Explained(image, picture.size, maps, logits, number, names)


def save(result: Explained, prefix: str) -> tuple[Path, Path]:
    """Write `<prefix>.npz` (raw maps, image, logits, explained class) and `<prefix>.png`; their paths."""
    arrays, sheet = Path(f"{prefix}.npz"), Path(f"{prefix}.png")
    maps = {id: result.map_of(id) for id in result.maps}
    facts = {"image": result.image, "logits": result.logits, "explained_class": np.array(result.explained)}
    np.savez_compressed(arrays, **facts, **maps)  # type: ignore[arg-type]
    contact_sheet(result.image, _caption(result), list(maps.items())).save(sheet)
    return arrays, sheet


def table(result: Explained) -> Table:
    """What each method says, as a table for a terminal."""
    printed = Table(
        "method", "start logit", "sum", "absorbed", f"{TOP} most relevant components (y, x, channel)",
        title=f"for the class {result.class_text(result.explained)}",
    )  # fmt: skip
    for id, maps in result.maps.items():
        absorbed = sum(float(getattr(maps, name)[0]) for name in ABSORBED)
        values = result.map_of(id)
        finite = bool(np.isfinite(values).all())
        printed.add_row(
            id, f"{maps.start[0]:.4g}", f"{values.sum(dtype=np.float64):.4g}" if finite else "not finite",
            f"{absorbed:.4g}" if np.isfinite(absorbed) else "", _places(values) if finite else "",
        )  # fmt: skip
    return printed


def sentences(result: Explained) -> list[str]:
    """What was done with the image, and what the network sees in it."""
    height, width = result.image.shape[:2]
    said = []
    if result.size != (width, height):
        said.append(
            f"resized from {result.size[0]} x {result.size[1]} to the network's {width} x {height} pixels"
        )
    best = np.argsort(-result.logits, kind="stable")[:3]
    said.append("the network sees " + ", ".join(map(result.class_text, best.tolist())))
    if result.logits[result.explained] < 0:
        said.append("the start logit is negative: maps of LRP have the opposite sign")
    return said


def _method(id: str) -> Method:
    try:
        method = parse_method(id)
    except ValueError as error:
        raise UserError(str(error)) from None
    if method.is_imported:
        raise UserError(f"method {id}: imported maps were computed elsewhere, nothing here can make them")
    return method


def _open(path: Path) -> Image.Image:
    """The image, turned as its camera says, on white where it is transparent."""
    if not path.is_file():
        raise UserError(f"there is no image file {path}")
    try:
        with Image.open(path) as file:
            file.load()
            picture = ImageOps.exif_transpose(file)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is not a readable image ({error}): give a PNG or JPEG file") from None
    if picture.mode.startswith(("I", "F")):
        raise UserError(f"{path} has more than 8 bits a value: save it as 8-bit grey or RGB")
    if picture.has_transparency_data:
        behind = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(behind, picture.convert("RGBA"))
    return picture


def _fitted(picture: Image.Image, width: int, height: int, mode: str) -> np.ndarray:
    """The picture as the network takes it: float32 [height, width, channels] in [0, 1]."""
    picture = picture.convert(mode)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32).reshape(height, width, -1) / np.float32(255)


def _class_number(text: str, names: Sequence[str]) -> int:
    if text in names:
        return list(names).index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    named = f", or one of {', '.join(names)}" if names[0] != "0" else ""
    raise UserError(f"--class {text}: the network's classes are 0 to {len(names) - 1}{named}")


def _places(values: np.ndarray) -> str:
    """The components of best rank, with their share of the map's largest |value|."""
    order = np.argsort(-values.ravel(), kind="stable")[:TOP]
    largest = np.abs(values).max() or 1.0
    shown = []
    for component in order.tolist():
        y, x, channel = (int(place) for place in np.unravel_index(component, values.shape))
        shown.append(f"({y}, {x}, {channel}) {values[y, x, channel] / largest:+.2f}")
    return "  ".join(shown)


def _caption(result: Explained) -> list[str]:
    seen = int(result.logits.argmax())
    lines = [f"seen: {result.class_text(seen)}"]
    if seen != result.explained:
        lines.append(f"maps: {result.class_text(result.explained)}")
    return lines
