"""The zennit side of the comparison: the same networks in PyTorch, explained as a user of zennit would.

Run by the Python of .venv-zennit, which has PyTorch and zennit and nothing of this product:
requests come as JSON, one a line, and each gets a JSON line back. `zennit_peer` is the other end.
Source: Anders et al. (2021), Software for Dataset-wide XAI, arXiv:2106.13200; zennit 0.5.1.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

# zennit imports two classes of torchvision for a canonizer that is not used here, and torchvision's
# package wants another build of PyTorch than the one without CUDA
_resnet: Any = types.ModuleType("torchvision.models.resnet")
_resnet.Bottleneck = _resnet.BasicBlock = type("Unused", (), {})
sys.modules["torchvision"] = types.ModuleType("torchvision")
sys.modules["torchvision.models"] = types.ModuleType("torchvision.models")
sys.modules["torchvision.models.resnet"] = _resnet

from zennit import composites, rules  # noqa: E402
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.core import Composite, RemovableHandleList, Stabilizer  # noqa: E402
from zennit.layer import Sum  # noqa: E402
from zennit.types import Linear  # noqa: E402


class MergeBatchNorm(SequentialMergeBatchNorm):
    """zennit's merging, but leaving an identity behind.

    That of 0.5.1 sets the variance to 1 and keeps epsilon, so that each merged BatchNorm still
    scales by 1 / sqrt(1 + epsilon); corrected in zennit's own repository after that release.
    """

    @staticmethod
    def merge_batch_norm(modules: Any, batch_norm: Any) -> None:
        SequentialMergeBatchNorm.merge_batch_norm(modules, batch_norm)
        batch_norm.running_var.data -= batch_norm.eps


CANONIZERS = {"merge": MergeBatchNorm, "merge as released": SequentialMergeBatchNorm}


class Network(nn.Module):
    """The steps of a description one after another; each names the steps whose outputs it takes."""

    def __init__(self, steps: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.steps = [(step["name"], step["inputs"]) for step in steps]
        for step in steps:
            self.add_module(step["name"], build(step, arrays))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = {"input": x}
        for name, inputs in self.steps:
            values[name] = self.get_submodule(name)(*(values[source] for source in inputs))
        return values[self.steps[-1][0]]


class Add(nn.Module):
    """The sum of its inputs, as the module that zennit has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = Sum(dim=-1)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.sum(torch.stack(inputs, dim=-1))


class UnevenlyPadded(nn.Conv2d):
    """A convolution with Keras's padding at a stride, within the layer: a rule's ones stop at the edge."""

    edges: tuple[int, int, int, int]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(input, self.edges))


def build(step: dict[str, Any], arrays: dict[str, np.ndarray]) -> nn.Module:
    """The module of one step, with its weights turned from [..., in, out] to PyTorch's order."""
    name = step["name"]
    own = {key.split("/")[1]: torch.from_numpy(a) for key, a in arrays.items() if key.split("/")[0] == name}
    match step["kind"]:
        case "conv":
            height, width, inputs, outputs = own["kernel"].shape
            (top, bottom), (left, right) = step["padding"]
            if (top, left) == (bottom, right):
                conv = nn.Conv2d(inputs, outputs, (height, width), step["strides"], (top, left))
            else:
                conv = UnevenlyPadded(inputs, outputs, (height, width), step["strides"])
                conv.edges = (left, right, top, bottom)
            conv.weight.data, conv.bias.data = own["kernel"].permute(3, 2, 0, 1).contiguous(), own["bias"]
            return conv
        case "dense":
            kernel = own["kernel"]
            if step["unflattened"]:  # rows stand in the order (h, w, c), PyTorch flattens (c, h, w)
                kernel = kernel.reshape(*step["unflattened"], -1).permute(2, 0, 1, 3).flatten(0, 2)
            dense = nn.Linear(*kernel.shape)
            dense.weight.data, dense.bias.data = kernel.T.contiguous(), own["bias"]
            return dense
        case "batchnorm":
            norm = nn.BatchNorm2d(len(own["mean"]), eps=step["epsilon"])
            norm.weight.data, norm.bias.data = own["gamma"], own["beta"]
            norm.running_mean, norm.running_var = own["mean"], own["variance"]
            return norm
        case "relu":
            return nn.ReLU()
        case "maxpool":
            return nn.MaxPool2d(step["pool"], step["strides"])
        case "averagepool":
            return nn.AvgPool2d(step["pool"], step["strides"])
        case "globalaveragepool":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "flatten":
            return nn.Flatten()
        case "add":
            return Add()
    raise ValueError(f"step '{name}': there is no PyTorch module for '{step['kind']}'")


