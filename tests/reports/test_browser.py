"""The page in a real browser, without a network."""

import os
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("no Chromium in PATH: install it (Debian: apt-get install chromium)")
    if found is None:
        pytest.skip("no Chromium in PATH (Debian: apt-get install chromium)")
    return found


def dom(chromium, path, folder):
    """The page's document after its scripts have run; every host name leads nowhere."""
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=15000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_all_charts_are_drawn(chromium, page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page, "utf-8")
    drawn = dom(chromium, path, tmp_path)
    assert 'data-ready="true"' in drawn
    places = len(re.findall(r'data-chart="', drawn))
    assert places == 24
    assert len(re.findall(r'<svg[^>]*class="marks"', drawn)) == places
    assert 'aria-pressed="true"' in drawn and re.search(r'class="panel hidden"', drawn)


def test_a_chart_that_fails_is_told(chromium, page, tmp_path):
    path = tmp_path / "page.html"
    broken, found = re.subn(r'"success-0-0":\{', '"success-0-0":{"layer":7},"unused":{', page, count=1)
    assert found == 1
    path.write_text(broken, "utf-8")
    drawn = dom(chromium, path, tmp_path)
    assert 'data-ready="failed"' in drawn
    assert "Charts that could not be drawn: success-0-0." in drawn
