"""Measures of pairs of maps, against SciPy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compute import comparison
from compute.ranking import band_size, finish_maps, top_components

VALUES = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0]), st.floats(-1, 1, width=32)).map(np.float32)
Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def pairs(draw: st.DrawFn, smallest: int = 1) -> Drawn:
    """Maps of originals, of adversarial examples, and whose each is."""
    n, originals = draw(st.integers(smallest, 40)), draw(st.integers(1, 3))
    count = draw(st.sampled_from([1, 2, 5, 35]))
    x = draw(arrays.arrays(np.float32, (originals, n), elements=VALUES))
    y = np.tile(draw(arrays.arrays(np.float32, (min(count, 5), n), elements=VALUES)), (count, 1))[:count]
    return x, y, draw(arrays.arrays(np.intp, count, elements=st.integers(0, originals - 1)))


def ranks(maps: np.ndarray) -> np.ndarray:
    order = np.argsort(-maps, axis=1, kind="stable")
    found = np.empty(maps.shape, np.uint16)
    np.put_along_axis(found, order, np.arange(maps.shape[1], dtype=np.uint16)[None], axis=1)
    return found


@given(pairs())
def test_ranks_of_this_test_are_those_of_the_lake(drawn: Drawn) -> None:
    finished = finish_maps(drawn[0])
    np.testing.assert_array_equal(ranks(drawn[0])[finished.ok], finished.rank[finished.ok])


@given(pairs(), st.integers(1, 50))
def test_top_components(drawn: Drawn, k: int) -> None:
    found = top_components(ranks(drawn[0]), k)
    np.testing.assert_array_equal(found, np.argsort(-drawn[0], axis=1, kind="stable")[:, :k])


@given(pairs())
def test_depth_counts(drawn: Drawn) -> None:
    x, y, of = ranks(drawn[0]), ranks(drawn[1]), drawn[2]
    counts = np.zeros(x.shape[1], int)
    for pair, original in enumerate(of):
        for component in range(x.shape[1]):
            counts[max(x[original, component], y[pair, component])] += 1
    np.testing.assert_array_equal(comparison.depth_counts(x, y, of), counts)


def test_shifts_of_few_labels_take_little_room_whatever_their_numbers() -> None:
    found = comparison.shift_counts(np.array([[0], [0]], np.uint16), np.array([7, 2_000_000_000]), 10)
    assert (found.label.tolist(), found.components.tolist()) == ([7, 2_000_000_000], [1, 1])


@given(pairs(), st.data())
def test_shift_counts(drawn: Drawn, data: st.DataObject) -> None:
    x, y, of = ranks(drawn[0]), ranks(drawn[1]), drawn[2]
    n = x.shape[1]
    label = data.draw(arrays.arrays(np.int32, len(of), elements=st.integers(0, 12)))
    k_1, k_10 = max(1, int(n * 0.01 + 0.5)), max(1, int(n * 0.1 + 0.5))
    wanted: dict[tuple[int, ...], int] = {}
    for pair, original in enumerate(of):
        for component in range(n):
            a, b = int(x[original, component]), int(y[pair, component])
            if max(a, b) < k_10:
                places = (0 if rank == 0 else 1 if rank < k_1 else 2 for rank in (a, b))
                key = (int(label[pair]), *places, b - a)
                wanted[key] = wanted.get(key, 0) + 1
    top = top_components(x, k_10)[of]
    found = comparison.shift_counts(np.take_along_axis(y, top, axis=1), label, n)
    columns = (column.tolist() for column in vars(found).values())
    assert {key[:-1]: key[-1] for key in zip(*columns, strict=True)} == wanted


@given(pairs(smallest=2))
def test_spearman_is_scipys(drawn: Drawn) -> None:
    x, y, of = ranks(drawn[0]), ranks(drawn[1]), drawn[2]
    wanted = [scipy.stats.spearmanr(x[o], b).statistic for o, b in zip(of, y, strict=True)]
    np.testing.assert_allclose(comparison.spearman(x, y, of), wanted, rtol=1e-12, atol=1e-12)


def test_spearman_of_one_component_is_not_defined() -> None:
    one = np.zeros((1, 1), np.uint16)
    assert np.isnan(comparison.spearman(one, one, np.zeros(1, int)))


@given(pairs(smallest=2))
@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
@pytest.mark.filterwarnings("ignore::scipy.stats.NearConstantInputWarning")
def test_pearson_is_scipys(drawn: Drawn) -> None:
    x, y, of = drawn
    found = comparison.pearson(x, y, of)
    for r, a, b in zip(found, x[of].astype(float), y.astype(float), strict=True):
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            assert np.isnan(r)
        elif min(np.ptp(a), np.ptp(b)) > 1e-5:
            assert r == pytest.approx(scipy.stats.pearsonr(a, b).statistic, rel=1e-9, abs=1e-9)


@given(pairs())
def test_sign_agreement(drawn: Drawn) -> None:
    x, y, of = drawn
    wanted = (np.sign(x[of]) == np.sign(y)).mean(axis=1)
    np.testing.assert_array_equal(comparison.sign_agreement(x, y, of), wanted)


def test_band_sizes_are_half_up_and_at_least_one() -> None:
    assert [band_size(0.01, n) for n in (1, 49, 150, 3072)] == [1, 1, 2, 31]
    assert band_size(0.1, 3072) == 307
