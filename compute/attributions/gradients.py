"""Methods that need the input gradient alone. Signed values, of the explained logit."""

from __future__ import annotations

import numpy as np

from compute.attributions.network import Attribute, Network
from compute.maps import RawMaps
from compute.methods import Method


def gradient(network: Network, method: Method) -> Attribute:
    """The derivative of the logit by each component.

    Simonyan, Vedaldi & Zisserman 2013, Deep inside convolutional networks, section 3; the sign is
    kept and channels stay apart, where they take the largest absolute value of a pixel's.
    """

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        return network.maps(*network.gradient(x, classes))

    return attribute


def input_x_gradient(network: Network, method: Method) -> Attribute:
    """Each component times the derivative of the logit by it.

    Shrikumar et al. 2016, Not just a black box, section 3; Ancona et al. 2018, Towards better understanding
    of gradient-based attribution methods, table 1.
    """

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        slope, start = network.gradient(x, classes)
        return network.maps(x * slope, start)

    return attribute


def smoothgrad(network: Network, method: Method) -> Attribute:
    """The mean gradient at `samples` images with Gaussian noise of standard deviation `sigma` added.

    Smilkov et al. 2017, SmoothGrad: removing noise by adding noise, section 2.2. sigma is in units of the
    box [0, 1]; noisy images are not clipped to it. Every image gets the same draws, a function of the
    seed and the image's shape: a map depends on no other image of its batch, and what differs
    between the maps of two images is not the luck of the draw (common random numbers).
    """
    assert method.samples and method.sigma and method.seed is not None
    samples, sigma, seed = method.samples, method.sigma, method.seed

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        total = np.zeros(x.shape)
        for sample in range(samples):
            noise = sigma * np.random.default_rng([seed, sample]).standard_normal(x.shape[1:])
            total += network.gradient((x + noise).astype(x.dtype), classes)[0]
        return network.maps(total / samples, network.logit(x, classes))

    return attribute


def integrated_gradients(network: Network, method: Method) -> Attribute:
    """The gradient's mean on the straight way from the baseline image, times the way.

    Sundararajan, Taly & Yan 2017, Axiomatic attribution for deep networks, equation 1; the integral by
    Gauss-Legendre quadrature with `samples` nodes. Completeness: the values of a map sum to the
    logit less the baseline's, but for the error of the quadrature; the baseline's logit counts as
    absorbed by biases.
    """
    assert method.samples and method.baseline is not None
    baseline = method.baseline
    nodes, weights = np.polynomial.legendre.leggauss(method.samples)

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        origin = np.full_like(x, baseline)
        mean = np.zeros(x.shape)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            mean += weight * network.gradient((origin + node * (x - origin)).astype(x.dtype), classes)[0]
        left_out = network.logit(origin, classes)
        return network.maps((x - origin) * mean, network.logit(x, classes), left_out)

    return attribute
