"""Training of a classifier: SGD under a one-cycle schedule, with augmentation on whole batches.

Sources: Nesterov momentum and decoupled weight decay as in Loshchilov & Hutter (2019), Eq. 1 to 4;
one-cycle schedule, Smith & Topin (2018); augmentation as in the paper (shift, flip, rotation);
dropout fading out early, Liu et al. (2023), Dropout Reduces Underfitting, section 4: in a schedule
this short a network this small underfits, not overfits.
Every random choice is a function of (seed, epoch, batch), so that a resumed run sees what an
uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what training does."""

    epochs: int = 30
    batch_size: int = 128
    peak_learning_rate: float = 0.1
    warmup_share: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-3
    dropout_share: float = 0.5
    shift_pixels: int = 3
    rotation_degrees: float = 10.0
    rotation_share: float = 0.25
    flip: bool = True
    held_out: int = 2_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.warmup_share < 1:
            raise ValueError(f"warmup_share must lie between 0 and 1, not {self.warmup_share}")

    def batches_per_epoch(self, images: int) -> int:
        """Batches of an epoch over a training set of so many images, held-out ones included."""
        fitted = images - min(self.held_out, images // 5)
        return fitted // min(self.batch_size, fitted)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def split_held_out(count: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Indices (int64) of the images to fit on and of those held out to watch training by."""
    held_out = min(recipe.held_out, count // 5)
    order = np.random.default_rng(recipe.seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """One cycle: linear from 0 up to the peak in the first share of steps, then linear to 0."""
    warmup = max(1, round(steps * recipe.warmup_share))
    share = (step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup)
    return recipe.peak_learning_rate * share


def dropout_scale(epoch: int, recipe: Recipe) -> float:
    """Factor on the dropout rates: linear from 1 to 0 over the first `dropout_share` of the epochs."""
    return max(0.0, 1 - epoch / (recipe.dropout_share * recipe.epochs)) if recipe.dropout_share else 0.0


def augmentation_transforms(count: int, size: int, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Projective transforms float32 [count, 8] for `ImageProjectiveTransformV3` on square images.

    Each maps an output pixel to its place in the input: a flip, a whole-pixel shift and, for a
    share of the images, a rotation about the centre. Unrotated images are copied, not resampled.
    """
    angle = np.deg2rad(rng.uniform(-recipe.rotation_degrees, recipe.rotation_degrees, count))
    angle *= rng.random(count) < recipe.rotation_share
    shift = rng.integers(-recipe.shift_pixels, recipe.shift_pixels + 1, (2, count))
    mirror = np.where(recipe.flip & (rng.random(count) < 0.5), -1.0, 1.0)
    cos, sin, centre = np.cos(angle), np.sin(angle), (size - 1) / 2
    a, b, c, d = cos * mirror, -sin, sin * mirror, cos
    transforms = np.zeros((count, 8), np.float32)
    transforms[:, 0], transforms[:, 1], transforms[:, 3], transforms[:, 4] = a, b, c, d
    transforms[:, 2] = centre - a * centre - b * centre + shift[0]
    transforms[:, 5] = centre - c * centre - d * centre + shift[1]
    return transforms


def augment(images: np.ndarray, transforms: np.ndarray) -> tf.Tensor:
    """Images float32 [n, h, w, c] moved by their transforms; what comes from outside is mirrored in."""
    import tensorflow as tf

    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images, transforms=transforms, output_shape=images.shape[1:3], fill_value=0.0,
        interpolation="BILINEAR", fill_mode="REFLECT",
    )  # fmt: skip


def batches(
    pixels: np.ndarray, labels: np.ndarray, recipe: Recipe, epoch: int
) -> Iterator[tuple[tf.Tensor, np.ndarray]]:
    """One epoch of augmented batches: images float32 in [0, 1], labels int64; the last one whole."""
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(pixels))
    size = min(recipe.batch_size, len(pixels))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        images = pixels[chosen].astype(np.float32) / 255
        yield augment(images, augmentation_transforms(size, images.shape[1], recipe, rng)), labels[chosen]


def trainable_twin(model: keras.Model, recipe: Recipe) -> keras.Model:
    """A compiled copy of the model for `train`; biases and BatchNorm parameters do not decay.

    Its weights fit the model: `model.set_weights(twin.get_weights())`.
    """
    import keras

    from compute.convolution import fast_twin

    twin = fast_twin(model)
    optimizer = keras.optimizers.SGD(
        recipe.peak_learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.SparseCategoricalCrossentropy()
    twin.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)  # type: ignore[arg-type]
    optimizer.build(twin.trainable_variables)
    return twin


@dataclass(frozen=True)
class EpochResult:
    """What one epoch came to; accuracies are shares of 1.

    loss and train_accuracy: means over the epoch's batches, as they were trained on (augmented, with
    dropout); held_out_accuracy: after the epoch, NaN where nothing is held out.
    """

    epoch: int
    loss: float
    train_accuracy: float
    held_out_accuracy: float


def train(
    model: keras.Model,
    pixels: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    *,
    first_epoch: int = 0,
    on_batch: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
) -> list[EpochResult]:
    """Train a model made by `trainable_twin`, in place, from `first_epoch` to the recipe's last.

    pixels: uint8 [n, h, w, c]; labels: int64 [n]. `on_batch(step, steps, loss)` is called after each
    batch, counted over the whole run; `on_epoch` after each epoch: save the model there.
    """
    import keras
    import tensorflow as tf

    dropouts = [(layer, layer.rate) for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    fitted, held_out = split_held_out(len(pixels), recipe)
    per_epoch = recipe.batches_per_epoch(len(pixels))
    steps = per_epoch * recipe.epochs
    results = []
    for epoch in range(first_epoch, recipe.epochs):
        for i, (layer, rate) in enumerate(dropouts):
            layer.rate = rate * dropout_scale(epoch, recipe)
            layer.seed_generator.state.assign([recipe.seed, (epoch * len(dropouts) + i) << 16])
        model.make_train_function(force=True)
        sums = {"loss": 0.0, "accuracy": 0.0}
        for i, (images, targets) in enumerate(batches(pixels[fitted], labels[fitted], recipe, epoch)):
            step = epoch * per_epoch + i
            model.optimizer.learning_rate.assign(learning_rate(step, steps, recipe))
            metrics = _as_floats(model.train_on_batch(images, tf.constant(targets), return_dict=True))
            sums = {name: total + metrics[name] for name, total in sums.items()}
            on_batch(step + 1, steps, metrics["loss"])
        predicted = predict_labels(model, pixels[held_out])
        accuracy = float(np.mean(predicted == labels[held_out])) if len(held_out) else float("nan")
        for layer, rate in dropouts:
            layer.rate = rate
        results.append(EpochResult(epoch, sums["loss"] / per_epoch, sums["accuracy"] / per_epoch, accuracy))
        on_epoch(results[-1])
    return results


def _as_floats(metrics: Any) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}


def predict_labels(model: keras.Model, pixels: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Predicted classes int64 [n] of uint8 images [n, h, w, c]."""
    if not len(pixels):
        return np.zeros(0, np.int64)
    outputs = [
        model(pixels[start : start + batch_size].astype(np.float32) / 255, training=False)
        for start in range(0, len(pixels), batch_size)
    ]
    return np.concatenate([np.asarray(output) for output in outputs]).argmax(axis=1)
