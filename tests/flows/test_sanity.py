"""The sanity check of a study: maps of originals by randomised networks, planned, made, checked, counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows import networks
from flows.analyse import analyse
from flows.attack import attack_shard, missing_shards
from flows.check import require_sound
from flows.errors import LakeMismatch, UserError
from flows.explain import explain_unit, missing_units
from flows.ingest import image_shape, ingest_images, predict, read_images
from flows.lake import Lake
from flows.plan import Plan
from flows.study import SanitySection, Study, load_study, parse_study
from flows.vectors import matrix
from sql.catalog import open_lake
from tests.flows.conftest import STUDY

SANITY = """
[sanity]
cascading_randomisation = true
"""
SUBJECTS = [f"randomised-{depth}" for depth in range(1, 8)]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    file = tmp_path_factory.mktemp("sanity") / "small.toml"
    file.write_text(STUDY + SANITY)
    return load_study(str(file))


def run(study: Study, lake: Lake) -> list[tuple[str, int]]:
    """All steps to the maps, without Prefect; the units that were missing."""
    predict(study, lake, ingest_images(study, lake))
    for attack, shard in missing_shards(study, lake):
        attack_shard(study, lake, attack, shard)
    missing = missing_units(study, lake)
    for unit in missing:
        explain_unit(study, lake, unit)
    lake.refresh()
    return missing


@pytest.fixture(scope="module")
def lake(study, tmp_path_factory) -> Lake:
    """A study without the sanity check, and then what that adds."""
    plain = study.model_copy(update={"sanity": SanitySection()})
    found = Lake(str(tmp_path_factory.mktemp("sane") / "lake"))
    run(plain, found)
    assert not Plan(study, found).is_complete() and Plan(plain, found).is_complete()
    with pytest.raises(RuntimeError, match="ingest comes first"):
        missing_units(study, found)
    assert run(study, found) == [(subject, 0) for subject in SUBJECTS]
    assert missing_units(study, found) == [] and Plan(study, found).is_complete()
    require_sound(study, found)
    analyse(study, found)
    return found


def test_each_network_has_its_row_and_each_original_its_maps(study, lake):
    with open_lake(lake.url) as database:
        rows = database.query(
            "select subject, depth, of_depth, layer from randomisations order by depth"
        ).rows()
        maps = database.query(
            "select subject, method, count(*) as maps, bool_and(explained_class = label) as agrees "
            "from relevance where subject like 'randomised%' group by all"
        )
    assert [row[0] for row in rows] == SUBJECTS and [row[1] for row in rows] == list(range(1, 8))
    assert {row[2] for row in rows} == {7} and (rows[0][3], rows[-1][3]) == ("dense", "conv2d")
    assert set(maps["subject"]) == set(SUBJECTS) and len(maps) == 7 * len(study.methods)
    assert set(maps["maps"]) == {2} and maps["agrees"].all()


def test_a_map_is_that_of_the_randomised_network(study, lake):
    plan, method = Plan(study, lake), study.parsed_methods()[0]
    rows = lake.read(str(lake.find(plan.randomised_maps(method, "randomised-3", 0, plan.chosen()))))
    randomisation = plan.randomisations["randomised-3"]
    network = networks.randomised_of_study(study, image_shape(study, lake), 10, randomisation)
    images, label = read_images(study, lake, 0).of(np.asarray(rows["image_id"])), np.asarray(rows["label"])
    assert np.asarray(rows["start"]) == pytest.approx(network.logits(images, 16)[[0, 1], label], abs=1e-5)
    [batch] = network.explainer((method,), networks.batch_size(study)).stream(images, label)
    wanted = batch[method.id].relevance.reshape(len(images), -1)
    wanted = wanted / np.abs(wanted).max(axis=1, keepdims=True)
    assert matrix(rows["relevance"]) == pytest.approx(wanted, abs=1e-5)
    trained = lake.read(str(lake.find(plan.original_maps(method, 0, plan.chosen()))))
    assert np.abs(matrix(trained["relevance"]) - wanted).max() > 0.1


def test_kept_counts_and_sql_compare_them_with_the_trained_network(study, lake):
    asked = "select method, subject, image_id, shared_10 from compared_ranks where subject like 'randomised%'"
    with open_lake(lake.url) as database:
        from_sql = database.query(f"{asked} order by all").rows()
    kept = [row for path in lake.paths("partials/compared_ranks") for row in lake.read(path).to_pylist()]
    names = ("method", "subject", "image_id", "shared_10")
    from_kept = sorted(tuple(r[n] for n in names) for r in kept if r["subject"].startswith("randomised"))
    assert from_kept == from_sql and len(from_sql) == 7 * 2 * len(study.methods)
    assert 0 < np.mean([row[3] for row in from_sql]) < 250


def test_no_analysis_takes_them_for_an_attack(study, lake):
    rows = lake.read(f"results/attack_overview/{study.name}.parquet").to_pylist()
    assert [row["attack"] for row in rows] == ["lbfgs"]
    compared = lake.read(f"results/decision_sensitivity/{study.name}.parquet")
    assert set(compared["attack"].to_pylist()) <= {"lbfgs"}
    overlap = lake.read(f"results/topk_overlap/{study.name}.parquet")
    assert set(overlap["attack"].to_pylist()) == {"lbfgs"}


def test_a_lost_partition_is_made_again_and_the_same(study, lake):
    path = next(p for p in lake.paths("relevance") if "subject=randomised-2/" in p)
    file = Path(lake.url) / path
    before = lake.read(path)
    file.unlink()
    lake.refresh()
    assert missing_units(study, lake) == [("randomised-2", 0)]
    explain_unit(study, lake, ("randomised-2", 0))
    assert matrix(lake.read(path)["relevance"]) == pytest.approx(matrix(before["relevance"]), abs=1e-6)
    lake.refresh()


def test_another_seed_is_another_network(study, lake):
    other = study.model_copy(update={"sanity": SanitySection(cascading_randomisation=True, seed=1)})
    with pytest.raises(LakeMismatch, match="made with seed 0"):
        Plan(other, lake).check_inputs()


def test_weights_of_another_stream_are_refused(study, lake):
    from dataclasses import replace

    wanted = replace(Plan(study, lake).randomisations["randomised-1"], sha256="0" * 64)
    with pytest.raises(LakeMismatch, match="the versions of TensorFlow"):
        networks.randomised_of_study(study, image_shape(study, lake), 10, wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sanity]\ncascading_randomization = true\n", "Did you mean 'cascading_randomisation'"),
        ("[sanity]\nseed = -1\n", "sanity.seed"),
        ('[[attacks]]\nid = "randomised-3"\n', "names a randomised network"),
    ],
)
def test_wrong_sanity_is_told(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        parse_study(STUDY + text, "small.toml", tmp_path)
