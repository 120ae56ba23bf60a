"""A written page in Debian's Chromium, which reaches no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

DRAWN = 30_000
"""Longest time to wait until all charts are drawn, in milliseconds."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; a test is skipped where there is none, but fails in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("no Chromium in PATH: install it (Debian: apt-get install chromium)")
    if found is None:
        pytest.skip("no Chromium in PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, path: Path, width: int = 1280, **settings) -> Iterator[Page]:
    """The page once all its charts are drawn; an error, a message, a dialog or a request is a failure."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: said.append(f"request: {request.url}"))
    page.goto(path.as_uri())
    page.wait_for_selector("body:not([data-drawn=false])[data-drawn]", state="attached", timeout=DRAWN)
    yield page
    context.close()
    unwanted = [text for text in said if text != f"request: {path.as_uri()}" and "request: data:" not in text]
    assert unwanted == []
