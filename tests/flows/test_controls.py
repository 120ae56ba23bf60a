"""Controls of a study: which images and maps they bring, and that a run adds just these to a lake."""

from __future__ import annotations

import numpy as np
import pytest

from compute.attacks.controls import TOLERANCE
from flows import networks
from flows.analyse import analyse
from flows.attack import attack_shard, missing_shards
from flows.check import require_sound
from flows.errors import UserError
from flows.explain import explain_unit, missing_units
from flows.ingest import image_shape, ingest_images, predict, read_images
from flows.lake import Lake
from flows.plan import Plan
from flows.study import ControlsSection, Study, load_study, parse_study
from flows.summary import most_pairs
from flows.vectors import matrix
from sql.catalog import open_lake
from tests.flows.conftest import STUDY

CONTROLS = """
[controls]
two_by_two = true
noise = true
reverse = true
path = [0.5]
darkened = true
rounding = true

[[attacks]]
id = "floats"
quantise = "none"
"""
NAMES = ("noise", "reverse", "path-0.5", "darkened")
OF_LBFGS = [f"{name}-lbfgs" for name in NAMES]
OF_FLOATS = [f"{name}-floats" for name in (*NAMES, "round", "floor")]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    file = tmp_path_factory.mktemp("controls") / "small.toml"
    file.write_text(STUDY + CONTROLS)
    return load_study(str(file))


def run(study: Study, lake: Lake) -> list[str]:
    """All steps to the maps, without Prefect; the attacks and controls that were missing."""
    predict(study, lake, ingest_images(study, lake))
    missing = missing_shards(study, lake)
    for attack, shard in missing:
        attack_shard(study, lake, attack, shard)
    for unit in missing_units(study, lake):
        explain_unit(study, lake, unit)
    lake.refresh()
    return [attack for attack, _ in missing]


@pytest.fixture(scope="module")
def lake(study, tmp_path_factory) -> Lake:
    """A study without controls, and then what its controls add."""
    plain = study.model_copy(update={"controls": ControlsSection()})
    controls = [*OF_LBFGS, *OF_FLOATS]
    found = Lake(str(tmp_path_factory.mktemp("controlled") / "lake"))
    assert run(plain, found) == ["lbfgs", "floats"]
    before = set(found.paths("relevance") + found.paths("adversarials"))
    assert run(study, found) == controls
    assert before < set(found.paths("relevance") + found.paths("adversarials"))
    assert missing_shards(study, found) == missing_units(study, found) == []
    assert Plan(study, found).is_complete()
    require_sound(study, found)
    analyse(study, found)
    return found


def test_every_pair_has_its_controls(study, lake):
    with open_lake(lake.url) as database:
        pairs = database.query("select attack, target, image_id, status, l2, logits, label from adversarials")
    of = {name: frame.sort("target", "image_id") for (name,), frame in pairs.group_by("attack")}
    assert set(of) == {"lbfgs", "floats", *OF_LBFGS, *OF_FLOATS}
    for name, frame in of.items():
        assert frame["image_id"].equals(of["lbfgs"]["image_id"]), name
    won = of["lbfgs"]["status"] == "success"
    assert won.all() and (of["noise-lbfgs"]["status"] == "kept").all()
    size = of["lbfgs"]["l2"].to_numpy()
    assert np.abs(of["noise-lbfgs"]["l2"].to_numpy() / size - 1).max() <= TOLERANCE
    assert np.abs(of["path-0.5-lbfgs"]["l2"].to_numpy() / size - 0.5).max() < 1e-3
    taken = np.argmax(of["noise-lbfgs"]["logits"].to_list(), axis=1)
    assert np.array_equal(taken, of["noise-lbfgs"]["label"].to_numpy())


def test_maps_explain_the_class_that_they_say(study, lake):
    with open_lake(lake.url) as database:
        maps = database.query(
            "select subject, explains, count(*) as maps, bool_and(explained_class = if(explains = 'label', "
            "label, target)) as agrees from relevance group by all"
        )
    counts = {(row["subject"], row["explains"]): row["maps"] for row in maps.to_dicts()}
    pairs = 18 * len(study.methods)
    for name in ("path-0.5-lbfgs", "path-0.5-floats", "round-floats", "floor-floats"):
        assert sum(counts.pop((name, explains), 0) for explains in ("label", "target")) == pairs
    assert maps["agrees"].all()
    wanted = {("original", "label"): 2 * len(study.methods), ("original", "target"): pairs}
    for attack in ("lbfgs", "floats"):
        wanted |= {(attack, explains): pairs for explains in ("label", "target")}
        wanted |= {(f"{name}-{attack}", "label"): pairs for name in ("noise", "reverse", "darkened")}
    assert counts == wanted


