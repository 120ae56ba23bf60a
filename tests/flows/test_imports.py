"""Adversarial examples of others: an attack's own results, saved as PNG files and brought back in."""

import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from compute.attacks.imported import find_examples
from flows.attack import missing_shards
from flows.errors import LakeMismatch, UserError
from flows.imports import Artefacts, import_artefacts
from flows.lake import Lake
from flows.pairing import LEFT_OUT, pair
from flows.plan import Plan
from flows.study import load_study, parse_study
from flows.summary import most_pairs
from sql.catalog import open_lake

pytestmark = pytest.mark.prefect

SHIPPED = {"model": "shipped", "weights": None, "dataset": "cifar10-samples", "split": "test"}
MEASURED = "image_id, target, label, status, pixels, logits, target_probability, l1, l2, linf"


def save(folder, target, image_id, pixels):
    file = folder / f"target_{target}" / f"img_{image_id}_t{target}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture(autouse=True)
def _new_process():
    find_examples.cache_clear()


@pytest.fixture(scope="session")
def release(finished_lake, tmp_path_factory) -> tuple[Path, dict[str, int]]:
    """A folder as others would hand it over, with files of every kind, and how many there are of each."""
    folder = tmp_path_factory.mktemp("release")
    with open_lake(str(finished_lake)) as lake:
        made = lake.arrow("select image_id, target, pixels from adversarials").to_pylist()
        images = lake.arrow("select image_id, label, pixels, correct from images join predictions "
                            "using (image_id, label) order by image_id").to_pylist()  # fmt: skip
    for row in made:
        pixels = np.rint(np.array(row["pixels"]) * 255).astype(np.uint8).reshape(32, 32, 3)
        save(folder / "Test", row["target"], row["image_id"], pixels)
    clean = [np.array(row["pixels"], np.uint8).reshape(32, 32, 3) for row in images]
    attacked = {row["image_id"] for row in made}
    later = [row for row in images if row["correct"] and row["image_id"] not in attacked]
    wrong = [row for row in images if not row["correct"]]
    others = {row["image_id"]: (row["label"] + 1) % 10 for row in images}
    # an unperturbed image is no adversarial example: the network keeps its class
    save(folder / "Test", others[later[0]["image_id"]], later[0]["image_id"], clean[later[0]["image_id"]])
    for row in later[:3]:
        save(folder / "Test", row["label"], row["image_id"], clean[row["image_id"]])
    for row in wrong:
        save(folder / "Test", others[row["image_id"]], row["image_id"], clean[row["image_id"]])
    save(folder / "Test", 1, 20, clean[0])
    save(folder / "Test", 10, later[1]["image_id"], clean[0])
    save(folder / "Test", others[later[1]["image_id"]], later[1]["image_id"], clean[0][:16])
    broken = folder / "Test" / f"target_{others[later[2]['image_id']]}"
    broken.mkdir(exist_ok=True)
    (broken / f"img_{later[2]['image_id']}_t{broken.name[7:]}.png").write_bytes(b"\x89PNG")
    (folder / "figure.png").write_bytes(b"")
    counts = {"imported": len(made) + 1, "own_class": 3, "no_image": 2, "misclassified": len(wrong)}
    return folder, counts | {"wrong_size": 1, "unreadable": 1, "misnamed": 1}


@pytest.fixture(scope="session")
def imported(release, tmp_path_factory):
    """(lake, study file) after an import."""
    folder = tmp_path_factory.mktemp("imported")
    find_examples.cache_clear()
    given = Artefacts(images=str(release[0]), **SHIPPED)
    import_artefacts("theirs", given, str(folder / "lake"), folder / "theirs.toml")
    return folder / "lake", folder / "theirs.toml"


@pytest.fixture
def copied(imported, tmp_path):
    """The same, to be changed."""
    lake = Path(shutil.copytree(imported[0], tmp_path / "lake"))
    return lake, Path(shutil.copy(imported[1], tmp_path))


def test_every_file_is_accounted_for(imported, release):
    with open_lake(str(imported[0])) as lake:
        row = lake.query("select * from imports").to_dicts()[0]
        attack = lake.query("select * from attacks").to_dicts()[0]
        checks = lake.check()
    assert {name: row[name] for name in release[1]} == release[1]
    assert row["files"] == sum(release[1].values()) == len(list(release[0].rglob("*.png")))
    assert (row["dataset"], row["attack"]) == ("cifar10-samples", "theirs")
    known = {name: value for name, value in attack.items() if value is not None}
    assert known == {"attack": "theirs", "algorithm": "imported", "targeted": True, "version": 1}
    assert checks["violations"].to_list() == [0] * len(checks)


