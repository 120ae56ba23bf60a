"""The image classifier: the network of the paper's Table 2, and loading anyone's Keras network.

Source: Dieter & Zisgen (2023), Evaluation of the Explanatory Power of Layer-wise Relevance
Propagation using Adversarial Examples, Neural Processing Letters, Table 2.
"""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

BLOCKS = ((32, 0.2), (64, 0.3), (128, 0.4))
"""Filters and dropout rate of the three blocks of Table 2."""

SHIPPED = "cifar10-table2"
"""Name of the network whose weights come with this package."""


class ModelError(ValueError):
    """A classifier that cannot be used: missing, unreadable, or of another shape."""


def build_table2(input_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 10) -> keras.Model:
    """The CNN of Table 2, untrained: 309,290 parameters for CIFAR-10.

    Three blocks of two 3x3 'same' convolutions, each followed by BatchNorm and ReLU, then 2x2
    max-pooling and dropout; flatten, dense, softmax. Input: float32 [batch, height, width,
    channels] in [0, 1]. Output: probabilities float32 [batch, classes].
    """
    import keras
    from keras import layers

    stack: list[Any] = [keras.Input(input_shape)]
    for filters, rate in BLOCKS:
        for _ in range(2):
            stack += [
                layers.Conv2D(filters, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
            ]
        stack += [layers.MaxPooling2D(2), layers.Dropout(rate)]
    stack += [layers.Flatten(), layers.Dense(classes), layers.Softmax()]
    return keras.Sequential(stack, name="table2")


def shipped_path() -> Path:
    """The weights that come with this package (a `.keras` file)."""
    return Path(str(resources.files("compute") / "weights" / f"{SHIPPED}.keras"))


def shipped_card() -> dict[str, Any]:
    """The model card of the shipped weights: architecture, data, recipe, accuracies, sha256."""
    return json.loads(shipped_path().with_suffix(".json").read_text())


def model_files(name: str, weights: str | None = None) -> tuple[Path, ...]:
    """The files of a model; refuses what is not there.

    name: `shipped`, a `.keras` file, the `.h5` file of a whole Keras 2 model, or a Keras 2
    architecture (`.json`), whose weights are `weights` or the `.h5` file of the same stem beside it.
    """
    path = shipped_path() if name in ("shipped", SHIPPED) else Path(name)
    if not path.is_file():
        raise ModelError(
            f"no model file {path}: give a .keras file, a Keras 2 .json with its .h5, "
            "or 'shipped' for the one that comes along"
        )
    if path.suffix == ".json":
        beside = Path(weights) if weights else path.with_suffix(".h5")
        if not beside.is_file():
            raise ModelError(
                f"no weights file {beside} for the architecture {path}: put it there, "
                "or name it (`weights` under [model], --weights on the command line)"
            )
        return path, beside
    if weights:
        raise ModelError(f"{path} holds its weights itself: a weights file goes with a Keras 2 .json alone")
    return (path,)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_sha256(name: str, weights: str | None = None) -> str:
    """SHA-256 of the model file; of both files' digests where the weights stand apart."""
    digests = [file_sha256(path) for path in model_files(name, weights)]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def load_classifier(
    name: str,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    weights: str | None = None,
) -> keras.Model:
    """A Keras 3 model from the files that `model_files` names; no code from a file is run.

    Raises ModelError where a file is missing or unreadable, where the model does not take
    [n, *input_shape] and give [n, classes]; without these, images of one size and any number of classes,
    but two; and where a weight is not finite.
    """
    files = model_files(name, weights)
    path = files[0]
    if path.suffix in (".json", ".h5", ".hdf5"):
        from compute.keras2 import load_keras2

        model = load_keras2(path, files[-1])
    else:
        model = _load_keras3(path)
    inputs, outputs = len(model.inputs), len(model.outputs)
    if (inputs, outputs) != (1, 1):
        raise ModelError(f"{path} has {inputs} inputs and {outputs} outputs: a classifier has one of each")
    taken, given = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    if input_shape is None and (len(taken) != 3 or None in taken):
        raise ModelError(f"{path} takes inputs of shape {taken}: images have height, width and channels")
    if input_shape is not None and taken != tuple(input_shape):
        raise ModelError(f"{path} takes images of shape {taken}, but the dataset has {tuple(input_shape)}")
    if len(given) != 1 or None in given:
        raise ModelError(f"{path} gives outputs of shape {given}: a classifier gives one number a class")
    if classes is not None and given != (classes,):
        raise ModelError(f"{path} gives outputs of shape {given}, but the dataset has {classes} classes")
    if given[0] < 2:
        raise ModelError(f"{path} gives one output: a classifier gives one number a class, two at least")
    _require_finite(model, files[-1])
    return model


def _require_finite(model: keras.Model, path: Path) -> None:
    import numpy as np

    for weight in model.weights:
        values = np.asarray(weight, np.float64)
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise ModelError(
                f"{path}: {bad} of the {values.size} numbers in {weight.path} are NaN or infinite: "
                "training has diverged, or the file is damaged"
            )


def _load_keras3(path: Path) -> keras.Model:
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{path} cannot be loaded as a Keras 3 model in safe mode: {reason}") from None
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path} holds a {type(model).__name__}, not a Keras model")
    if not model.built:
        raise ModelError(f"{path} holds a model without an input shape: build it, and save it again")
    return model


def describe(model: keras.Model) -> dict[str, Any]:
    """Facts of a model for the `models` table."""
    kinds = [type(layer).__name__ for layer in model.layers]
    return {
        "parameters": int(model.count_params()),
        "input_shape": [int(size) for size in model.input_shape[1:]],
        "classes": int(model.output_shape[-1]),
        "layers": " ".join(kinds),
    }
