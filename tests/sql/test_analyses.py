"""Every analysis against its oracle, all columns, on lakes with ties, zeros, NaN maps, one-row partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from lakes import ATTACKS, METHODS, Row, Rows, toy_rows, with_nothing_left, with_other_designs, write_lake
from oracles import ORACLES, assert_same

from sql.catalog import LakeDatabase, Scope, analyses, data_dictionary, open_lake
from sql.schema import connect, create_contract

LAKES: dict[str, Callable[[], Rows]] = {
    "4x4x3": lambda: toy_rows(),
    "two classes, one image": lambda: toy_rows(image_ids=(7,), classes=2, seed=3),
    "16x16x3": lambda: toy_rows(shape=(16, 16, 3), image_ids=tuple(range(12)), seed=1),
    "32x32x3": lambda: toy_rows(shape=(32, 32, 3), image_ids=tuple(range(9)), seed=2),
    "other designs": lambda: with_other_designs(toy_rows(methods=("lrp-0", "lrp-alpha1-beta0"), seed=4)),
    "an untargeted attack": lambda: toy_rows(image_ids=tuple(range(30)), untargeted=ATTACKS[-1:], seed=6),
    "twelve labels": lambda: toy_rows(image_ids=tuple(range(60)), classes=12, methods=("lrp-0",), seed=5),
    "tied, flagged and failed": lambda: with_nothing_left(toy_rows(image_ids=tuple(range(30)), seed=11)),
    "two datasets and models": lambda: joined(
        toy_rows(seed=7),
        toy_rows(seed=8, shape=(5, 3, 1), dataset="other-test"),
        toy_rows(seed=9, model="other-model"),
    ),
}


def joined(*parts: Rows) -> Rows:
    """The rows of several lakes in one; what they both have stands once."""
    rows = {name: [row for part in parts for row in part[name]] for name in parts[0]}
    for name in ("images", "datasets", "models", "attacks", "methods", "runs"):
        ids = ("dataset", "image_id") if name == "images" else tuple(rows[name][0])[:1]
        rows[name] = list({tuple(row[i] for i in ids): row for row in reversed(rows[name])}.values())
    return rows


@pytest.fixture(scope="module", params=LAKES)
def toy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Rows, LakeDatabase]]:
    rows = LAKES[request.param]()
    with open_lake(str(write_lake(tmp_path_factory.mktemp("lake"), rows))) as lake:
        yield rows, lake


def test_every_analysis_has_an_oracle() -> None:
    assert set(ORACLES) == set(analyses())


@pytest.mark.parametrize("name", sorted(analyses()))
def test_analysis(name: str, toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    assert_same(name, lake.analyse(name), ORACLES[name](rows))


SCOPES = {
    "one method": Scope(methods=METHODS[:1]),
    "one attack": Scope(attacks=ATTACKS[1:]),
    "some classes": Scope(labels=(0, 2), targets=(1, 2)),
    "no attack": Scope(attacks=()),
    "no method": Scope(methods=()),
    "no such class": Scope(labels=(99,)),
}


def in_scope(rows: Rows, scope: Scope) -> Rows:
    """The rows of a toy lake that a scope leaves."""

    def has(row: Row) -> bool:
        subjects = None if scope.attacks is None else ("original", *scope.attacks)
        targets = None if scope.targets is None else (None, *scope.targets)
        wanted = {"method": scope.methods, "attack": scope.attacks, "subject": subjects}
        wanted |= {"label": scope.labels, "target": targets}
        return all(ids is None or name not in row or row[name] in ids for name, ids in wanted.items())

    return {table: [row for row in members if has(row)] for table, members in rows.items()}


@pytest.mark.parametrize("of_lake", SCOPES)
def test_any_subset(of_lake: str, tmp_path: Path) -> None:
    rows, scope = toy_rows(seed=10), SCOPES[of_lake]
    with open_lake(str(write_lake(tmp_path, rows)), scope=scope) as lake:
        for name, answer in ORACLES.items():
            assert_same(name, lake.analyse(name), answer(in_scope(rows, scope)))


def test_an_empty_lake_has_the_same_columns_and_types(tmp_path: Path) -> None:
    (tmp_path / "empty" / "images").mkdir(parents=True)
    full = str(write_lake(tmp_path / "full", toy_rows()))
    with open_lake(full) as lake, open_lake(str(tmp_path / "empty")) as bare:
        for name in analyses():
            found = bare.analyse(name)
            assert found.schema == lake.analyse(name).schema
            assert found.height == (4 if name == "study_overview" else 0)


def test_no_figure_is_a_type_that_only_duckdb_knows() -> None:
    types = set(data_dictionary().filter(pl.col("table").is_in(list(analyses())))["type"])
    plain = {"varchar", "boolean", "integer", "bigint", "float", "double"}
    assert types <= plain | {"float[]", "utinyint[]"}


def test_headers_describe_every_column() -> None:
    frame = data_dictionary()
    assert frame.filter(pl.col("meaning") == "").rows() == []
    for name, analysis in analyses().items():
        assert set(analysis.columns) <= set(frame.filter(pl.col("table") == name)["column"])
        assert "Grain: one row per" in analysis.text
        assert "Inputs: " in analysis.text and "Paper: " in analysis.text


def test_shifts_of_a_megapixel_are_added_up() -> None:
    names = "'d' as dataset, 'm' as model, 'x' as method, 'a' as subject, 'target' as explains, 1 as target"
    number = "series_number(dataset, model, method, subject, explains, target)"
    counted = "0 as label, 2 as original_place, 2 as adversarial_place, -70000 as shift, 3 as components"
    views = {
        "series": f"select *, {number} as series from (select {names})",
        "shift_counts": f"select {names.replace('subject', 'attack')}, {counted}",
    }
    with connect() as connection:
        create_contract(connection)
        for view, sql in views.items():
            connection.execute(f"create or replace view {view} as {sql}")
        found = connection.execute("select components, mean_shift from shift_by_class").fetchall()
    assert found == [(3, -70000)]