def test_imported_rows_are_those_of_the_attack_that_made_them(imported, finished_lake, release):
    with open_lake(str(imported[0])) as lake:
        theirs = lake.arrow(f"select {MEASURED} from adversarials order by image_id, target")
        spent = lake.query("select distinct c, iterations, gradient_calls, forward_calls from adversarials")
    with open_lake(str(finished_lake)) as lake:
        ours = lake.arrow(f"select {MEASURED} from adversarials order by image_id, target")
    assert spent.rows() == [(None, None, None, None)]
    failed = [row for row in theirs.to_pylist() if row["status"] == "failed"]
    assert len(failed) == 1
    assert failed[0]["l2"] == 0
    assert np.argmax(failed[0]["logits"]) == failed[0]["label"]
    theirs = theirs.filter(pc.field("status") == "success")
    assert theirs.num_rows == ours.num_rows == 18
    for name in theirs.column_names:
        if pa.types.is_floating(theirs[name].type) or pa.types.is_list(theirs[name].type):
            got, wanted = (np.array(table[name].to_pylist()) for table in (theirs, ours))
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
        else:
            assert theirs[name].to_pylist() == ours[name].to_pylist()


def test_every_later_step_works_on_it(copied, release, prefect_server):
    from flows.pipeline import pipeline

    lake, file = copied
    one = 'methods = ["published-lrp-0"]'
    file.write_text(re.sub(r"methods = \[.*?\]", one, file.read_text(), flags=re.S))
    report = pipeline(study=str(file), lake=str(lake))
    with open_lake(str(lake)) as database:
        maps = database.query("select subject, count(*) as maps from relevance group by all order by all")
        overview = database.query("select images, pairs, successes, failed from results.attack_overview")
    assert maps.rows() == [("original", 3), ("theirs", 18)]
    assert overview.rows() == [(3, 19, 18, 1)]
    assert "theirs" in Path(report).read_text()
    assert Plan(load_study(str(file)), Lake(str(lake))).is_complete()


def test_only_images_with_an_example_are_chosen(imported, release):
    plan = Plan(load_study(str(imported[1])), Lake(str(imported[0])))
    chosen = plan.chosen()
    attack = plan.study.attacks[0]
    assert len(chosen.image_id) == 3
    assert {int(dict(p.keys)["target"] or 0) for p in plan.adversarials(attack, 0, chosen)} == set(range(10))
    only = Plan(plan.study.model_copy(update={"limit": 1}), plan.lake)
    first = only.chosen()
    assert first.image_id.tolist() == chosen.image_id[:1].tolist()
    assert [p.rows for p in only.adversarials(attack, 0, first)] == [1] * 9
    assert all(only.lake.find(partition) for partition in only.adversarials(attack, 0, first))


MIXED = """
[[attacks]]
id = "ours"
max_gradient_calls = 20
"""


def test_a_mixed_study_attacks_the_images_of_the_import(copied):
    from flows.attack import attack_shard, missing_shards

    lake, file = copied
    file.write_text(file.read_text() + MIXED)
    study, place = load_study(str(file)), Lake(str(lake))
    assert missing_shards(study, place) == [("ours", 0)]
    attack_shard(study, place, "ours", 0)
    with open_lake(str(lake)) as database:
        ids = database.query("select attack, count(distinct image_id) as n, count(*) as pairs "
                             "from adversarials group by all order by all").rows()  # fmt: skip
    assert ids == [("ours", 3, 27), ("theirs", 3, 19)]
    plan = Plan(study, Lake(str(lake)))
    assert plan.has_adversarials()
    partition = plan.adversarials(study.attack("ours"), 0, plan.chosen())[0]
    assert "with an imported example" in partition.made_from["images"]
    ours_alone = f'name = "alone"\nmethods = ["lrp-0"]\n{MIXED}'
    with pytest.raises(LakeMismatch, match="images was 'those with an imported example"):
        Plan(parse_study(ours_alone, "alone.toml", file.parent), Lake(str(lake))).check_inputs()


def test_changed_files_are_refused(copied, release, tmp_path):
    lake, file = copied
    folder = shutil.copytree(release[0], tmp_path / "changed")
    text = re.sub(r'(id = "theirs".*\npath = ).*', rf'\1"{folder}"', file.read_text(), flags=re.S)
    study = parse_study(text, "s.toml", tmp_path)
    Plan(study, Lake(str(lake))).check_inputs()
    next(folder.rglob("img_0_t*.png")).unlink()
    find_examples.cache_clear()
    with pytest.raises(LakeMismatch, match=r"attack\.files was '[0-9a-f]{64}'"):
        Plan(study, Lake(str(lake))).check_inputs()


def test_examples_of_another_dataset_are_refused(tmp_path):
    save(tmp_path / "x", 3, 700, np.zeros((32, 32, 3), np.uint8))
    given = Artefacts(images=str(tmp_path / "x"), **SHIPPED)
    with pytest.raises(UserError, match=r"no file below .*x is an adversarial example of .*: 0 of 1"):
        import_artefacts("theirs", given, str(tmp_path / "lake"), tmp_path / "theirs.toml")
    assert not (tmp_path / "theirs.toml").exists()