def test_rounded_and_darkened_images_are_what_they_say(study, lake):
    columns = "image_id, target, label, pixels, logits, status"
    with open_lake(lake.url) as database:
        of = {
            name: database.query(f"select {columns} from adversarials where attack = ? order by 1, 2", [name])
            for name in ("floats", "round-floats", "floor-floats", "darkened-lbfgs")
        }
        originals = database.query("select image_id, pixels from images order by image_id")
        parameters = database.query("select attack, quantise, control_of, fraction from attacks").rows()
    pixels = {name: np.array(frame["pixels"].to_list(), np.float32) for name, frame in of.items()}
    levels = pixels["floats"] * np.float32(255)
    assert np.abs(levels - np.rint(levels)).max() > 0.4
    np.testing.assert_array_equal(np.rint(pixels["round-floats"] * 255), np.rint(levels))
    np.testing.assert_array_equal(np.rint(pixels["floor-floats"] * 255), np.floor(levels))
    for name in ("round-floats", "floor-floats"):
        taken = np.argmax(of[name]["logits"].to_list(), axis=1)
        assert np.array_equal(
            taken == of[name]["target"].to_numpy(), (of[name]["status"] == "success").to_numpy()
        )
    before = np.array(originals["pixels"].to_list(), int)[of["darkened-lbfgs"]["image_id"].to_numpy()]
    lower = before - np.rint(pixels["darkened-lbfgs"] * 255).astype(int)
    assert set(np.unique(lower)) == {0, 1} and (of["darkened-lbfgs"]["status"] == "kept").all()
    assert 0.4 < lower.mean() <= 0.4401
    assert {("darkened-lbfgs", "none", "lbfgs", 0.44), ("floor-floats", "floor", "floats", None)} < set(
        parameters
    )


def test_a_question_is_explained_as_the_network_would(study, lake):
    method = study.parsed_methods()[1]
    plan = Plan(study, lake)
    path = lake.find(plan.question_maps(method, 3, 0, plan.chosen()))
    rows = lake.read(str(path))
    images = read_images(study, lake, 0).of(np.asarray(rows["image_id"]))
    network = networks.of_study(study, image_shape(study, lake), 10)
    classes = np.full(len(images), 3)
    [batch] = network.explainer((method,), networks.batch_size(study)).stream(images, classes)
    wanted = batch[method.id].relevance.reshape(len(images), -1)
    wanted = wanted / np.abs(wanted).max(axis=1, keepdims=True)
    assert matrix(rows["relevance"]) == pytest.approx(wanted, abs=1e-5)
    assert set(np.asarray(rows["explained_class"])) == {3}


def test_kept_rows_and_sql_give_the_same_figures(study, lake):
    with open_lake(lake.url) as database:
        from_sql = database.query("from decision_sensitivity")
    stored = lake.read(f"results/decision_sensitivity/{study.name}.parquet")
    assert stored.num_rows == from_sql.height > 3 * 2 * 7
    assert np.asarray(stored["overlap"]) == pytest.approx(from_sql["overlap"].to_numpy(), rel=1e-12)
    designed = {"adversarial", "image", "question", "question as stored", "noise", "reverse", "path 0.5"}
    designed |= {"darkened", "round", "floor"}
    assert set(stored["comparison"].to_pylist()) >= designed | {"other image"}
    assert set(np.asarray(stored["images"])) == {2}
    fractions = zip(stored["comparison"].to_pylist(), stored["fraction"].to_pylist(), strict=True)
    assert {name for name, fraction in fractions if fraction is not None} == {"path 0.5", "reverse"}


def test_attacks_are_counted_without_their_controls(study, lake):
    rows = lake.read(f"results/attack_overview/{study.name}.parquet").to_pylist()
    assert {row["attack"] for row in rows} == {"lbfgs", "floats"}
    most = most_pairs(study, 20, 10)
    assert set(most.pairs) == {"lbfgs", "floats", *OF_LBFGS, *OF_FLOATS}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[controls]\nnoise = 1.5\n", "controls.noise"),
        ("[controls]\nnoisy = true\n", "Did you mean 'noise'"),
        ("[controls]\npath = [1.5]\n", "controls.path"),
        ("[controls]\ndarkened_fraction = 44\n", "controls.darkened_fraction"),
        ("[controls]\nrounding = true\n", 'give one `quantise = "none"`'),
        ('[controls]\nnoise = true\n[[attacks]]\nid = "noise-lbfgs"\n', "names a control"),
    ],
)
def test_wrong_controls_are_told(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        parse_study(STUDY + text, "small.toml", tmp_path)


def test_an_untargeted_attack_has_no_controls(tmp_path):
    text = 'name = "x"\nmethods = ["gradient"]\n[controls]\nnoise = true\n'
    text += '[[attacks]]\nalgorithm = "deepfool-l2"\n'
    with pytest.raises(UserError, match="an untargeted one has none"):
        parse_study(text, "x.toml", tmp_path)
