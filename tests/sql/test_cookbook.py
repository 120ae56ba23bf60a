"""Every query and every script of sql/README.md runs as it is printed there, and some against NumPy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lakes import Row, Rows, band_size, toy_rows, with_other_designs, write_lake
from typer.testing import CliRunner

from flows.cli import app
from sql.catalog import LakeDatabase, open_lake

README = Path(__file__).parents[2] / "sql" / "README.md"
SHAPE = (8, 8, 3)
OK_MAPS = "from relevance where method = 'lrp-epsilon-0.01' and status = 'ok'"
EPSILON = "lrp-epsilon-0.01"


def blocks() -> Iterator[tuple[str, str, str]]:
    """(heading above, language, code) of every block of code."""
    heading = ""
    for text in re.split(r"^(?=#|```\w)", README.read_text("utf-8"), flags=re.MULTILINE):
        if text.startswith("#"):
            heading = text.partition("\n")[0].lstrip("# ")
        elif text.startswith("```"):
            language, _, code = text[3:].partition("\n")
            yield heading, language, code.partition("```")[0]


QUESTIONS = {heading: code for heading, language, code in blocks() if language == "sql"}
SCRIPTS = [code for _, language, code in blocks() if language == "python"]
COMMANDS = [code for _, language, code in blocks() if language == "bash"]


def cookbook_rows() -> Rows:
    """A lake with everything that the cookbook asks for."""
    rows = toy_rows(
        shape=SHAPE,
        image_ids=tuple(range(40)),
        methods=("lrp-0", EPSILON, "lrp-alpha1-beta0"),
        attacks=("lbfgs", "deepfool-l2"),
        untargeted=("deepfool-l2",),
        seed=5,
    )
    for row in rows["methods"]:
        row |= {"family": row["method"].split("-")[1], "epsilon": 0.01 if row["method"] == EPSILON else None}
    return rows


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rows, LakeDatabase]]:
    rows = cookbook_rows()
    with open_lake(str(write_lake(tmp_path_factory.mktemp("cookbook") / "lake", rows))) as lake:
        yield rows, lake


def test_the_cookbook_is_read_as_a_whole() -> None:
    text = README.read_text("utf-8")
    assert text.count("```sql\n") == len(QUESTIONS) >= 30
    assert text.count("```bash\n") == len(COMMANDS) == 2
    assert text.count("```python\n") == len(SCRIPTS) == 5


OF_CONTROLS = (
    "Does the map jump where the decision turns?",
    "By which measure are maps furthest from chance, and furthest from noise?",
    "What is left of a map when the network forgets?",
)


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDatabase]:
    rows = with_other_designs(toy_rows(image_ids=tuple(range(12)), methods=(EPSILON,), seed=4))
    with open_lake(str(write_lake(tmp_path_factory.mktemp("controlled") / "lake", rows))) as lake:
        yield lake


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_an_answer(
    toy: tuple[Rows, LakeDatabase], controlled: LakeDatabase, question: str
) -> None:
    lake = controlled if question in OF_CONTROLS else toy[1]
    answer = lake.query(QUESTIONS[question])
    assert answer.height > 0
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in answer.columns), answer.columns
    computed = [name for name in answer.columns if answer[name].null_count() == answer.height]
    assert set(computed) <= {"alpha", "convention", "epsilon", "printed", "key", "default", "extra"}, answer


def ok_originals(rows: Rows, method: str) -> list[Row]:
    return [
        row
        for row in rows["relevance"]
        if (row["method"], row["subject"], row["status"]) == (method, "original", "ok")
    ]


def pairs_of(rows: Rows, method: str, attack: str) -> list[tuple[Row, Row, Row]]:
    """(attacked pair, original's map, adversarial map), both maps ok."""
    originals = {row["image_id"]: row for row in ok_originals(rows, method)}
    attacked = {
        (row["target"], row["image_id"]): row for row in rows["adversarials"] if row["attack"] == attack
    }
    return [
        (attacked[row["target"], row["image_id"]], originals[row["image_id"]], row)
        for row in rows["relevance"]
        if (row["method"], row["subject"], row["status"]) == (method, attack, "ok")
        and row["image_id"] in originals
    ]


def ask(toy: tuple[Rows, LakeDatabase], question: str, **where: object) -> pl.DataFrame:
    return toy[1].query(QUESTIONS[question]).filter(**where)


def test_border_or_centre(toy: tuple[Rows, LakeDatabase]) -> None:
    values = np.array([row["relevance"].reshape(SHAPE) for row in ok_originals(toy[0], EPSILON)], np.float64)
    found = ask(toy, "Border or centre?", method=EPSILON, subject="original").row(0, named=True)
    inside = abs(values[:, 1:-1, 1:-1]).sum() / abs(values).sum()
    assert found["border_share"] == pytest.approx(1 - inside, rel=1e-9)
    assert found["area_share"] == 1 - 36 / 64


def test_mean_map_of_a_class(toy: tuple[Rows, LakeDatabase]) -> None:
    maps = [row["relevance"].reshape(SHAPE) for row in ok_originals(toy[0], EPSILON) if row["label"] == 1]
    expected = np.array(maps, np.float64).sum(axis=3).mean(axis=0)
    found = ask(toy, "What is the mean map of a class?")["mean_relevance"].to_numpy().reshape(SHAPE[:2])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_heatmap_of_an_image(toy: tuple[Rows, LakeDatabase]) -> None:
    [row] = [row for row in ok_originals(toy[0], EPSILON) if row["image_id"] == 0]
    expected = row["relevance"].reshape(SHAPE).sum(axis=2, dtype=np.float64)
    found = ask(toy, "The map of an image as a heatmap, one row per row of the image")
    assert found["y"].to_list() == list(range(8))
    np.testing.assert_allclose(found["relevance_of_row"].to_list(), expected, rtol=1e-9, atol=1e-12)


def test_where_the_ten_most_relevant_components_went(toy: tuple[Rows, LakeDatabase]) -> None:
    [(_, before, after)] = [
        pair
        for pair in pairs_of(toy[0], EPSILON, "lbfgs")
        if (pair[0]["image_id"], pair[0]["target"]) == (0, 3)
    ]
    best = np.argsort(before["rank"])[:10]
    expected = [(place, int(c), int(after["rank"][c]) - place) for place, c in enumerate(best)]
    assert ask(toy, "Where did an image's ten most relevant components go?").rows() == expected


def test_change_of_the_image_and_of_the_map(toy: tuple[Rows, LakeDatabase]) -> None:
    pairs = pairs_of(toy[0], EPSILON, "lbfgs")
    l2 = [float(pair["l2"]) for pair, _, _ in pairs]
    k = band_size(0.1, 192)
    shared = [int(((before["rank"] < k) & (after["rank"] < k)).sum()) for _, before, after in pairs]
    rho = [float(np.corrcoef(before["rank"], after["rank"])[0, 1]) for _, before, after in pairs]
    found = ask(
        toy,
        "Does a larger change of the image come with a larger change of the map?",
        method=EPSILON,
        attack="lbfgs",
    ).row(0, named=True)
    assert found["pairs"] == len(pairs) > 10
    assert found["l2_with_overlap"] == pytest.approx(np.corrcoef(l2, shared)[0, 1], rel=1e-9)
    assert found["l2_with_spearman"] == pytest.approx(np.corrcoef(l2, rho)[0, 1], rel=1e-9)


def test_whose_maps_changed_most(toy: tuple[Rows, LakeDatabase]) -> None:
    everyone = [
        (
            float(np.corrcoef(before["rank"], after["rank"])[0, 1]),
            method,
            attack,
            pair["image_id"],
            pair["target"],
        )
        for method in ("lrp-0", EPSILON, "lrp-alpha1-beta0")
        for attack in ("lbfgs", "deepfool-l2")
        for pair, before, after in pairs_of(toy[0], method, attack)
    ]
    found = ask(toy, "Whose maps changed most, and whose least?")
    assert found.select("method", "attack", "image_id", "target").rows() == [
        row[1:] for row in sorted(everyone)[:10]
    ]
    np.testing.assert_allclose(found["spearman"], [row[0] for row in sorted(everyone)[:10]], rtol=1e-9)


def test_spread_of_the_change(toy: tuple[Rows, LakeDatabase]) -> None:
    images = {row["image_id"]: row["pixels"].astype(np.float32) / np.float32(255) for row in toy[0]["images"]}
    counts = [
        int((abs(row["pixels"] - images[row["image_id"]]) > 0.5 / 255).sum())
        for row in toy[0]["adversarials"]
        if row["status"] == "success"
    ]
    found = ask(toy, "Over how many components is the change spread?")["changed_components"].to_list()
    assert found == sorted(counts, reverse=True)[:10]


def test_do_two_methods_find_the_same_components(toy: tuple[Rows, LakeDatabase]) -> None:
    one = {row["image_id"]: row["rank"] for row in ok_originals(toy[0], "lrp-0")}
    other = {row["image_id"]: row["rank"] for row in ok_originals(toy[0], EPSILON)}
    both = sorted(one.keys() & other.keys())
    shares = [((one[i] < 2) & (other[i] < 2)).sum() / 2 for i in both]
    rho = [float(np.corrcoef(one[i], other[i])[0, 1]) for i in both]
    found = ask(toy, "Do two methods find the same components?", method="lrp-0", other_method=EPSILON).rows()
    figures = (pytest.approx(np.mean(shares), rel=1e-9), pytest.approx(np.mean(rho), rel=1e-9))
    assert found == [("lrp-0", EPSILON, len(both), *figures)]


def test_the_commands_of_the_cookbook(
    toy: tuple[Rows, LakeDatabase], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, lake = toy
    (tmp_path / "lake").symlink_to(lake.url)
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        name, *arguments = shlex.split(command)
        assert name == "relevance-lake"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    written = pl.read_parquet("top.parquet")
    assert written.height == lake.query(f"select count(*) {OK_MAPS}").item() > 0
    assert written["components"].list.len().unique().to_list() == [31]


@pytest.mark.parametrize("script", SCRIPTS)
def test_polars_and_pandas(
    toy: tuple[Rows, LakeDatabase], script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, lake = toy
    if "pandas" in script or ".df()" in script:
        pytest.importorskip("pandas")
    monkeypatch.chdir(Path(lake.url).parent)
    names: dict[str, Any] = {}
    exec(script, names)
    if "overlaps" in names:
        found = names["overlaps"]
        answer = found.to_dicts() if isinstance(found, pl.DataFrame) else found.to_dict("records")
        assert answer == lake.query("from topk_overlap_at(10, 50)").to_dicts()
    elif "overlap_of_class" in names:
        pairs = sum(before["label"] == 1 for _, before, _ in pairs_of(rows, EPSILON, "lbfgs"))
        mine = names["overlap_of_class"].filter(method=EPSILON, attack="lbfgs")
        assert mine["pairs"].unique().to_list() == [pairs] and pairs > 0
    elif "ok_maps" in names:
        order = ["subject", "target", "image_id"]
        expected = lake.query(f"select {', '.join(order)}, rank from ({OK_MAPS})").sort(order)
        found = names["ok_maps"].select(*order, "rank").sort(order)
        assert found["rank"].to_list() == expected["rank"].to_list()
        assert found.select(order).rows() == expected.select(order).rows()
    else:
        assert len(names["maps"]) == sum(
            (row["method"], row["subject"]) == (EPSILON, "original") for row in rows["relevance"]
        )
