"""Progress without a terminal: lines now and then, with rate, note and time left."""

import logging
import re
import time

import pytest

from flows import progress
from flows.progress import progress_display, time_left, track


@pytest.mark.parametrize("opened", [False, True], ids=["in a worker", "on a command line"])
def test_lines_tell_rate_success_and_time_left(opened, monkeypatch, capsys, caplog):
    monkeypatch.setattr(progress, "SECONDS_A_LINE", 0.1)
    caplog.set_level(logging.INFO)

    def work():
        with track("lbfgs, shard 0", 4, "pairs") as advance:
            for done in range(4):
                advance(1, f"{done + 1} successful")
                time.sleep(0.06)

    if opened:
        with progress_display():
            work()
        lines = capsys.readouterr().err.splitlines()
    else:
        work()
        lines = caplog.messages
    assert len(lines) == 2
    rate, left = r"[\d.]+ pairs/s", r"\d:\d\d:\d\d left"
    assert re.fullmatch(rf"lbfgs, shard 0: 3 of 4 pairs, {rate}, 3 successful, {left}", lines[0])
    assert re.fullmatch(rf"lbfgs, shard 0: 4 pairs in [\d.]+ s, {rate}, 4 successful", lines[1])


def test_time_left_is_of_the_mean_rate():
    assert time_left(1, 3, 60.0) == "0:02:00 left"
    assert time_left(0, 3, 60.0) == time_left(3, 3, 60.0) == ""


def test_bars_show_them_on_a_terminal(monkeypatch):
    from rich.console import Console

    console = Console(force_terminal=True, width=200, record=True, _environ={"TERM": "xterm"})
    monkeypatch.setattr(progress, "console", console)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with progress_display(), track("ddn, shard 0", 10, "pairs") as advance:
        time.sleep(0.2)
        advance(4, "75.0% successful")
        assert progress._display is not None
        progress._display.refresh()
        shown = console.export_text()
    assert re.search(r"ddn, shard 0 .* 4/10 pairs +[\d.]+ pairs/s, 75.0% successful .*left", shown)
