import compute  # noqa: F401 - sets TensorFlow's switches before a test imports TensorFlow
