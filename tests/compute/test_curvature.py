"""Curvature by inner products against the recursion on vectors and against the matrix that it stands for."""

import numpy as np
import pytest

from compute.attacks.curvature import STRETCH, Curvature

SIZE, HISTORY = 20, 4


def two_loops(pairs, weight, vector):
    """Nocedal & Wright (2006), Algorithm 7.4, word for word, for y = s + weight * change of gradient."""
    pairs = [(s, s + weight * k) for s, k in pairs if s @ (s + weight * k) > 0]
    if not pairs:
        return vector.copy()
    q, shares = vector.copy(), []
    for s, y in reversed(pairs):
        share = (s @ q) / (s @ y)
        q -= share * y
        shares.append(share)
    s, y = pairs[-1]
    q *= min(1.0, STRETCH * np.linalg.norm(s) / np.linalg.norm(y))
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        q += (share - (y @ q) / (s @ y)) * s
    return q


def bfgs_matrix(pairs, weight):
    """The inverse Hessian itself, by equation 6.17 of the same book."""
    s, y = pairs[-1][0], pairs[-1][0] + weight * pairs[-1][1]
    matrix = np.eye(SIZE) * min(1.0, STRETCH * np.linalg.norm(s) / np.linalg.norm(y))
    for s, change in pairs:
        y = s + weight * change
        rho = 1 / (s @ y)
        left = np.eye(SIZE) - rho * np.outer(s, y)
        matrix = left @ matrix @ left.T + rho * np.outer(s, s)
    return matrix


def random_problem(rng, pairs, convex=True):
    """Pairs of a quadratic K, that may bend downwards."""
    root = rng.normal(size=(SIZE, SIZE)) / 3
    hessian = root @ root.T if convex else (root + root.T) / 2
    steps = rng.normal(size=(pairs, SIZE)).astype(np.float32)
    return [(s, (hessian @ s).astype(np.float32)) for s in steps]


@pytest.mark.parametrize("convex", [True, False])
def test_products_equal_those_of_the_recursion(convex):
    """Problems of another number of pairs each, one with more than are kept, all in one batch."""
    rng = np.random.default_rng(3)
    counts = [0, 1, 3, HISTORY, HISTORY + 3]
    curvature = Curvature(len(counts), HISTORY, SIZE)
    problems = [random_problem(rng, count, convex) for count in counts]
    for row, pairs in enumerate(problems):
        for step, change in pairs:
            curvature.push(np.array([row]), step[None], change[None])
    vectors = rng.normal(size=(len(counts), 2, SIZE)).astype(np.float32)
    curvature.vectors[:, -2:] = vectors
    weight = rng.uniform(0.1, 2, len(counts))
    rows = np.arange(len(counts))
    coefficients, products = curvature.solve(rows, weight)
    for which in (0, 1):
        found = curvature.combined(rows, coefficients[:, which])
        for row, pairs in enumerate(problems):
            expected = two_loops(pairs[-HISTORY:], weight[row], vectors[row, which].astype(float))
            np.testing.assert_allclose(found[row], expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_allclose(
        products[:, -2, -1], (vectors[:, 0] * vectors[:, 1]).sum(1), rtol=1e-4, atol=1e-4
    )


def test_the_recursion_is_the_matrix():
    rng = np.random.default_rng(5)
    pairs, vector = random_problem(rng, HISTORY), rng.normal(size=SIZE)
    np.testing.assert_allclose(two_loops(pairs, 0.7, vector), bfgs_matrix(pairs, 0.7) @ vector, rtol=1e-5)


def test_some_rows_give_what_all_of_them_give():
    rng = np.random.default_rng(7)
    curvature = Curvature(6, HISTORY, SIZE)
    for _ in range(3):
        curvature.push(np.arange(6), *rng.normal(size=(2, 6, SIZE)).astype(np.float32))
    curvature.vectors[:, -2:] = rng.normal(size=(6, 2, SIZE))
    weight, rows = rng.uniform(0.1, 2, 6), np.array([1, 4, 5])
    every, some = curvature.solve(np.arange(6), weight)[0], curvature.solve(rows, weight[rows])[0]
    np.testing.assert_array_equal(some, every[rows])
    together = curvature.combined(np.arange(6), every[:, 0])
    np.testing.assert_array_equal(curvature.combined(rows, some[:, 0]), together[rows])


def test_forgotten_pairs_are_gone():
    rng = np.random.default_rng(9)
    curvature = Curvature(2, HISTORY, SIZE)
    curvature.push(np.arange(2), *rng.normal(size=(2, 2, SIZE)).astype(np.float32))
    curvature.vectors[:, -2:] = vectors = rng.normal(size=(2, 2, SIZE)).astype(np.float32)
    curvature.clear(np.array([1]))
    coefficients, _ = curvature.solve(np.arange(2), np.ones(2))
    np.testing.assert_array_equal(curvature.combined(np.array([0, 1]), coefficients[:, 0])[1], vectors[1, 0])
