"""What an attack can be run on."""

from __future__ import annotations

import numpy as np


class AttackInputError(ValueError):
    """Images or classes that cannot be attacked; the message names the first of them."""


def require_pairs(images: np.ndarray, classes: np.ndarray, count: int) -> None:
    """Raise AttackInputError unless images [m, h, w, c] lie in [0, 1] and classes [m] in 0 .. count - 1."""
    if images.ndim != 4 or classes.shape != images.shape[:1]:
        raise AttackInputError(
            f"images of shape {images.shape} with classes of shape {classes.shape}: "
            "give [m, height, width, channels] and [m]"
        )
    values = images.reshape(len(images), -1)
    inside = (values >= 0).all(axis=1) & (values <= 1).all(axis=1)  # NaN is not
    if not inside.all():
        place = int(np.argmin(inside))
        low, high = float(values[place].min()), float(values[place].max())
        raise AttackInputError(f"image {place} has values from {low:g} to {high:g}: scale images to [0, 1]")
    known = (classes >= 0) & (classes < count)
    if not known.all():
        place = int(np.argmin(known))
        raise AttackInputError(
            f"class {classes[place]} of image {place} is none of the network's: they are 0 to {count - 1}"
        )
