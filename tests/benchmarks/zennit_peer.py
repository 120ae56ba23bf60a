"""zennit as a peer: a process of the environment .venv-zennit that explains the same networks.

The environment is apart, because this product must not depend on PyTorch; `make .venv-zennit/ready`
builds it.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tests.benchmarks.peer_process import Peer, peer_process

WORKER = Path(__file__).parent / "zennit_worker.py"


def rule(name: str, **options: Any) -> dict[str, Any]:
    """One of zennit's rules for every convolution and dense layer."""
    return {"rule": name, "options": options}


def composite(name: str, first: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """One of zennit's composites; `first`: the rule of the first layer in place of its own."""
    return {"composite": name, "options": options} | ({"first": first} if first else {})


Zennit = Peer
"""A running worker."""


def zennit_process(threads: int) -> AbstractContextManager[Zennit]:
    """A worker on so many threads; ends this program with code 0 and the reason where there is none."""
    return peer_process("zennit", WORKER, str(threads))


def write_network(path: Path, model: keras.Model, images: np.ndarray, classes: np.ndarray) -> None:
    """A network, images [n, h, w, c] and classes int64 [n] for the worker; weights in the dtype of images.

    The model's layers are read here once more, apart from `compute.graph`, which is thereby tested
    too. ValueError for a layer that is not among those of the comparison.
    """
    steps, arrays = [], {}
    renamed = {model.inputs[0]._keras_history.operation.name: "input"}
    before, shape = "input", None
    layer: Any
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        if isinstance(model, keras.Sequential):
            sources = [before]
        else:
            tensors = layer.input if isinstance(layer.input, list) else [layer.input]
            sources = [renamed[tensor._keras_history.operation.name] for tensor in tensors]
        step, weights = _describe(layer, shape)
        if step:
            # zennit's canonizer takes neighbours in the list for neighbours in the network
            merged = (
                [s["name"] for s in steps].index(sources[0]) if step["kind"] == "batchnorm" else len(steps)
            )
            steps.insert(merged + 1, {"name": layer.name, "inputs": sources, **step})
            arrays |= {
                f"{layer.name}/{key}": np.asarray(value, images.dtype) for key, value in weights.items()
            }
        renamed[layer.name] = before = layer.name if step else sources[0]
        shape = layer.input.shape[1:] if isinstance(layer, layers.Flatten) else None
    np.savez(path, steps=np.array(json.dumps(steps)), images=images, classes=classes, **arrays)


def _describe(layer: Any, flattened: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """A step's kind, parameters and weights; None for what explanations leave out.

    flattened: the shape before the flattening right before this layer.
    """
    if getattr(layer, "activation", keras.activations.linear) is not keras.activations.linear:
        raise ValueError(f"layer '{layer.name}': give its activation a layer of its own")
    match layer:
        case layers.Conv2D():
            weights = {
                "kernel": layer.kernel,
                "bias": layer.bias if layer.use_bias else np.zeros(layer.filters),
            }
            same = layer.padding == "same"
            edges = [
                _edges(size, kernel, stride) if same else (0, 0)
                for size, kernel, stride in zip(
                    layer.input.shape[1:3], layer.kernel_size, layer.strides, strict=True
                )
            ]
            return {"kind": "conv", "strides": layer.strides, "padding": edges}, weights
        case layers.Dense():
            weights = {"kernel": layer.kernel, "bias": layer.bias}
            return {"kind": "dense", "unflattened": flattened}, weights
        case layers.BatchNormalization():
            weights = {"gamma": layer.gamma, "beta": layer.beta}
            weights |= {"mean": layer.moving_mean, "variance": layer.moving_variance}
            return {"kind": "batchnorm", "epsilon": layer.epsilon}, weights
        case layers.ReLU():
            return {"kind": "relu"}, {}
        case layers.MaxPooling2D(padding="valid"):
            return {"kind": "maxpool", "pool": layer.pool_size, "strides": layer.strides}, {}
        case layers.AveragePooling2D(padding="valid"):
            return {"kind": "averagepool", "pool": layer.pool_size, "strides": layer.strides}, {}
        case layers.GlobalAveragePooling2D():
            return {"kind": "globalaveragepool"}, {}
        case layers.Flatten():
            return {"kind": "flatten"}, {}
        case layers.Add():
            return {"kind": "add"}, {}
        case layers.Dropout() | layers.Softmax():
            return None, {}
    raise ValueError(f"layer '{layer.name}' ({type(layer).__name__}) is not among those of the comparison")


def _edges(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """What 'same' adds before and after, the odd one after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
