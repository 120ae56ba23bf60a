"""Charts: valid Vega-Lite that draws, with the data of the results; images say what the arrays say."""

import base64
import io
import re

import altair as alt
import jsonschema
import numpy as np
import polars as pl
import pytest
from PIL import Image

from reports.charts.attacks import pair_gallery, success_matrix
from reports.charts.ranking import rank_shift_histograms
from reports.images import amplification, blank_uri, difference_uri, map_uri, photo_uri
from reports.names import convention, decimal, method_name, method_order, percent, signed, significant
from reports.page import chart_specs, side_by_side
from reports.published import published_figures
from reports.sections import sections
from reports.theme import config, spec


def pixels(uri):
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(image.convert("RGB"), np.int16)


@pytest.fixture(scope="module")
def specs(frames, facts):
    return chart_specs(sections(side_by_side([(frames, facts)]), published_figures()))


def test_every_chart_is_valid_vega_lite(specs):
    assert len(specs) > 8
    for made in specs.values():
        alt.Chart.from_dict(made, validate=True)
    with pytest.raises(jsonschema.ValidationError):
        alt.Chart.from_dict({**next(iter(specs.values())), "width": "wide"}, validate=True)


def test_every_chart_is_drawn(specs):
    import vl_convert

    for name, chart in specs.items():
        for variant in ("light", "dark"):
            svg = vl_convert.vegalite_to_svg(chart | {"config": config(variant)})
            marks = re.findall(r'aria-roledescription="[a-z ]*mark|<image |class="mark-[a-z]+ role-mark', svg)
            assert marks, name
            assert "NaN" not in svg and "undefined" not in svg, name
        assert vl_convert.vegalite_to_png(chart | {"config": config("light")}, scale=0.5)[:4] == b"\x89PNG"


def test_success_matrix_holds_every_class_pair(frames, facts):
    chart = spec(success_matrix(frames["attack_summary"], facts))
    (rows,) = chart["datasets"].values()
    shown = {(r["label"], r["target"]): (r["pairs"], r["success_rate"]) for r in rows}
    expected = frames["attack_summary"]
    assert shown == {
        (r["label"], r["target"]): (r["pairs"], r["success_rate"]) for r in expected.iter_rows(named=True)
    }
    assert {r["label_name"] for r in rows} == {facts.class_name(label) for label in expected["label"]}


def test_gallery_shows_the_pixels(frames, facts):
    row = frames["pair_gallery"].row(0, named=True)
    (tiles,) = spec(pair_gallery(frames["pair_gallery"], facts))["datasets"].values()
    shape = row["height"], row["width"], row["channels"]
    assert np.array_equal(pixels(tiles[0]["url"]), np.reshape(row["original_pixels"], shape))
    adversarial = np.round(np.reshape(row["adversarial_pixels"], shape) * 255)
    assert np.abs(pixels(tiles[1]["url"]) - adversarial).max() <= 0


def test_rank_shift_keeps_rows_aligned_where_nothing_was_found(frames):
    shift = frames["rank_shift"].filter(pl.col("method").str.starts_with("lrp-"))
    first = (pl.col("original_band") == "most relevant") & (pl.col("adversarial_band") == "1 %")
    gone = shift.filter(~(first & (pl.col("method") == "lrp-0")))
    chart = spec(rank_shift_histograms(gone))
    for column in chart["hconcat"]:
        rows = chart["datasets"][column["data"]["name"]]
        assert {row["method"] for row in rows} == {method_name(m) for m in gone["method"]}


def test_map_is_centred_at_zero_and_adds_channels():
    relevance = np.zeros((2, 2, 3))
    relevance[0, 0] = 0.2, 0.2, 0.1
    relevance[0, 1] = -0.5, 0.0, 0.0
    relevance[1, 0] = 0.3, -0.3, 0.0
    shown = pixels(map_uri(relevance))
    assert shown[1, 0].tolist() == shown[1, 1].tolist() == [0xF7, 0xF7, 0xF7]
    assert shown[0, 0].tolist() == [0x67, 0x00, 0x1F]
    assert shown[0, 1].tolist() == [0x05, 0x30, 0x61]
    assert pixels(map_uri(np.zeros((2, 2, 3))))[0, 0].tolist() == [0xF7, 0xF7, 0xF7]


