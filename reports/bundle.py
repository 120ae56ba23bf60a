"""The Vega scripts that draw the charts, as one text to inline."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path


def vega_bundle(cache: Path | None = None) -> str:
    """Vega, Vega-Lite and vega-embed as one ES module that sets `window.vegaEmbed`.

    Making it takes more than a second, so it is kept under `cache` (by default the user's cache folder), by
    the version of vl-convert that made it. A file there that is damaged is made anew; where the folder
    cannot be written, nothing is kept.
    """
    folder = cache_folder() if cache is None else cache
    path = folder / f"vega-bundle-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        digest, _, text = path.read_text(encoding="utf-8").partition("\n")
        if digest == _digest(text):
            return text
    text = _make()
    with contextlib.suppress(OSError):
        _keep(path, f"{_digest(text)}\n{text}")
    return text


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/relevance-lake`, or `~/.cache/relevance-lake`."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "relevance-lake"


def _make() -> str:
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;")
    # Inside <script>, these two would end the script or hide what follows, even within a string.
    return bundle.replace("</script", "\\x3C/script").replace("<!--", "\\x3C!--")


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".tmp-", delete=False
    ) as file:
        file.write(text)
    os.replace(file.name, path)


def _digest(text: str) -> str:
    return "// sha256 " + hashlib.sha256(text.encode("utf-8")).hexdigest()
