"""How TensorFlow starts."""

import os
import subprocess
import sys

CODE = """
import sys
from compute.startup import start_tensorflow
start_tensorflow()
import tensorflow as tf
tf.nn.conv2d(tf.ones((1, 4, 4, 1)), tf.ones((3, 3, 1, 1)), 1, "SAME")
print("said", file=sys.stderr)
"""


def run(**environment: str) -> tuple[str, str]:
    """Standard output and error of the code in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    code = CODE + "import os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def test_onednn_is_on_without_a_notice_and_what_comes_later_is_heard() -> None:
    switch, errors = run(TF_CPP_MIN_LOG_LEVEL="2")
    assert switch == "1"
    assert "oneDNN" not in errors
    assert errors.splitlines()[-1] == "said"


def test_whoever_switches_it_off_is_obeyed() -> None:
    assert run(TF_ENABLE_ONEDNN_OPTS="0")[0] == "0"


def test_threads_are_those_asked_for_factors_keep_their_bits_and_no_device_is_known_before() -> None:
    code = """
from compute import startup
print(startup.device())
startup.start_tensorflow(threads=1)
import tensorflow as tf
threads = tf.config.threading
print(threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads())
print(startup.device() in startup.BATCH_SIZES, tf.config.experimental.tensor_float_32_execution_enabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["None", "1 1", "True False"]
