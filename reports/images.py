"""Images and relevance maps as PNG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DIVERGING = (
    "#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7",
    "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f",
)  # fmt: skip
"""ColorBrewer RdBu, reversed: blue against, white none, red for; safe for colour-blind readers."""

_STEPS = 62
"""Steps from end to end of the map's palette, even, so that one of its 63 colours is exactly the centre.

Finer ones could hardly be told apart, and would make the file of a small map half as large again.
"""


def png_uri(image: Image.Image) -> str:
    """A PNG, pixel for pixel, as `data:image/png;base64,...`; charts enlarge it without smoothing."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def photo_image(pixels: NDArray[np.floating]) -> Image.Image:
    """An image of shape (height, width, channels), values in [0, 1]; one channel is shown grey."""
    levels = np.round(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    return Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels[:, :, :3])


def photo_uri(pixels: NDArray[np.float64]) -> str:
    """PNG of an image of shape (height, width, channels), values in [0, 1]; one channel is shown grey."""
    return png_uri(photo_image(pixels))


def unflatten(values: Sequence[float], height: int, width: int, channels: int) -> NDArray[np.float64]:
    """A row's flat vector as (height, width, channels), float64."""
    return np.asarray(values, np.float64).reshape(height, width, channels)


def pair_pixels(row: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Original and adversarial example of a row of pair_gallery, values in [0, 1]."""
    shape = row["height"], row["width"], row["channels"]
    return unflatten(row["original_pixels"], *shape) / 255.0, unflatten(row["adversarial_pixels"], *shape)


def amplification(differences: Sequence[NDArray[np.float64]]) -> int:
    """The round factor that shows differences: 99.5 % of all |values| stay within half the grey range."""
    sizes = np.concatenate([np.abs(d).ravel() for d in differences]) if differences else np.zeros(1)
    reach = float(np.quantile(sizes, 0.995))
    if reach <= 0.0:
        return 1
    steps = [f * 10**e for e in range(4) for f in (1, 2, 5)]
    return max((step for step in steps if step * reach <= 0.5), default=1)


def difference_uri(difference: NDArray[np.float64], factor: int) -> str:
    """PNG of a difference of two images, grey where nothing changed, `factor` times amplified."""
    return photo_uri(0.5 + factor * difference)


def map_image(relevance: NDArray[np.floating]) -> Image.Image:
    """A relevance map of shape (height, width, channels), finite.

    The channels of a pixel are added; the sums are divided by their largest absolute value, so that
    the palette's ends are +-1 of the shown map and its centre is zero.
    """
    sums = relevance.sum(axis=2)
    largest = np.abs(sums).max()
    scaled = sums / largest if largest > 0 else sums
    index = np.round((scaled + 1.0) / 2.0 * _STEPS).astype(np.uint8)
    image = Image.fromarray(index, mode="P")
    image.putpalette(_palette())
    return image


def map_uri(relevance: NDArray[np.float64]) -> str:
    """PNG of a relevance map, as `map_image` shows it."""
    return png_uri(map_image(relevance))


def blank_uri(height: int, width: int) -> str:
    """PNG in place of a map that does not exist: even grey, a colour that the palette does not have."""
    return png_uri(Image.new("L", (width, height), 128))


def _palette() -> list[int]:
    anchors = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in DIVERGING], np.float64)
    at = np.linspace(0, len(anchors) - 1, _STEPS + 1)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    return [int(value) for value in np.round(np.stack(channels, axis=1)).ravel()]
