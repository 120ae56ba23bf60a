"""TensorFlow's start, without the notices that it writes past every log level."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def start_tensorflow(threads: int | None = None) -> None:
    """Import TensorFlow and let it look at the machine; its notices about kernels are not shown.

    threads: on which it computes; None: as many as the process has cores. On a GPU it takes memory as it
    needs it, so that several processes can share one.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with _standard_error_closed():
        import tensorflow as tf

        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.zeros(1)


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Drop what is written to file descriptor 2, by whatever library."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
