"""Which function computes which family of methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compute.attributions.gradcam import grad_cam
from compute.attributions.gradients import gradient, input_x_gradient, integrated_gradients, smoothgrad
from compute.attributions.guided import guided_backpropagation
from compute.attributions.network import Attribute, Network, UnsupportedMethod
from compute.attributions.occlusion import occlusion
from compute.attributions.random_map import random_map
from compute.graph.nodes import LayerGraph
from compute.methods import Method


def attributions(
    graph: LayerGraph, methods: Sequence[Method], batch_size: int, dtype: str
) -> dict[str, Attribute]:
    """What makes the maps of each method, by its id; none of them LRP.

    An `Attribute` takes images [b, h, w, c] in `dtype` and classes int64 [b], b at most `batch_size`. Raises
    UnsupportedMethod where the network does not allow a method or its library is missing.
    """
    network = Network(graph, batch_size, dtype)
    return {method.id: FAMILIES[method.family](network, method) for method in methods}


def _lime(network: Network, method: Method) -> Attribute:
    try:
        from compute.attributions.lime import lime
    except ImportError as error:
        raise UnsupportedMethod(
            method, f"it needs the library lime ({error}): pip install 'relevance-lake[lime]'"
        ) from error
    return lime(network, method)


FAMILIES: dict[str, Callable[[Network, Method], Attribute]] = {
    "gradient": gradient,
    "input-x-gradient": input_x_gradient,
    "smoothgrad": smoothgrad,
    "integrated-gradients": integrated_gradients,
    "guided-backpropagation": guided_backpropagation,
    "grad-cam": grad_cam,
    "occlusion": occlusion,
    "lime": _lime,
    "random": random_map,
}
