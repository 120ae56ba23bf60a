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
    assert parse_method(id).as_row() == {
        "method": id, "family": family, "convention": "canonical", "epsilon": epsilon, "alpha": alpha,
        "beta": beta, "version": NUMERICS_VERSION[family],
    }  # fmt: skip


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
        ("lrp", "allowed are lrp-0"),
        ("published-published-lrp-0", "allowed are lrp-0"),
        ("LRP-0", "allowed are lrp-0"),
    ],
)
def test_other_ids_are_refused(id: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        parse_method(id)
    assert id in str(error.value)


def test_the_methods_need_no_tensorflow() -> None:
    code = "import sys, compute.methods; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
