"""A contact sheet: one image and its relevance maps side by side, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from reports.images import DIVERGING, map_image, photo_image

TILE = 192
"""Side of a tile in pixels, at least; an image of fewer pixels is enlarged by a whole factor."""
ACROSS = 4
"""Tiles in a row."""
GAP, LINE, FONT, LETTER = 16, 18, 14, 7
"""Pixels between tiles, from line to line, of the font, and across a letter."""

NO_MAP = (128, 128, 128)
"""In place of a map that is not finite: even grey, a colour that the palette does not have."""


LEGEND = 520
"""Pixels that the legend needs."""


def contact_sheet(
    photo: NDArray[np.floating], caption: Sequence[str], maps: Sequence[tuple[str, NDArray[np.floating]]]
) -> Image.Image:
    """The image with its caption (one line each), then each map under its name.

    photo: (height, width, channels) in [0, 1]; maps: the same shape. A map's channels are added; the
    palette is centred at zero and ends at the map's own largest |sum|.
    """
    height, width = photo.shape[:2]
    factor = max(1, -(-TILE // max(height, width)))
    wide = width * factor // LETTER
    pictures = [(list(caption), photo_image(photo))]
    pictures += [(wrap(name, wide), _picture(values)) for name, values in maps]
    lines = max(len(text) for text, _ in pictures)
    step_x, step_y = width * factor + GAP, height * factor + lines * LINE + GAP
    across = min(ACROSS, len(pictures))
    size = max(across * step_x + GAP, LEGEND), -(-len(pictures) // across) * step_y + 3 * LINE
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for place, (text, picture) in enumerate(pictures):
        x, y = GAP + place % across * step_x, GAP + place // across * step_y
        for i, line in enumerate(text):
            draw.text((x, y + (lines - len(text) + i) * LINE), line, fill="black", font=font)
        enlarged = picture.convert("RGB").resize((width * factor, height * factor), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (x, y + lines * LINE))
    _legend(draw, font, GAP, sheet.height - 2 * LINE)
    return sheet


def _picture(values: NDArray[np.floating]) -> Image.Image:
    if np.isfinite(values).all():
        return map_image(values)
    return Image.new("RGB", (values.shape[1], values.shape[0]), NO_MAP)


def _legend(
    draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, x: int, y: int
) -> None:
    for text, colours in (
        ("against", ()),
        ("", DIVERGING),
        ("for the class; white: nothing, grey: not finite", ()),
    ):
        for colour in colours:
            draw.rectangle((x, y + 2, x + 11, y + LINE - 4), fill=colour)
            x += 12
        draw.text((x + 6, y), text, fill="black", font=font)
        x += int(draw.textlength(text, font=font)) + 12 if text else 0
