"""A study end to end, on a real Prefect server: what is stored, what is skipped, what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compute.attacks.result import softmax
from compute.datasets import load_dataset
from compute.ranking import finish_maps
from flows import networks
from flows.errors import LakeMismatch
from flows.lake import Lake
from flows.pipeline import pipeline
from flows.plan import Plan
from flows.study import load_study
from sql.catalog import open_lake
from tests.flows.stored import assert_same_maps

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def network():
    return networks.load("shipped", (32, 32, 3), 10)


def files(lake):
    """Bytes of every partition file, by path."""
    tables = ("images", "predictions", "adversarials", "relevance")
    return {str(p.relative_to(lake)): p.read_bytes() for t in tables for p in (lake / t).rglob("*.parquet")}


def test_images_and_predictions_are_the_dataset(finished_lake, network):
    samples = load_dataset("cifar10-samples")
    with open_lake(str(finished_lake)) as database:
        images = database.arrow("select * from images order by image_id")
        predictions = database.arrow("select * from predictions order by image_id")
    np.testing.assert_array_equal(np.array(images["pixels"].to_pylist()), samples.pixels.reshape(20, -1))
    assert images["label"].to_pylist() == samples.labels.tolist()
    logits = network.logits(samples.pixels.astype(np.float32) / 255, 16)
    np.testing.assert_allclose(np.array(predictions["logits"].to_pylist()), logits, atol=1e-5)
    assert predictions["correct"].to_pylist() == (logits.argmax(1) == samples.labels).tolist()


def test_adversarials_are_verified_8_bit_images(finished_lake, network):
    samples = load_dataset("cifar10-samples")
    with open_lake(str(finished_lake)) as database:
        rows = database.arrow("select * from adversarials order by image_id, target").to_pylist()
    chosen = Plan(load_study("demo"), Lake(str(finished_lake))).chosen().image_id[:2]
    wanted = [(i, t) for i in chosen for t in range(10) if t != samples.labels[i]]
    assert [(row["image_id"], row["target"]) for row in rows] == wanted
    assert {row["status"] for row in rows} == {"success"}
    pixels = np.array([row["pixels"] for row in rows], np.float32)
    np.testing.assert_allclose(pixels * 255, np.rint(pixels * 255), atol=1e-4)
    logits = network.logits(pixels.reshape(-1, 32, 32, 3), 16)
    for row, own in zip(rows, logits, strict=True):
        assert own.argmax() == row["target"]
        assert softmax(own)[row["target"]] >= 0.99 - 1e-4
        original = samples.pixels[row["image_id"]].reshape(-1) / 255
        assert row["l2"] == pytest.approx(np.linalg.norm(np.array(row["pixels"]) - original), rel=1e-4)


def test_maps_are_the_engine_s(finished_lake, study_file, network):
    methods = load_study(str(study_file)).parsed_methods()
    with open_lake(str(finished_lake)) as database:
        attacked = database.arrow("select * from adversarials where target = 2 order by image_id")
        stored = database.arrow(
            "select * from relevance where subject = 'lbfgs' and target = 2 order by method, image_id"
        ).to_pylist()
        originals = database.query(
            "select method, count(*) as maps from relevance where subject = 'original' "
            "and explains = 'label' and target is null and explained_class = label group by method"
        )
    images = np.array(attacked["pixels"].to_pylist(), np.float32).reshape(-1, 32, 32, 3)
    raw = network.explainer(methods, 16).explain(images, np.full(len(images), 2))
    assert originals["maps"].to_list() == [2] * len(methods)
    for method in methods:
        rows = [row for row in stored if row["method"] == method.id]
        expected = finish_maps(raw[method.id].relevance)
        np.testing.assert_allclose([row["relevance"] for row in rows], expected.relevance, atol=1e-5)
        np.testing.assert_allclose([row["start"] for row in rows], raw[method.id].start, rtol=1e-5)
        for row in rows:
            values = np.array(row["relevance"], np.float32)
            order = np.argsort(-values, kind="stable")
            assert np.array(row["rank"])[order].tolist() == list(range(3072))
            assert row["explained_class"] == 2


def test_parameters_stand_in_the_lake(finished_lake):
    with open_lake(str(finished_lake)) as database:
        attack = database.query("select * from attacks").to_dicts()[0]
        methods = database.query("select method, epsilon, alpha, beta, convention from methods").to_dicts()
        run = database.query("select * from runs").to_dicts()[0]
        checks = database.check()
    assert (attack["confidence"], attack["distance"], attack["quantise"]) == (0.99, "mse", "round")
    by_id = {row["method"]: row for row in methods}
    assert by_id["lrp-epsilon-0.01"]["epsilon"] == 0.01
    assert by_id["published-lrp-0"]["convention"] == "published"
    assert (run["outcome"], run["study"]) == ("completed", "small")
    assert run["written"] >= 1 + 1 + 10 + 3 * 11
    assert checks["violations"].sum() == 0


def test_a_second_run_computes_nothing(study_file, lake_copy):
    before = files(lake_copy)
    stamps = {path: (lake_copy / path).stat().st_mtime_ns for path in before}
    assert Plan(load_study(str(study_file)), Lake(str(lake_copy))).is_complete()
    pipeline(study=str(study_file), lake=str(lake_copy))
    assert {path: (lake_copy / path).stat().st_mtime_ns for path in files(lake_copy)} == stamps
    with open_lake(str(lake_copy)) as database:
        written = database.query("select written from runs order by started")["written"].to_list()
    assert written[-1] == 0


def test_what_is_lost_is_made_again_and_the_same(study_file, lake_copy):
    before = files(lake_copy)
    lost = [p for p in before if "target=3" in p or ("subject=original" in p and "lrp-alpha1-beta0" in p)]
    assert len(lost) == 1 + 3 + 1
    for path in lost:
        (lake_copy / path).unlink()
    pipeline(study=str(study_file), lake=str(lake_copy))
    after = files(lake_copy)
    assert sorted(after) == sorted(before)
    for path in lost:
        new, old = (pq.read_table(pa.BufferReader(content[path])) for content in (after, before))
        if path.startswith("relevance/"):
            assert_same_maps(new, old)
        else:
            assert new.equals(old)
    for path in set(before) - set(lost):
        assert after[path] == before[path]


def test_a_higher_limit_adds_to_the_lake(study_file, lake_copy):
    pipeline(study=str(study_file), lake=str(lake_copy), limit=3)
    with open_lake(str(lake_copy)) as database:
        assert database.query("select count(*) from adversarials").item() == 27
        assert database.query("select count(*) from relevance").item() == 3 * (3 + 27)
    assert Plan(load_study(str(study_file)), Lake(str(lake_copy))).is_complete()


def test_a_lower_limit_is_a_study_of_fewer_images(study_file, lake_copy):
    report = pipeline(study=str(study_file), lake=str(lake_copy), limit=1)
    with open_lake(str(lake_copy)) as database:
        overview = database.query("select images, pairs from results.attack_overview").row(0)
        overlap = database.query("select distinct pairs from results.topk_overlap")["pairs"].to_list()
        moments = database.query("select distinct subject, maps from results.relevance_moments").rows()
    assert overview == (1, 9)
    assert overlap == [9]
    assert sorted(moments) == [("lbfgs", 9), ("original", 1)]
    assert "the first 1 correctly classified" in Path(report).read_text()


def test_another_parameter_under_the_same_id_is_refused(study_file, lake_copy, tmp_path):
    changed = tmp_path / "changed.toml"
    changed.write_text(study_file.read_text().replace("history = 8", "history = 7"))
    plan = Plan(load_study(str(changed)), Lake(str(lake_copy)))
    with pytest.raises(LakeMismatch, match=r"attack.history was 8, the study has 7"):
        plan.check_inputs()
    with pytest.raises(LakeMismatch, match=r"attack.history was 8, the study has 7"):
        pipeline(study=str(changed), lake=str(lake_copy))
    with open_lake(str(lake_copy)) as database:
        assert database.query("select history from attacks").item() == 8


def test_results_follow_the_lake(study_file, lake_copy):
    from flows.analyse import analyse

    study, lake = load_study(str(study_file)), Lake(str(lake_copy))
    assert analyse(study, lake) == 0
    victim = next(p for p in lake.paths("relevance") if "subject=lbfgs" in p)
    Path(lake_copy / victim).unlink()
    assert analyse(study, Lake(str(lake_copy))) > 0


def test_failed_attacks_are_rows_without_maps(study_file, tmp_path):
    text = (
        study_file.read_text()
        .replace("limit = 2", "limit = 1")
        .replace("history = 8", "max_gradient_calls = 1")
    )
    file = tmp_path / "hopeless.toml"
    file.write_text(text)
    report = pipeline(study=str(file), lake=str(tmp_path / "lake"))
    with open_lake(str(tmp_path / "lake")) as database:
        statuses = database.query("select status, count(*) as n from adversarials group by all").to_dicts()
        maps = database.query("select distinct subject from relevance")["subject"].to_list()
    assert statuses == [{"status": "failed", "n": 9}]
    assert maps == ["original"]
    assert Path(report).is_file()


def test_methods_of_a_later_study_join_the_lake(study_file, lake_copy, tmp_path):
    more = tmp_path / "more.toml"
    more.write_text(
        study_file.read_text().replace('"published-lrp-0"', '"lrp-0"').replace('"small"', '"more"')
    )
    before = files(lake_copy)
    pipeline(study=str(more), lake=str(lake_copy))
    added = set(files(lake_copy)) - set(before)
    assert added
    assert all("method=lrp-0/" in path for path in added)
