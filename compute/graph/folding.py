"""BatchNorm out of the graph: the same function, with normalisation folded into linear layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compute.graph.nodes import BatchNorm, Convolution, Dense, Diagonal, LayerGraph, Linear, Node


def fold_batchnorm(graph: LayerGraph) -> LayerGraph:
    """The same function without BatchNorm nodes.

    Each is folded, with its own epsilon, into the linear node before it, where nothing else reads that
    node: kernel' = kernel * scale, bias' = bias * scale + shift. Else into all nodes that read it, where
    these are linear: kernel' = scale * kernel, bias' = bias + shift kernel; not into a convolution that
    pads with zeros what BatchNorm shifts. Where neither is possible it stays as a linear layer of its
    own, a diagonal one.
    """
    nodes: list[Node] = list(graph.nodes)
    moved: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if not isinstance(node, BatchNorm | Diagonal):
            continue
        affine = node.affine() if isinstance(node, BatchNorm) else node
        (source,) = graph.sources[index]
        source = moved.get(source, source)
        before = nodes[source] if source >= 0 else None
        if isinstance(before, Linear) and len(_readers(graph, moved, source)) == 1:
            kernel, bias = before.kernel * affine.kernel, before.bias * affine.kernel + affine.bias
            nodes[source] = replace(before, kernel=kernel, bias=bias)
            moved[index] = source
            continue
        readers = graph.consumers(index)
        if readers and all(_takes(nodes[reader], affine) for reader in readers):
            for reader in readers:
                nodes[reader] = _behind(affine, nodes[reader])
            moved[index] = source
            continue
        nodes[index] = affine
    return _without(graph, nodes, moved)


def _readers(graph: LayerGraph, moved: dict[int, int], index: int) -> list[int]:
    """Nodes that read node `index`, once the moved ones are gone."""
    own = [index] + [old for old, new in moved.items() if new == index]
    return [reader for place in own for reader in graph.consumers(place) if reader not in moved]


def _takes(node: Node, affine: Diagonal) -> bool:
    """Whether a node that reads a diagonal layer can take it up."""
    if isinstance(node, Convolution):
        pads = node.padding == "SAME" and node.kernel.shape[:2] != (1, 1)
        return not (pads and np.any(affine.bias))
    return isinstance(node, Dense)


def _behind(affine: Diagonal, node: Node) -> Convolution | Dense:
    """The linear node that does what `affine` and then `node` do."""
    assert isinstance(node, Convolution | Dense)
    if isinstance(node, Dense):
        kernel = affine.kernel[:, None] * node.kernel
        return replace(node, kernel=kernel, bias=node.bias + affine.bias @ node.kernel)
    # output d of a grouped convolution reads the channels of its own group
    grouped = node.kernel.reshape(*node.kernel.shape[:3], node.groups, -1)
    scale, shift = (v.reshape(node.groups, -1).T[:, :, None] for v in (affine.kernel, affine.bias))
    bias = node.bias + (grouped * shift).sum(axis=(0, 1, 2)).reshape(-1)
    return replace(node, kernel=(grouped * scale).reshape(node.kernel.shape), bias=bias)


def _without(graph: LayerGraph, nodes: list[Node], moved: dict[int, int]) -> LayerGraph:
    kept = [index for index in range(len(nodes)) if index not in moved]
    place = {-1: -1} | {index: new for new, index in enumerate(kept)}

    def settled(index: int) -> int:
        while index in moved:
            index = moved[index]
        return place[index]

    sources = tuple(tuple(settled(source) for source in graph.sources[index]) for index in kept)
    return replace(graph, nodes=tuple(nodes[index] for index in kept), sources=sources)
