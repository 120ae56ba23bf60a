"""Scaling, status, ranks and ties against NumPy's stable sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compute.ranking import finish_maps, top_places

FINITE = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45])
RAW = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=FINITE)


@settings(max_examples=200)
@given(RAW)
def test_ranks_are_a_stable_descending_sort(raw: np.ndarray) -> None:
    maps = finish_maps(raw)
    n, d = raw.shape
    for i in range(n):
        largest = np.abs(raw[i]).max()
        assert maps.scale[i] == largest
        assert maps.status[i] == ("ok" if largest > 0 else "zero")
        if not largest:
            assert not maps.relevance[i].any()
            assert (maps.ties_at_31[i], maps.ties_at_307[i]) == (-1, -1)
            continue
        np.testing.assert_array_equal(maps.relevance[i], raw[i] / largest)
        assert np.abs(maps.relevance[i]).max() == 1
        order = np.argsort(-maps.relevance[i], kind="stable")
        np.testing.assert_array_equal(maps.rank[i][order], np.arange(d))
        for ties, k in zip((maps.ties_at_31, maps.ties_at_307), top_places(d), strict=True):
            assert ties[i] == np.count_nonzero(maps.relevance[i] == maps.relevance[i][order[k - 1]]) - 1


def test_equal_values_rank_by_component_and_zero_has_no_sign() -> None:
    maps = finish_maps(np.array([[0.0, -0.0, 2.0, 0.0, -1.0, 2.0, -0.0]], np.float32))
    assert maps.rank[0].tolist() == [2, 3, 0, 4, 6, 1, 5]
    assert not np.signbit(maps.relevance[0][[0, 1, 3, 6]]).any()


def test_ties_at_the_places_of_a_cifar_map() -> None:
    """30 larger values, then 10 that share the 31st place; the 307th lies among zeros."""
    raw = np.zeros((1, 3072), np.float32)
    raw[0, 100:130] = np.arange(30) + 2
    raw[0, 200:210] = 1
    raw[0, 300:400] = -1
    maps = finish_maps(raw)
    assert top_places(3072) == (31, 307)
    assert (maps.ties_at_31[0], maps.ties_at_307[0]) == (9, 3072 - 140 - 1)
    assert maps.rank[0, 200:210].tolist() == list(range(30, 40))


def test_maps_that_are_not_finite_keep_their_row() -> None:
    raw = np.array([[1, np.nan, 2], [np.inf, 1, -4], [1, 2, -4], [0, 0, 0]], np.float32)
    maps = finish_maps(raw)
    assert maps.status.tolist() == ["non_finite", "non_finite", "ok", "zero"]
    assert maps.ok.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(maps.relevance[:2], raw[:2])
    np.testing.assert_array_equal(maps.scale, np.array([np.nan, np.nan, 4, 0], np.float32))
    assert maps.rank.tolist() == [[0] * 3, [0] * 3, [1, 0, 2], [0] * 3]
    assert maps.ties_at_31.tolist() == [-1, -1, 0, -1]


def test_float64_is_divided_before_it_is_rounded() -> None:
    """Scales that float32 cannot hold, above or below, give non_finite and zero maps."""
    raw = np.array([[3e38, -1e38], [1e39, 1.0], [1e-60, 0.0], [1.0, 1 / 3]])
    maps = finish_maps(raw)
    assert maps.status.tolist() == ["ok", "non_finite", "zero", "ok"]
    np.testing.assert_array_equal(maps.relevance[0], np.array([1, -1 / 3], np.float32))
    np.testing.assert_array_equal(maps.relevance[2], [0, 0])
    assert maps.relevance.dtype == maps.scale.dtype == np.float32


@pytest.mark.parametrize(("d", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_ranks_are_wide_enough(d: int, dtype: type) -> None:
    raw = np.arange(d, dtype=np.float32)[None]
    rank = finish_maps(raw).rank
    assert rank.dtype == dtype
    np.testing.assert_array_equal(rank[0], np.arange(d)[::-1])


def test_many_maps_are_sorted_in_blocks_without_mixing() -> None:
    raw = np.random.default_rng(0).standard_normal((700, 48)).astype(np.float32)
    raw[::7] = 0
    maps = finish_maps(raw)
    expected = np.argsort(np.argsort(-raw, axis=1, kind="stable"), axis=1)
    np.testing.assert_array_equal(maps.rank[maps.ok], expected[maps.ok])
    assert np.flatnonzero(~maps.ok).tolist() == list(range(0, 700, 7))


def test_no_maps_and_wrong_shapes() -> None:
    assert finish_maps(np.zeros((0, 5), np.float32)).rank.shape == (0, 5)
    with pytest.raises(ValueError, match=r"\[maps, components\]"):
        finish_maps(np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="at least one component"):
        finish_maps(np.zeros((5, 0), np.float32))
