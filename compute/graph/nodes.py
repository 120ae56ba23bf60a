"""What relevance propagation has to know of a network: its layers as plain nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Padding = Literal["SAME", "VALID"]

IMAGE = -1
"""Index of the image among the sources of a node."""


class UnsupportedLayer(ValueError):
    """A layer that a method has no rule for."""

    def __init__(self, name: str, kind: str, reason: str, method: str | None = None) -> None:
        told = f"method '{method}': " if method else ""
        super().__init__(f"{told}layer '{name}' ({kind}): {reason}")


@dataclass(frozen=True, eq=False)
class Convolution:
    """kernel: float64 [kh, kw, c / groups, d]; bias: float64 [d]."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int]
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Dense:
    """kernel: float64 [n, m], on the last axis; bias: float64 [m]."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class Diagonal:
    """Each channel by itself: x * kernel + bias, float64 [c], on the last axis."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """gamma, beta, mean, variance: float64 [c], of the last axis; epsilon: the layer's own."""

    name: str
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float

    def affine(self, epsilon: float | None = None) -> Diagonal:
        """The normalisation x * scale + shift, with its own epsilon or another."""
        scale = self.gamma / np.sqrt(self.variance + (self.epsilon if epsilon is None else epsilon))
        return Diagonal(self.name, scale, self.beta - self.mean * scale)


@dataclass(frozen=True, eq=False)
class Activation:
    """A function that never falls, of each value by itself; nonnegative: its values never lie below 0."""

    name: str
    kind: str
    function: Callable[[Any], Any]
    nonnegative: bool


@dataclass(frozen=True)
class MaxPool:
    name: str
    pool: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding


@dataclass(frozen=True)
class AveragePool:
    """The mean over each window, of the values that lie inside the image."""

    name: str
    pool: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding


@dataclass(frozen=True)
class Reshape:
    """shape: of one sample's output."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ZeroPad:
    """rows, columns: zeros before and after."""

    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True)
class Add:
    name: str


@dataclass(frozen=True)
class Concatenate:
    """axis: counted with the batch axis, never negative; sizes: of the inputs along it."""

    name: str
    axis: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Opaque:
    """A layer that can be computed and differentiated, and for which no relevance rule stands.

    call: tensors of the inputs to the output, in inference mode.
    """

    name: str
    kind: str
    reason: str
    call: Callable[[Sequence[Any]], Any]


Linear = Convolution | Dense | Diagonal
Node = (
    Convolution
    | Dense
    | Diagonal
    | BatchNorm
    | Activation
    | MaxPool
    | AveragePool
    | Reshape
    | ZeroPad
    | Add
    | Concatenate
    | Opaque
)


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """Nodes in an order in which each comes after its sources; the last one gives the logits.

    sources: for each node the indices of the nodes that feed it, IMAGE for the image.
    input_shape: (height, width, channels).
    """

    nodes: tuple[Node, ...]
    sources: tuple[tuple[int, ...], ...]
    input_shape: tuple[int, int, int]
    classes: int

    @property
    def components(self) -> int:
        """Number of input values, height * width * channels."""
        return int(np.prod(self.input_shape))

    def consumers(self, index: int) -> list[int]:
        """The nodes that read what node `index` gives."""
        return [other for other, sources in enumerate(self.sources) if index in sources]

    def relu_behind(self, index: int) -> int | None:
        """The ReLU that alone reads what node `index` gives, if there is one."""
        readers = self.consumers(index)
        node = self.nodes[readers[0]] if len(readers) == 1 else None
        return readers[0] if isinstance(node, Activation) and node.kind == "relu" else None

    def before(self, index: int) -> set[int]:
        """All nodes that what node `index` gives depends on."""
        found: set[int] = set()
        waiting = [index]
        while waiting:
            for source in self.sources[waiting.pop()]:
                if source != IMAGE and source not in found:
                    found.add(source)
                    waiting.append(source)
        return found


def nonnegative_inputs(graph: LayerGraph, image: bool = True) -> list[bool]:
    """For each node, whether its inputs are known to have no negative value; `image`: the image's."""
    known: dict[int, bool] = {IMAGE: image}
    result = []
    for index, (node, sources) in enumerate(zip(graph.nodes, graph.sources, strict=True)):
        inputs = all(known[source] for source in sources)
        result.append(inputs)
        keeps = isinstance(node, MaxPool | AveragePool | Reshape | ZeroPad | Add | Concatenate)
        known[index] = node.nonnegative if isinstance(node, Activation) else inputs and keeps
    return result