def test_blank_grey_and_single_channel_images():
    assert np.ptp(pixels(blank_uri(4, 5))) == 0 and pixels(blank_uri(4, 5)).shape == (4, 5, 3)
    grey = np.linspace(0, 1, 6).reshape(2, 3, 1)
    assert np.array_equal(pixels(photo_uri(grey))[:, :, 2], np.round(grey[:, :, 0] * 255))


def test_difference_is_amplified_about_grey():
    difference = np.zeros((4, 4, 3))
    difference[0, 0, 0], difference[1, 1, 1] = 0.04, -0.04
    factor = amplification([difference])
    assert factor == 10
    shown = pixels(difference_uri(difference, factor))
    assert abs(shown[0, 0, 0] - 255 * 0.9) <= 0.51 and abs(shown[1, 1, 1] - 255 * 0.1) <= 0.51
    assert abs(int(shown[3, 3, 0]) - 127.5) <= 0.5
    assert amplification([np.zeros((2, 2, 3))]) == 1


def test_methods_are_named_and_ordered():
    given = ["gradient", "lrp-alpha2-beta-1", "lrp-epsilon-1", "lrp-epsilon-0.01", "published-lrp-0", "lrp-0"]
    ordered = [
        "published-lrp-0",
        "lrp-0",
        "lrp-epsilon-0.01",
        "lrp-epsilon-1",
        "lrp-alpha2-beta-1",
        "gradient",
    ]
    assert method_order(given) == ordered
    assert [convention(m) for m in ordered] == ["published", *["canonical"] * 4, "other"]
    assert method_name("published-lrp-epsilon-0.0001") == "LRP-ε 0.0001"
    assert method_name("lrp-alpha2-beta-1") == "LRP-αβ 2/−1"
    assert method_name("unheard-of") == "unheard-of"


def test_rules_by_layer_position_and_other_methods_are_named():
    names = {
        "lrp-epsilon-rms-0.25": "LRP-ε RMS 0.25",
        "lrp-gamma-0.25": "LRP-γ 0.25",
        "lrp-plus": "LRP-z⁺",
        "lrp-epsilon-0.000001-alpha2-beta-1-flat": "LRP ε 0.000001 | αβ 2/−1 | flat",
        "lrp-0-gamma-0.25-box": "LRP 0 | γ 0.25 | box",
        "gradient": "Gradient",
        "smoothgrad-n50-sigma0.1": "SmoothGrad n 50, σ 0.1",
        "occlusion-window4-stride2": "Occlusion 4 px, stride 2",
        "lime-n1000-window4": "LIME n 1000, 4 px",
        "imported-captum": "captum (imported)",
        "random": "Random map",
    }
    assert {method: method_name(method) for method in names} == names
    others = [method for method in names if not method.startswith("lrp")]
    assert method_order([*reversed(others), "unheard-of"])[-1] == "unheard-of"
    assert method_order(reversed(others)) == [*others[:4], "imported-captum", "random"]


def test_numbers_are_written_to_sense():
    written = {
        0.0: "0",
        0.0691: "0.069",
        -0.599: "\u22120.6",
        1.0: "1",
        1.39: "1.4",
        421.7: "420",
        5321.0: "5,300",
    }
    written |= {
        1.48e23: "1.5e23",
        -4.31e-7: "\u22124.3e\u22127",
        0.000492: "0.00049",
        0.000048: "4.8e\u22125",
    }
    assert {value: significant(value) for value in written} == written and significant(None) == "-"
    assert significant(-0.0) == "0"
    assert decimal(-0.00001) == "0.0000" and decimal(-1234.5, 1) == "−1,234.5" and decimal(None) == "-"
    assert signed(0.0123, 2) == "+0.01" and signed(-0.0123, 2) == "−0.01" and signed(0.001, 2) == "0.00"
    assert percent(0.12345) == "12.3\N{NO-BREAK SPACE}%" and percent(float("nan")) == "-"
