"""One run at a time on a lake: who holds it, who waits, who takes over from the dead."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flows import lease as leases
from flows.lake import Lake
from flows.lease import FILE, LakeInUse, current_lease, held, leased
from flows.whole_files import LEFTOVER_AGE, write_whole
from sql.errors import LakeError

HOLD = """
import sys, time
from flows.lake import Lake
from flows.lease import leased
with leased(Lake(sys.argv[1]), "run", "small"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lease of the lake at `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def rewrite(lake, **changes):
    """Change the lease in the lake behind its owner's back."""
    found = current_lease(lake)
    assert found is not None
    lake.put(FILE, replace(found, **changes).as_json().encode())


@pytest.mark.parametrize("url", ["{}", "memory://leased"])
def test_a_lease_is_there_while_it_is_held_and_gone_after(tmp_path, url):
    lake = Lake(url.format(tmp_path))
    assert current_lease(lake) is None
    with leased(lake, "attack", "small") as mine:
        found = current_lease(lake)
        assert found is not None and found == mine.lease
        assert (found.command, found.study, found.pid) == ("attack", "small", os.getpid())
        assert found.is_live
        assert held(lake) is mine and mine.interrupted is None
    assert current_lease(lake) is None
    assert held(lake) is None


def test_steps_within_a_run_share_its_lease(tmp_path):
    with leased(Lake(str(tmp_path)), "run", "small") as outer:
        with leased(Lake(str(tmp_path)), "attack", "small") as inner:
            assert inner is outer
        assert current_lease(outer.lake) == outer.lease
        with leased(Lake(str(tmp_path / "other")), "run", "small") as other:
            assert other is not outer


def test_a_live_lease_of_another_process_is_an_error_that_names_it(holder, tmp_path):
    lake = Lake(str(tmp_path))
    with pytest.raises(LakeInUse) as caught, leased(lake, "attack", "small"):
        pass
    said = str(caught.value)
    assert "`relevance-lake run` of study small" in said
    assert f"process {holder.pid} on " in said
    assert "since 20" in said and "until " in said and "another --lake" in said
    found = current_lease(lake)
    assert found is not None and found.pid == holder.pid


def test_the_command_line_says_who_holds_the_lake(typed, study_file, holder, tmp_path):
    code, _, err = typed("ingest", study_file, "--lake", tmp_path)
    assert code == 2
    assert f"process {holder.pid} on" in " ".join(err.split())
    assert not (tmp_path / "images").exists()


def test_the_lease_of_a_dead_process_is_taken_over_at_once(holder, tmp_path):
    holder.kill()
    holder.wait()
    lake = Lake(str(tmp_path))
    with leased(lake, "run", "small") as mine:
        assert mine.interrupted is not None
        assert mine.interrupted.pid == holder.pid
        assert mine.interrupted.command == "run"
        assert mine.interrupted.run != mine.lease.run
        found = current_lease(lake)
        assert found is not None and found.run == mine.lease.run


@pytest.mark.parametrize(("seconds", "is_free"), [(-1, True), (30, False)])
def test_of_a_process_elsewhere_the_expiry_decides(holder, tmp_path, seconds, is_free):
    lake = Lake(str(tmp_path))
    rewrite(lake, machine="ffffffff", host="far", until=datetime.now(UTC) + timedelta(seconds=seconds))
    if is_free:
        with leased(lake, "run", "small") as mine:
            assert mine.interrupted is not None and mine.interrupted.host == "far"
    else:
        with pytest.raises(LakeInUse, match="on far"), leased(lake, "run", "small"):
            pass


def test_a_lease_whose_release_failed_holds_nobody_up(tmp_path, monkeypatch):
    lake = Lake(str(tmp_path))

    def failing(path):
        raise OSError(5, "I/O error")

    monkeypatch.setattr(lake, "delete", failing)
    with leased(lake, "run", "small") as first, pytest.raises(LakeInUse):
        leases._take(Lake(str(tmp_path)), "run", "of another thread")
    assert current_lease(lake) == first.lease
    with leased(Lake(str(tmp_path)), "run", "small") as second:
        assert second.interrupted == first.lease


def test_a_heartbeat_extends_the_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "EXPIRY_SECONDS", 5.0)
    lake = Lake(str(tmp_path))
    with leased(lake, "run", "small") as mine:
        first = mine.lease.until
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and mine.lease.until == first:
            time.sleep(0.05)
        assert mine.lease.until > first
        found = current_lease(lake)
        assert found is not None and found.until > first
    assert [t for t in threading.enumerate() if t.name == "lease"] == []


def test_whatever_a_storage_raises_the_heart_goes_on_and_the_run_ends(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.05)
    lake, beats = Lake(str(tmp_path)), threading.Semaphore(0)

    def refused(place):
        beats.release()
        raise LakeError("no credentials")

    with leased(lake, "run", "small"):
        monkeypatch.setattr(leases, "current_lease", refused)
        assert all(beats.acquire(timeout=20) for _ in range(3))
    assert "could not be extended: no credentials" in caplog.text
    assert held(lake) is None


def test_a_run_whose_lease_was_taken_leaves_it_there(tmp_path, caplog):
    lake = Lake(str(tmp_path))
    with leased(lake, "run", "small") as mine:
        rewrite(lake, run="other", pid=os.getpid())
        mine.extend()
        found = current_lease(lake)
        assert found is not None and found.run == "other"
        assert "another took its lease" in caplog.text
    found = current_lease(lake)
    assert found is not None and found.run == "other"


def test_what_is_no_lease_counts_for_none(tmp_path, caplog):
    lake = Lake(str(tmp_path))
    for text in (b"", b"{", b"[]", json.dumps({"run": 1}).encode()):
        lake.put(FILE, text)
        assert current_lease(lake) is None
    assert "is no lease" in caplog.text


def test_of_many_takers_in_a_folder_one_gets_it(tmp_path):
    script = (
        "import sys, time\n"
        "from flows.lake import Lake\n"
        "from flows.lease import LakeInUse, leased\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    with leased(Lake(sys.argv[1]), 'run', 'small'):\n"
        "        print('won', flush=True)\n"
        "        sys.stdin.readline()\n"
        "except LakeInUse:\n"
        "    print('lost', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    try:
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.write("\n")
            taker.stdin.flush()
        said = [taker.stdout.readline().strip() for taker in takers if taker.stdout]
    finally:
        for taker in takers:
            taker.communicate("\n")
    assert sorted(said) == ["lost"] * 5 + ["won"]


def test_leftovers_of_dead_processes_are_removed_and_of_live_ones_not(tmp_path):
    folder = tmp_path / "images" / "dataset=toy"
    dead = subprocess.Popen(["true"])
    dead.wait()
    machine = leases.machine()
    names = {
        "dead": f"{folder}/.tmp-{machine}-{dead.pid}-ab12-x.parquet",
        "dead, at the root": f"{tmp_path}/.tmp-{machine}-{dead.pid}-ab12-lease.json",
        "live": f"{folder}/.tmp-{machine}-{os.getpid()}-ab12-x.parquet",
        "elsewhere": f"{folder}/.tmp-ffffffff-1-ab12-x.parquet",
        "elsewhere, long ago": f"{folder}/.tmp-ffffffff-1-ab12-y.parquet",
        "a report, long ago": f"{tmp_path}/reports/.tmp-ab_12xyz",
        "another program's, long ago": f"{folder}/.tmp-ab_12xyz",
        "another folder's, long ago": f"{tmp_path}/mine/.tmp-ffffffff-1-ab12-y.parquet",
        "no temporary file, long ago": f"{folder}/ids-0-999-rows-1.parquet",
    }
    for what, name in names.items():
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "wb") as file:
            file.write(b"half")
        if "ago" in what:
            long_ago = time.time() - LEFTOVER_AGE - 10
            os.utime(name, (long_ago, long_ago))
    with leased(Lake(str(tmp_path)), "run", "small"):
        pass
    kept = {what for what, name in names.items() if os.path.exists(name)}
    gone = {"dead", "dead, at the root", "elsewhere, long ago", "a report, long ago"}
    assert kept == names.keys() - gone


def test_a_whole_file_reaches_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """What a power cut leaves: the file is synced before the rename, the folders after what is in them."""
    done = []
    fsync, rename = os.fsync, os.replace

    def noting_fsync(handle):
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def noting_rename(source, target):
        done.append(("rename", os.path.basename(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_rename)
    write_whole(str(tmp_path / "a" / "b" / "file"), b"whole")
    assert done[:2] == [("sync", tmp_path.name), ("sync", "a")]
    assert done[2][0] == "sync" and done[2][1].endswith("-file")
    assert done[3:] == [("rename", "file"), ("sync", "b")]
