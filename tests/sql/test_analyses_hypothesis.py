"""Every analysis against its oracle on lakes that hypothesis makes: small, tied, flagged, partly empty.

Once as SQL alone, over the maps, and once from the partial results that are kept in a lake.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from lakes import OUTCOMES, Rows, tie_probabilities, toy_rows, with_other_designs, write_lake
from oracles import ORACLES, assert_same

from flows.analyse import make_units
from flows.lake import Lake
from flows.partials import Partials
from sql.catalog import Scope, analyses, open_lake

SHAPES = [(1, 1, 1), (1, 2, 1), (2, 2, 1), (5, 3, 1), (4, 4, 3), (8, 7, 3)]
"""1 to 168 components: bands of one component, of several, and of all."""

CLOSE_TO_AN_EDGE = [0.001, 0.0009999999, 0.0010000001, 0.1, 0.125, 0.5, 0.975, 1e-30, 1e-45]
VALUES = st.one_of(
    st.integers(-3, 3).map(float),
    st.sampled_from([0.0, -0.0]),
    st.sampled_from(CLOSE_TO_AN_EDGE).flatmap(lambda value: st.sampled_from([value, -value])),
    st.floats(-1, 1, width=32),
).map(np.float32)
"""Values of a map: whole numbers (which tie), zeros of either sign, edges of bins and cells, any other."""

CHANCES = st.sampled_from(
    [OUTCOMES, {"success": 1.0}, {"failed": 1.0}, {"failed": 0.5, "already_target": 0.5}]
)


@st.composite
def lakes(draw: st.DrawFn) -> Rows:
    """A lake of up to three images, two attacks and two methods, any of which may come to nothing."""
    shape = draw(st.sampled_from(SHAPES))
    n = int(np.prod(shape))
    one_map = st.one_of(
        arrays.arrays(np.float32, n, elements=VALUES),
        st.just(np.zeros(n, np.float32)),
        st.just(np.full(n, np.nan, np.float32)),
    )
    # the same map may stand for several: ties between maps, pairs that do not change
    pool = draw(st.lists(one_map, min_size=1, max_size=6))
    rows = toy_rows(
        shape=shape,
        image_ids=tuple(draw(st.lists(st.integers(0, 2500), min_size=1, max_size=3, unique=True))),
        classes=draw(st.integers(2, 4)),
        attacks=("lbfgs", "other-attack")[: draw(st.integers(1, 2))],
        methods=("lrp-0", "lrp-epsilon-0.01")[: draw(st.integers(1, 2))],
        seed=draw(st.integers(0, 99)),
        make_map=lambda rng, n, like: pool[rng.integers(len(pool))],
        outcomes={"lbfgs": draw(CHANCES), "other-attack": draw(CHANCES)},
    )
    if draw(st.booleans()):
        tie_probabilities(rows)
    return with_other_designs(rows) if draw(st.booleans()) else rows


@given(rows=lakes())
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_analysis_on_any_lake(rows: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder, open_lake(str(write_lake(Path(folder), rows))) as database:
        oracles = {name: ORACLES[name](rows) for name in analyses()}
        for name, oracle in oracles.items():
            assert_same(name, database.analyse(name), oracle)
        lake = Lake(database.url)
        make_units(lake, Partials(Scope(), lake).of_shards())
        make_units(lake, Partials(Scope(), lake).of_series())
        Partials(Scope(), lake).keep(database)
        for name, oracle in oracles.items():
            assert_same(name, database.analyse(name), oracle)
