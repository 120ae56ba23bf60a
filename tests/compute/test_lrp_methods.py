"""Ids of methods and what they stand for."""

import re
import subprocess
import sys

import pytest

from compute.methods import NUMERICS_VERSION, PAPER_RULES, parse_method


def test_the_paper_has_seven_rules_in_both_conventions() -> None:
    assert len(PAPER_RULES) == len(set(PAPER_RULES)) == 7
    for rule in PAPER_RULES:
        canonical, published = parse_method(rule), parse_method(f"published-{rule}")
        assert (canonical.convention, published.convention) == ("canonical", "published")
        assert published.id == f"published-{rule}"
        same = ("family", "epsilon", "alpha", "beta")
        assert [getattr(canonical, name) for name in same] == [getattr(published, name) for name in same]


@pytest.mark.parametrize(
    ("id", "family", "epsilon", "alpha", "beta"),
    [
        ("lrp-0", "lrp-0", None, None, None),
        ("lrp-epsilon-0.0001", "lrp-epsilon", 0.0001, None, None),
        ("lrp-epsilon-100", "lrp-epsilon", 100.0, None, None),
        ("lrp-alpha1-beta0", "lrp-alpha-beta", None, 1.0, 0.0),
        ("lrp-alpha2-beta-1", "lrp-alpha-beta", None, 2.0, -1.0),
        ("lrp-alpha1.1-beta-0.1", "lrp-alpha-beta", None, 1.1, -0.1),
    ],
)
def test_row_of_a_method(id: str, family: str, epsilon: float, alpha: float, beta: float) -> None:
    row = parse_method(id).as_row()
    expected = {
        "method": id, "family": family, "convention": "canonical", "epsilon": epsilon, "alpha": alpha,
        "beta": beta, "version": NUMERICS_VERSION[family],
        "epsilon_relative": None if epsilon is None else False,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["dense_rule"] == row["convolution_rule"] == row["first_rule"] == id.removeprefix("lrp-")


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("lrp-epsilon-0.010", "'lrp-epsilon-0.01'"),
        ("lrp-epsilon-1e-7", "'lrp-epsilon-0.0000001'"),
        ("published-lrp-epsilon-1.0", "'published-lrp-epsilon-1'"),
        ("lrp-alpha2.0-beta-1", "'lrp-alpha2-beta-1'"),
        ("lrp-alpha1-beta-0", "'lrp-alpha1-beta0'"),
        ("lrp-epsilon-0.10000000000000000001", "'lrp-epsilon-0.1'"),
        ("lrp-epsilon-0", "positive"),
        ("lrp-epsilon--1", "positive"),
        ("lrp-epsilon-1..2", "not a finite number"),
        ("lrp-epsilon-1e999", "not a finite number"),
        ("lrp-alpha2-beta1", "here -1, not 1"),
        ("lrp-alpha0.5-beta0.5", "at least 1"),
        ("lrp", "allowed are lrp-RULE"),
        ("published-published-lrp-0", "allowed are lrp-RULE"),
        ("LRP-0", "allowed are lrp-RULE"),
        ("lrp-box", "rule for the first layer"),
        ("lrp-box-plus-flat", "rule for the first layer"),
        ("lrp-0-0-0", "write it 'lrp-0'"),
        ("lrp-0-plus", "allowed are lrp-RULE"),
        ("lrp-gamma-0", "gamma must be positive"),
        ("published-lrp-plus", "published convention has no such rule"),
        ("published-lrp-epsilon-rms-0.1", "published convention has no such rule"),
        ("published-gradient", "allowed are lrp-RULE"),
        ("smoothgrad-n50-sigma0.10", "'smoothgrad-n50-sigma0.1'"),
        ("smoothgrad-n0-sigma0.1", "samples must be a whole number"),
        ("smoothgrad-n5-sigma0", "sigma must be positive"),
        ("integrated-gradients-n1.5", "samples must be a whole number"),
        ("occlusion-window2-stride4", "leaves pixels out"),
        ("imported-", "follows imported-"),
    ],
)
def test_other_ids_are_refused(id: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_method(id)
    assert id in str(error.value)


@pytest.mark.parametrize(
    ("id", "dense", "convolution", "first", "parameters"),
    [
        ("lrp-epsilon-rms-0.25", *["epsilon-rms-0.25"] * 3, {"epsilon": 0.25, "epsilon_relative": True}),
        ("lrp-gamma-0.25", *["gamma-0.25"] * 3, {"gamma": 0.25}),
        ("lrp-plus", *["plus"] * 3, {}),
        ("lrp-epsilon-0.000001-plus-flat", "epsilon-0.000001", "plus", "flat", {"epsilon": 1e-6}),
        ("lrp-0-alpha2-beta-1-w2", "0", "alpha2-beta-1", "w2", {"alpha": 2.0, "beta": -1.0}),
        ("lrp-epsilon-0.1-gamma-0.25-box", "epsilon-0.1", "gamma-0.25", "box", {"low": 0.0, "high": 1.0}),
    ],
)
def test_rules_by_layer_position(id: str, dense: str, convolution: str, first: str, parameters: dict) -> None:
    row = parse_method(id).as_row()
    assert (row["dense_rule"], row["convolution_rule"], row["first_rule"]) == (dense, convolution, first)
    assert {name: row[name] for name in parameters} == parameters


@pytest.mark.parametrize(
    ("id", "parameters"),
    [
        ("gradient", {}),
        ("input-x-gradient", {}),
        ("smoothgrad-n50-sigma0.1", {"samples": 50, "sigma": 0.1, "seed": 0}),
        ("integrated-gradients-n64", {"samples": 64, "baseline": 0.0}),
        ("guided-backpropagation", {}),
        ("grad-cam", {}),
        ("occlusion-window4-stride2", {"window": 4, "stride": 2, "baseline": 0.5}),
        ("lime-n1000-window4", {"samples": 1000, "window": 4, "baseline": 0.5, "seed": 0}),
        ("random", {"seed": 0}),
        ("imported-captum", {}),
    ],
)
def test_other_methods_store_their_parameters_and_nothing_else(id: str, parameters: dict) -> None:
    row = {name: value for name, value in parse_method(id).as_row().items() if value is not None}
    assert (row.pop("method"), row.pop("version")) == (id, 1)
    assert id.startswith(str(row.pop("family")))
    assert row == parameters


def test_the_methods_need_no_tensorflow() -> None:
    code = "import sys, compute.methods; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
