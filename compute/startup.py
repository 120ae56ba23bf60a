"""TensorFlow's start, without the notices that it writes past every log level."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BATCH_SIZES = {"CPU": 64, "GPU": 512}
"""Images at a time where nobody says how many: more keep a GPU busy, a CPU gains nothing from them."""


def device() -> str | None:
    """What TensorFlow computes on, CPU or GPU; None before it has started."""
    if "tensorflow" not in sys.modules:
        return None
    import tensorflow as tf

    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


def default_batch_size() -> int:
    """Images at a time on the device that TensorFlow, which has started, computes on."""
    return BATCH_SIZES[device() or "CPU"]


def start_tensorflow(threads: int | None = None) -> None:
    """Import TensorFlow and let it look at the machine; its notices about kernels are not shown.

    threads: on which it computes; None: as many as the process has cores. On a GPU it takes memory as it
    needs it, so that several processes can share one, and multiplies in float32 as a CPU does: TensorFlow's
    default there rounds factors to TensorFloat-32, 10 bits of mantissa instead of 23.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with _standard_error_closed():
        import tensorflow as tf

        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.experimental.enable_tensor_float_32_execution(False)
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
