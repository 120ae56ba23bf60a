"""Numerics: arrays in, arrays out. Imports nothing of the other rooms."""

import os

# TensorFlow's oneDNN kernels: an input gradient takes two thirds of the time on a CPU without AVX-512,
# where they are off by default. To be said before TensorFlow is imported.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