def make_composite(method: dict[str, Any], stabilizer: float) -> Composite:
    """zennit's composite of this name, or one rule for every linear layer.

    method: {"composite" or "rule": name, "options": {...}}, for a composite also "first": the rule of
    the first layer in place of its own.
    """

    def rule(spec: dict[str, Any]) -> Any:
        if spec["rule"] == "Epsilon":
            return rules.Epsilon(Stabilizer(**spec["options"]))
        return getattr(rules, spec["rule"])(stabilizer=stabilizer, **spec["options"])

    if "rule" in method:
        layer_map = [*composites.layer_map_base(stabilizer), (Linear, rule(method))]
        return composites.LayerMapComposite(layer_map)
    first = {"first_map": [(Linear, rule(method["first"]))]} if "first" in method else {}
    return getattr(composites, method["composite"])(stabilizer=stabilizer, **first, **method["options"])


@contextlib.contextmanager
def canonized(network: nn.Module, canonizer: str) -> Iterator[None]:
    """The network with its BatchNorm merged, once for all composites."""
    handles = RemovableHandleList(CANONIZERS[canonizer]().apply(network))
    try:
        yield
    finally:
        handles.remove()


def relevance(network: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Maps [n, c, h, w] by the composite that is registered; start: the one-hot class times its logit."""
    x = images.detach().requires_grad_()
    logits = network(x)
    start = torch.nn.functional.one_hot(classes, logits.shape[1]) * logits.detach()
    return torch.autograd.grad(logits, x, grad_outputs=start)[0]


class Worker:
    """The network of the last `load`, and what is asked about it."""

    def load(self, path: str) -> dict[str, Any]:
        """A network, images [n, h, w, c] and classes [n] from an .npz file that `zennit_peer` wrote."""
        with np.load(path) as file:
            arrays = dict(file)
        self.network = Network(json.loads(str(arrays["steps"])), arrays).eval().requires_grad_(False)
        self.images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous()
        self.classes = torch.from_numpy(arrays["classes"])
        return {"threads": torch.get_num_threads(), "torch": torch.__version__}

    def explain(
        self, methods: list[dict[str, Any]], stabilizer: float, out: str, canonizer: str = "merge"
    ) -> dict[str, Any]:
        """Writes the maps of all images, one array [n, h*w*c] a method, and the logits they start from."""
        found = {}
        with canonized(self.network, canonizer):
            found["logits"] = self.network(self.images).numpy()
            for number, method in enumerate(methods):
                with make_composite(method, stabilizer).context(self.network) as network:
                    maps = relevance(network, self.images, self.classes)
                found[str(number)] = maps.permute(0, 2, 3, 1).flatten(1).numpy()
        np.savez(out, **found)
        return {}

    def time(
        self, methods: list[dict[str, Any]], stabilizer: float, batch_size: int, channels_last: bool
    ) -> dict[str, Any]:
        """Seconds for all methods on all images, in batches; hooks are registered once a method."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = self.images.contiguous(memory_format=layout)
        self.network.to(memory_format=layout)
        chosen = [make_composite(method, stabilizer) for method in methods]
        with canonized(self.network, "merge"):
            start = time.perf_counter()
            for composite in chosen:
                with composite.context(self.network) as network:
                    for first in range(0, len(images), batch_size):
                        rows = slice(first, first + batch_size)
                        relevance(network, images[rows], self.classes[rows]).numpy()
            seconds = time.perf_counter() - start
        return {"seconds": seconds}


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    worker, answers = Worker(), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr, not among the answers
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("task"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
