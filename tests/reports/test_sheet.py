"""The contact sheet: where the tiles stand and what their colours say."""

import numpy as np
import pytest

from reports.sheet import ACROSS, GAP, LEGEND, LINE, NO_MAP, TILE, contact_sheet


def tile(sheet, place, lines=1, side=TILE):
    """The middle pixels of the four quarters of a tile, in reading order."""
    x = GAP + place % ACROSS * (side + GAP)
    y = GAP + place // ACROSS * (side + GAP + lines * LINE) + lines * LINE
    pixels, quarters = np.asarray(sheet), ((1, 1), (3, 1), (1, 3), (3, 3))
    return [tuple(pixels[y + b * side // 4, x + a * side // 4].tolist()) for a, b in quarters]


def test_colours_are_centred_at_zero():
    photo = np.zeros((2, 2, 3))
    photo[0, 0] = (1, 0, 0)
    relevance = np.zeros((2, 2, 3))
    relevance[0, 0] = (4, 4, 0)  # channels are added: +8
    relevance[0, 1, 2] = -8
    relevance[1, 0, 1] = 0.8
    broken = np.full((2, 2, 3), np.nan)
    sheet = contact_sheet(photo, ["seen: cat"], [("a", relevance), ("b", -relevance), ("c", broken)])
    assert tile(sheet, 0) == [(255, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    best, worst, little, nothing = tile(sheet, 1)
    assert best[0] > 90 > best[2] and worst[2] > 90 > worst[0]
    assert nothing == (247, 247, 247)
    assert little[0] > little[2] > 200
    assert tile(sheet, 2)[:2] == [worst, best]
    assert tile(sheet, 3) == [NO_MAP] * 4


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_tiles_stand_in_rows(count):
    photo = np.full((4, 4, 1), 0.5)
    sheet = contact_sheet(photo, ["x"], [(f"m{i}", np.full((4, 4, 1), 1.0)) for i in range(count)])
    rows, across = -(-(count + 1) // ACROSS), min(ACROSS, count + 1)
    assert sheet.width == max(GAP + across * (TILE + GAP), LEGEND)
    assert rows * (TILE + GAP) < sheet.height < rows * (TILE + GAP + LINE) + 4 * LINE
    assert tile(sheet, count)[0] == tile(sheet, 1)[0] != (255, 255, 255)


def test_large_images_are_not_enlarged_and_long_names_wrap():
    photo = np.zeros((200, 300, 3))
    name = "lrp-epsilon-0.000001-alpha2-beta-1-flat-and-some-more-of-it"
    sheet = contact_sheet(photo, ["x"], [(name, np.ones((200, 300, 3)))])
    assert sheet.width == GAP + 2 * (300 + GAP)
    assert tile(sheet, 0, lines=2, side=200) == [(0, 0, 0)] * 4
