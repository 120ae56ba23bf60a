"""Compiled loops where nothing can be kept: an installation and a home that are read only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import compute


def test_loops_compile_where_nothing_can_be_kept(tmp_path: Path) -> None:
    package = tmp_path / "compute"
    shutil.copytree(Path(compute.__file__).parent, package, ignore=lambda *_: ["__pycache__", "weights"])
    (package / "__pycache__").touch()  # no folder can be made here, for whatever user
    counted = "import numpy as np; from compute.comparison import depth_counts; r = np.arange(3)[None]; "
    done = subprocess.run(
        [sys.executable, "-B", "-c", counted + "print(depth_counts(r, r, np.zeros(1, int)))"],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[1 1 1]\n", done.stderr
