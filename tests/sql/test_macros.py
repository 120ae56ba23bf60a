"""The macros against NumPy: ties, zeros of either sign, bands of one and of all components, nulls."""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from lakes import stable_rank

from sql.schema import connect, create_contract

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5]), st.floats(-1, 1, width=32, allow_subnormal=False)
).map(np.float32)


@st.composite
def pairs_of_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Two maps of the same size and two bands, of one component, of all, or between."""
    n = draw(st.integers(1, 40))
    a, b = (draw(arrays.arrays(np.float32, n, elements=VALUES)) for _ in range(2))
    k, other_k = (draw(st.sampled_from([1, n]) | st.integers(1, n)) for _ in range(2))
    return a, b, k, other_k


@cache
def database() -> duckdb.DuckDBPyConnection:
    connection = connect()
    create_contract(connection)
    return connection


def value_of(expression: str, **parameters: Any) -> Any:
    """One expression in which ranks have the type of the lake."""
    for name in parameters:
        kind = {"a": "usmallint[]", "b": "usmallint[]", "x": "float[]", "y": "float[]"}.get(name, "integer")
        expression = expression.replace(f"${name}", f"${name}::{kind}")
    plain = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in parameters.items()}
    row = database().execute(f"select {expression}", plain).fetchone()
    assert row is not None
    return row[0]


def best(values: np.ndarray, k: int) -> list[int]:
    return np.argsort(-values, kind="stable")[:k].tolist()


@given(pair=pairs_of_maps())
def test_top_components_and_overlap(pair: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    x, y, k, other_k = pair
    a, b = stable_rank(x), stable_rank(y)
    assert value_of("top_components($a, $k)", a=a, k=k) == best(x, k)
    for places in (k, other_k):
        shared = len(set(best(x, k)) & set(best(y, places)))
        assert value_of("overlap($a, $b, $k, adversarial_k := $m)", a=a, b=b, k=k, m=places) == shared / k
    assert value_of("overlap($a, $b, $k)", a=a, b=b, k=k) == len({*best(x, k)} & {*best(y, k)}) / k
    assert value_of("overlap($a, $a, $k)", a=a, k=k) == 1


@given(pair=pairs_of_maps())
def test_rank_shift(pair: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    x, y, k, _ = pair
    a, b = stable_rank(x), stable_rank(y)
    assert value_of("rank_shift($a, $b)", a=a, b=b) == (b - a).tolist()
    assert value_of("rank_shift($a, $b, k := $k)", a=a, b=b, k=k) == [int(b[c] - a[c]) for c in best(x, k)]


@given(shape=SHAPES, data=st.data())
def test_heatmap(shape: tuple[int, int, int], data: st.DataObject) -> None:
    height, width, channels = shape
    x = data.draw(arrays.arrays(np.float32, height * width * channels, elements=VALUES))
    expected = x.reshape(shape).sum(axis=2, dtype=np.float64)
    found = value_of("heatmap($x, width := $w, channels := $c)", x=x, w=width, c=channels)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=1e-12, atol=1e-12)
    if height == width:
        assert value_of("heatmap($x, channels := $c)", x=x, c=channels) == found


def test_heatmap_of_a_square_rgb_image_needs_no_size() -> None:
    x = np.arange(27, dtype=np.float32)
    assert value_of("heatmap($x)", x=x) == [[3.0, 12.0, 21.0], [30.0, 39.0, 48.0], [57.0, 66.0, 75.0]]
    with pytest.raises(duckdb.InvalidInputException, match="give its width and channels"):
        value_of("heatmap($x)", x=x[:20])


@given(pair=pairs_of_maps())
def test_pearson(pair: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    x, y, _, _ = pair
    found = value_of("pearson($x, $y)", x=x, y=y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert found is None
    else:
        x, y = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (x, y))
        assert found == pytest.approx(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)), rel=1e-9, abs=1e-9)


@given(pair=pairs_of_maps())
def test_spearman_is_the_correlation_of_the_ranks(pair: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    a, b = (stable_rank(values) for values in pair[:2])
    found = value_of("spearman($a, $b)", a=a, b=b)
    if len(a) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "expression",
    [
        "top_components($none, 1)", "top_components($a, null)",
        "overlap($none, $a, 1)", "overlap($a, $none, 1)", "overlap($a, $a, null)", "overlap($a, $a, 0)",
        "rank_shift($none, $a)", "rank_shift($a, $none)", "rank_shift($none, $a, k := 1)",
        "rank_shift($a, $none, k := 1)",
        "spearman($none, $a)", "spearman($a, $none)",
        "heatmap($blank)", "heatmap($blank, width := 2)", "heatmap([]::float[])",
        "pearson($blank, $x)", "pearson($x, $blank)", "pearson($x, $broken)",
    ],
)  # fmt: skip
def test_nothing_comes_of_nothing(expression: str) -> None:
    """Null in, null out: of constants, and of columns, where null and other rows share a vector."""
    lists = {
        "none": ("null", "usmallint[]"), "a": ("[1, 0, 2]", "usmallint[]"),
        "blank": ("null", "float[]"), "x": ("[0.5, -1, 0]", "float[]"),
        "broken": ("['nan'::float, 1, 0]", "float[]"),
    }  # fmt: skip
    constant, column = expression, expression
    for name, (text, kind) in lists.items():
        constant = constant.replace(f"${name}", f"{text}::{kind}")
        column = column.replace(f"${name}", f'"{name}"')
    nothing: list[list[int] | None] = [None, []]
    assert database().execute(f"select {constant}").fetchall()[0][0] in nothing
    columns = ", ".join(
        f'case when i = 1 then {text} end::{kind} as "{n}"' for n, (text, kind) in lists.items()
    )
    rows = (
        database().execute(f"select {column} from (select {columns} from range(3) as t(i)) as t").fetchall()
    )
    assert all(row[0] in nothing for row in rows)


def test_more_than_all_components_are_all_of_them() -> None:
    a, b = np.array([2, 0, 1]), np.array([0, 2, 1])
    assert value_of("top_components($a, 9)", a=a) == [1, 2, 0]
    assert value_of("overlap($a, $b, 9)", a=a, b=b) == 1
    assert value_of("rank_shift($a, $b, k := 9)", a=a, b=b) == [2, 0, -2]


EDGES = np.concatenate([np.arange(-40, 41) / 40, [-0.001, 0.001, -1e-45, 1e-45]]).astype(np.float32)


@given(drawn=st.lists(VALUES, max_size=50))
def test_cells_keep_the_order_of_values_and_lie_within_a_bin(drawn: list[np.float32]) -> None:
    beside = np.concatenate([np.nextafter(EDGES, np.float32(side)) for side in (-1, 1)])
    values = np.sort(np.concatenate([EDGES, beside, np.array(drawn, np.float32)]))
    cells, bins, near = (
        np.array(value_of(f"list_transform($x, lambda value: {macro})", x=values))
        for macro in (
            "relevance_cell(value::double)",
            "relevance_bin(value::double)",
            "is_near_zero_cell(relevance_cell(value::double))",
        )
    )
    exact = values.astype(np.float64)
    assert np.all(np.diff(cells) >= 0)
    assert np.array_equal(bins, np.floor(exact * 40))
    same_cell = np.diff(cells) == 0
    assert not np.any(np.diff(bins)[same_cell])
    assert np.array_equal(cells == 0, exact == 0) and np.array_equal(cells < 0, exact < 0)
    assert np.array_equal(near, np.abs(exact) < 0.001)


def test_chance_is_that_of_the_hypergeometric_and_the_uniform_distribution() -> None:
    from scipy.stats import hypergeom

    for n, k in ((3072, 307), (3072, 31), (48, 5), (7, 7)):
        marked = hypergeom(n, k, k)
        assert value_of(f"overlap_chance({k}, {n})") == pytest.approx(marked.mean() / k)
        assert value_of(f"overlap_chance_variance({k}, {n})") == pytest.approx(marked.var() / k**2, abs=1e-15)


def test_chance_is_what_permuted_maps_give() -> None:
    """4,000 maps in another order: means within four standard errors, variances within a tenth."""
    n, k, maps = 60, 6, 4000
    rng = np.random.default_rng(7)
    drawn = rng.permuted(np.tile(np.arange(n), (maps, 1)), axis=1)  # ranks; the other map's are 0 .. n - 1
    shared = (drawn[:, :k] < k).mean(axis=1)
    shift = (drawn[:, :k] - np.arange(k)).mean(axis=1)
    rho = 1 - 6 * ((drawn - np.arange(n)) ** 2).sum(axis=1) / (n * (n**2 - 1))
    known = {
        "overlap": (shared, f"overlap_chance({k}, {n})", f"overlap_chance_variance({k}, {n})"),
        "shift": (shift, f"shift_chance({k}, {n})", f"shift_chance_variance({k}, {n})"),
        "spearman": (rho, "0.0", f"spearman_chance_variance({n})"),
    }
    for values, mean, variance in known.values():
        assert abs(values.mean() - float(value_of(mean))) < 4 * np.sqrt(float(value_of(variance)) / maps)
        assert float(value_of(variance)) == pytest.approx(values.var(), rel=0.1)
    weights = np.array(value_of(f"rank_biased_weights(persistence({k}), {n})"))
    biased = weights[np.maximum(drawn, np.arange(n))].sum(axis=1)
    assert value_of(f"rank_biased_chance(persistence({k}), {n})") == pytest.approx(biased.mean(), rel=0.03)
    assert weights.sum() == pytest.approx(1)
