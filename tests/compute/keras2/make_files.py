"""Makes the files beside it with Keras 2: `pip install tf_keras`, then `python make_files.py`.

Two networks as Keras 2 saves them, and what Keras 2 answers to the images of `answers.npz`. tf_keras
is no dependency of the tests: the files stand here as it (2.21) wrote them.
"""

from pathlib import Path

import numpy as np
from tf_keras import Input, Model, Sequential, layers, utils  # pyright: ignore[reportMissingImports]

FOLDER = Path(__file__).parent


def sequential() -> Model:
    return Sequential(
        [
            Input((8, 8, 3)),
            layers.ZeroPadding2D(((0, 1), (1, 0))),
            layers.Conv2D(4, 3, 2, use_bias=False),
            layers.BatchNormalization(scale=False),
            layers.LeakyReLU(0.1),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            layers.ReLU(),
            layers.SeparableConv2D(6, 3, padding="same", activation="relu"),
            layers.AveragePooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ],
        name="small",
    )


def functional() -> Model:
    """A residual network with a layer that is called twice and with networks within it."""
    x = image = Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="stem/conv")(x)
    x = layers.BatchNormalization(name="stem/bn")(x)
    x = before = layers.Activation("relu", name="stem/relu")(x)
    shared = layers.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    x = layers.Add(name="add")([shared(shared(x)), before])
    inner = Input((8, 8, 4))
    frozen = layers.BatchNormalization(trainable=False)
    y = layers.Conv2D(4, 1)(frozen(inner))
    y = layers.BatchNormalization()(y)
    x = layers.Concatenate(name="joined")([Model(inner, y, name="inner")(x), x])
    x = Sequential([layers.MaxPooling2D(), layers.Conv2D(6, 3, groups=2)], name="pooled")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(5, name="logits")(x)
    return Model(image, layers.Softmax()(x), name="branches")


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Kernels of size 1 / sqrt(inputs), and positive vectors, which may be variances."""
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)


def main() -> None:
    utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 8, 8, 3)).astype(np.float32)
    answers = {"images": images}
    for model in (sequential(), functional()):
        model.set_weights([drawn(rng, weights.shape) for weights in model.get_weights()])
        (FOLDER / f"{model.name}.json").write_text(model.to_json())
        model.save_weights(FOLDER / f"{model.name}.h5")
        answers[model.name] = model.predict(images)
        print(model.name, answers[model.name].round(3))
    model.save(FOLDER / "branches-whole.h5", include_optimizer=False)
    np.savez(FOLDER / "answers.npz", allow_pickle=False, **answers)


if __name__ == "__main__":
    main()
