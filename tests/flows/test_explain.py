"""Streams of maps: the same rows whatever else is in a stream, nothing lost, no error swallowed."""

import threading
import time

import pyarrow.parquet as pq
import pytest

from compute.explainer import Explainer
from flows import explain
from flows.background import Background
from flows.lake import Lake
from flows.storage_faults import StorageFault
from flows.study import load_study
from tests.flows.stored import assert_same_maps, maps_of

pytestmark = pytest.mark.prefect


@pytest.fixture
def study(study_file):
    return load_study(str(study_file))


def test_each_target_gets_what_it_lacks(study, lake_copy):
    before = maps_of(lake_copy)
    lost = [
        path
        for path in before
        if "/subject=lbfgs/" in path
        and ("target=3" in path or "target=4" in path or ("target=7" in path and "method=lrp-alpha" in path))
    ]
    kept = {path: (lake_copy / path).stat().st_mtime_ns for path in set(before) - set(lost)}
    assert len(lost) == 3 + 3 + 1
    for path in lost:
        (lake_copy / path).unlink()
    lake = Lake(str(lake_copy))
    assert explain.missing_units(study, lake) == [("lbfgs", 0)]
    explain.explain_unit(study, lake, ("lbfgs", 0))
    assert lake.written == len(lost)
    after = maps_of(lake_copy)
    assert sorted(after) == sorted(before)
    for path in lost:
        assert_same_maps(after[path], before[path])
    assert {path: (lake_copy / path).stat().st_mtime_ns for path in kept} == kept
    assert explain.missing_units(study, Lake(str(lake_copy))) == []


def test_a_map_s_bits_do_not_depend_on_its_stream(study, lake_copy):
    """Targets computed one by one, then in one stream: other neighbours, other places in the batch."""
    paths = [p for p in (lake_copy / "relevance").rglob("*.parquet") if "subject=lbfgs" in str(p)]
    alone = {}
    for target in (0, 1, 2, 4):
        own = [p for p in paths if f"target={target}/" in str(p)]
        for path in own:
            path.unlink()
        explain.explain_unit(study, Lake(str(lake_copy)), ("lbfgs", 0))
        alone |= {path: pq.read_table(path) for path in own}
    for path in paths:
        path.unlink()
    explain.explain_unit(study, Lake(str(lake_copy)), ("lbfgs", 0))
    for path, table in alone.items():
        assert_same_maps(pq.read_table(path), table)


def test_an_interruption_loses_the_unfinished_targets_alone(study, lake_copy, monkeypatch):
    whole = maps_of(lake_copy)
    for path in whole:
        (lake_copy / path).unlink()
    stream, study = Explainer.stream, study.model_copy(update={"batch_size": 5})

    def interrupted(self, images, classes):
        batches = stream(self, images, classes)
        for _ in range(2):
            yield next(batches)
        raise KeyboardInterrupt

    monkeypatch.setattr(Explainer, "stream", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explain.explain_unit(study, Lake(str(lake_copy)), ("lbfgs", 0))
    monkeypatch.undo()
    rows = [len(table) for path, table in maps_of(lake_copy).items() if "published-lrp-0" in path]
    assert rows
    assert 10 - max(rows) < sum(rows) <= 10, "of ten maps all but those of the tenth's target are written"
    lake = Lake(str(lake_copy))
    for unit in explain.missing_units(study, lake):
        explain.explain_unit(study, lake, unit)
    assert sorted(maps_of(lake_copy)) == sorted(whole)


def test_what_cannot_be_written_stops_the_unit(study, lake_copy):
    for path in maps_of(lake_copy):
        (lake_copy / path).unlink()
    folder = next((lake_copy / "relevance").glob("*/*/method=lrp-epsilon-0.01/subject=lbfgs/*/target=0"))
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(StorageFault, match="target=0"):
        explain.explain_unit(study, Lake(str(lake_copy)), ("lbfgs", 0))


def test_background_keeps_the_order_and_few_waiting():
    done, most, under_way = [], 0, 0
    lock = threading.Lock()

    def work(number):
        nonlocal under_way
        time.sleep(0.01)
        done.append(number)
        with lock:
            under_way -= 1

    with Background(2) as beside:
        for number in range(12):
            beside.submit(work, number)
            with lock:
                under_way += 1
                most = max(most, under_way)
    assert done == list(range(12))
    assert most <= 2


@pytest.mark.parametrize("failing", [0, 3, 5])
def test_background_raises_what_failed(failing):
    done = []

    def work(number):
        if number == failing:
            raise OSError(f"piece {number}")
        done.append(number)

    def give_all():
        with Background(2) as beside:
            for number in range(6):
                beside.submit(work, number)
                time.sleep(0.01)

    with pytest.raises(OSError, match=f"piece {failing}"):
        give_all()
    assert done[:failing] == list(range(failing))
    assert len(done) <= failing + 2


def test_background_finishes_what_it_was_given_when_the_block_fails():
    done = []

    def work(number):
        time.sleep(0.02)
        done.append(number)

    def give_three():
        with Background(3) as beside:
            for number in range(3):
                beside.submit(work, number)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_three()
    assert done == [0, 1, 2]