def test_the_command_writes_a_study_that_goes_on(typed, release, tmp_path):
    words = ["import", "--model", "shipped", "--images", release[0], "--dataset", "cifar10-samples",
             "--name", "theirs", "--lake", "lake"]  # fmt: skip
    code, out, err = typed(*words)
    assert code == 0
    assert "3 images, 19 examples; the network takes 18 for their target" in out
    assert "theirs.toml written. Next: relevance-lake run theirs.toml --lake lake" in out
    assert "theirs: 19 of " in err
    assert "3 their image's own class as target" in err
    written = (tmp_path / "theirs.toml").read_text()
    assert typed(*words)[0] == 0
    assert (tmp_path / "theirs.toml").read_text() == written
    assert len(load_study("theirs.toml").methods) == 7
    code, out, _ = typed("status", "theirs.toml", "--lake", "lake")
    assert "10 of 10" in out
    out = typed("run", "theirs.toml", "--lake", "lake", "--dry-run")[1]
    assert re.search(r"adversarials\s+│\s+0\s+│\s+0 ", out)
    out = typed("run", "theirs.toml", "--lake", "fresh", "--dry-run")[1]
    assert re.search(r"adversarials\s+│\s+10 ", out)
    (tmp_path / "theirs.toml").write_text("name = 'mine'")
    code, _, err = typed(*words)
    assert code == 2
    assert "theirs.toml is already there with other content" in " ".join(err.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--model": "gone.keras"}, "no model file gone.keras"),
        ({"--images": "gone"}, "no folder gone"),
        ({"--dataset": "gone"}, "no dataset 'gone'"),
        ({"--name": "Their Work"}, "name: must be made of a to z"),
        ({"--weights": "x.h5"}, "holds its weights itself"),
    ],
)
def test_bad_artefacts_are_named_before_any_work(typed, release, tmp_path, change, said):
    words = {"--model": "shipped", "--images": release[0], "--dataset": "cifar10-samples", "--lake": "lake"}
    code, _, err = typed("import", *(word for pair_ in (words | change).items() for word in pair_))
    assert code == 2
    assert said in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_pairing_takes_the_first_reason(release):
    """Against a loop over the files."""
    examples = find_examples(str(release[0]))
    rng = np.random.default_rng(0)
    for classes, side in ((10, 32), (5, 32), (10, 16)):
        label, correct = rng.integers(0, classes, 15), rng.random(15) < 0.7
        paired = pair(examples, label, correct, (side, 32), classes)
        expected = dict.fromkeys(LEFT_OUT, 0) | {"misnamed": 1}
        kept = []
        columns = (examples.paths, examples.image_id, examples.target, examples.size)
        for path, i, t, size in zip(*columns, strict=True):
            if size[0] == 0:
                expected["unreadable"] += 1
            elif i >= 15 or t >= classes:
                expected["no_image"] += 1
            elif label[i] == t:
                expected["own_class"] += 1
            elif not correct[i]:
                expected["misclassified"] += 1
            elif tuple(size) != (side, 32):
                expected["wrong_size"] += 1
            else:
                kept.append((path, i, t))
        assert list(zip(paired.paths, paired.image_id, paired.target, strict=True)) == kept
        assert paired.counts == expected | {"imported": len(kept), "files": len(examples.paths) + 1}
        for t in set(paired.target.tolist()):
            assert [p for p, _, u in kept if u == t] == paired.files(t, paired.of(t))


def test_estimates_before_anything_is_there(imported, release):
    study = load_study(str(imported[1]))
    most = most_pairs(study, 20, 10)
    examples = find_examples(str(release[0]))
    known = examples.image_id < 20
    assert most.images == len(set(examples.image_id[known].tolist()))
    inside = known & (examples.target < 10)
    assert most.pairs["theirs"] == (len(set(examples.target[inside].tolist())), inside.sum())
    few = most_pairs(study.model_copy(update={"limit": 1}), 20, 10)
    assert (few.images, few.pairs["theirs"][1]) == (1, (examples.image_id == examples.image_id.min()).sum())


def test_a_file_that_is_no_example_may_come_later(copied, release, tmp_path):
    folder = shutil.copytree(release[0], tmp_path / "more")
    text = copied[1].read_text().replace(str(release[0]), str(folder))
    copied[1].write_text(text)
    (folder / "stray.png").write_bytes(b"")
    assert missing_shards(load_study(str(copied[1])), Lake(str(copied[0]))) == []
    example = next((folder / "Test").rglob("img_0_t*.png"))
    example.write_bytes(b"\x89PNG")
    find_examples.cache_clear()
    with pytest.raises(LakeMismatch):
        missing_shards(load_study(str(copied[1])), Lake(str(copied[0])))
