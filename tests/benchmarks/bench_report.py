"""The report: how long it takes from finished analyses, how large it is, and when a browser has it ready.

Bars: written in under 30 s, under 8 MB for a study of the paper's size (4 MB for the demo), and ready for the
reader within 3 s in headless Chromium. The same browser opens an empty page in the same run: the floor.

Run from the repository root: python -m tests.benchmarks.bench_report [STUDY] [--lake LAKE]
STUDY needs results in LAKE (`relevance-lake analyse`); without both, the demo study is run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser

from tests.benchmarks.measuring import verdict
from tests.reports.browsing import chromium

OPENED = 5
"""Times that each page is opened; the median counts."""


def main(
    study: Annotated[str, typer.Argument()] = "demo",
    lake: Annotated[str | None, typer.Option()] = None,
    megabytes: Annotated[float, typer.Option(help="Bar for the size of the page.")] = 8.0,
) -> None:
    """Print what the report costs."""
    with tempfile.TemporaryDirectory() as folder:
        if lake is None:
            lake, megabytes = f"{folder}/lake", 4.0
            _command("run", study, "--lake", lake)
        page, empty = Path(folder) / "page.html", Path(folder) / "empty.html"
        started = time.perf_counter()
        _command("report", study, "--lake", lake, "--output", str(page))
        seconds = time.perf_counter() - started
        starting = time.perf_counter()
        _command("--version")
        start_up = time.perf_counter() - starting
        size = page.stat().st_size / 1e6
        empty.write_text("<!doctype html><title>empty</title><body data-ready='true'>", "utf-8")
        with chromium() as browser:
            ready, floor = _ready(browser, page), _ready(browser, empty)
    print(f"written in {seconds:.1f} s {verdict(seconds, 30)}, of which {start_up:.1f} s start the command")
    print(f"{size:.2f} MB {verdict(size, megabytes)}")
    print(f"ready in {ready:.2f} s {verdict(ready, 3)}, an empty page in {floor:.2f} s")


def _ready(browser: Browser, path: Path) -> float:
    taken = []
    for _ in range(OPENED):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("body[data-ready=true]", state="attached")
        taken.append(time.perf_counter() - started)
        page.close()
    return statistics.median(taken)


def _command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "flows.cli", *words], check=True, capture_output=True)


if __name__ == "__main__":
    typer.run(main)
