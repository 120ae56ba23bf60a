"""Searches for the nearest image of a target class, many at once: what each place of a batch does next.

A search minimises u'u / 2 subject to h(x) <= bound, where x = original + spread * u lies in the box
[0, 1] and h = log((1 - p) / p) for the target's probability p. It is sequential quadratic programming
(Nocedal & Wright 2006, chapter 18): a step solves the problem with h linearised and the Hessian of the
Lagrangian estimated by L-BFGS; components that the box holds stay out of it (Bertsekas 1982); a step
that does not lower u'u / 2 plus a penalty on h > bound (their equation 18.27) is shortened.

For the mean squared distance spread is 1. For the mean absolute distance it is the root of the change
itself, so that u'u becomes the sum of absolute changes: iteratively reweighted least squares
(Daubechies et al. 2010), with a new spread whenever a search has settled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from compute.attacks.curvature import Curvature
from compute.attacks.result import quantised
from compute.attacks.success import Seen, look

if TYPE_CHECKING:
    from compute.attacks.lbfgs import LBFGS

EMPTY, START, TRIAL, VERIFIED, LAST = range(5)
"""What the image of a place is: none, the original, a step, a success or the best failure as delivered."""

PENALTY = 1.2
"""on h > bound, in units of its multiplier"""
RADIUS = 0.01
"""root mean square of the longest step while the image is near its original"""
SHORTENINGS = 8
PATIENCE = 20
"""Iterations without a nearer success after which a search has settled."""
GRACE, IMPATIENCE = 15, 1.2
"""Without a success after so many iterations, every further one multiplies the margin by the factor."""
SPREADS = 6
"""Times that a search for the least mean absolute distance begins again with a new spread."""

LOST = 1e-9
"""Probability of all other classes below which the cross-entropy's gradient is lost to rounding."""

SPENT, STUCK = "budget spent", "no step leads nearer"
ROUNDED = "every success was lost to rounding"
FLAT, HELD = "gradient is zero", "all that would help is at the end of the box"
NOT_FINITE = "the network gives values that are not finite"

End = Callable[[int, str, str | None], None]
"""Called with place, status and reason as soon as a search ends."""


class Searches:
    """The state of `places` searches: vectors float32 [places, n], numbers [places].

    `chosen` and `chosen_logits` are the delivered image of a search that has ended: the nearest
    success, else the failure of the highest target probability.
    """

    def __init__(self, places: int, components: int, classes: int, parameters: LBFGS, on_end: End) -> None:
        self.parameters, self.on_end = parameters, on_end
        self.curvature = Curvature(places, parameters.history, components)
        (
            self.original, self.image, self.x, self.gradient, self.direction, self.trial, self.trial_gradient,
            self.chosen,
        ) = np.zeros((8, places, components), np.float32)  # fmt: skip
        self.spread = np.ones((places, components), np.float32) if parameters.distance == "mae" else None
        self.chosen_logits = np.zeros((places, classes), np.float32)
        (
            self.phase, self.target, self.iterations, self.gradient_calls, self.forward_calls,
            self.shortenings, self.since_nearer, self.spreads,
        ) = np.zeros((8, places), np.int64)  # fmt: skip
        (
            self.h, self.bound, self.goal, self.multiplier, self.length, self.shift, self.unit,
            self.trial_h, self.trial_bound, self.trial_share, self.trial_size,
            self.best, self.best_size, self.best_failure, self.chosen_c, self.gap,
        ) = np.zeros((16, places))  # fmt: skip
        self.reason = [""] * places

    def start(self, place: int, original: np.ndarray, target: int) -> None:
        """Begin a search: the original float32 [n] in [0, 1]."""
        self.phase[place], self.target[place] = START, target
        self.original[place] = original
        self.image[place] = quantised(original, self.parameters.quantise)
        for numbers in (
            self.iterations, self.gradient_calls, self.forward_calls, self.since_nearer, self.spreads,
            self.multiplier, self.shift,
        ):  # fmt: skip
            numbers[place] = 0
        self.best[place] = self.best_size[place] = np.inf
        self.best_failure[place] = -1
        self.chosen_c[place] = np.nan
        self.unit[place] = 2
        if self.spread is not None:
            self.spread[place] = 1
        self.curvature.clear(np.array([place]))

    def running(self) -> np.ndarray:
        """Places whose image waits for the network."""
        return np.flatnonzero(self.phase != EMPTY)

    def receive(self, rows: np.ndarray, logits: np.ndarray, gradient: np.ndarray) -> None:
        """Go on with what the network says of the images of `rows`.

        logits: float32 [m, k]; gradient: of the targets' cross-entropy, float32 [m, n].
        """
        phase = self.phase[rows]
        for_gradient = (phase == START) | (phase == TRIAL)
        self.gradient_calls[rows[for_gradient]] += 1
        self.forward_calls[rows[~for_gradient]] += 1
        with np.errstate(over="ignore", invalid="ignore"):
            seen = look(logits, self.target[rows], self.parameters.confidence, self.parameters.logits)
        finite = np.isfinite(logits).all(axis=1) & np.isfinite(gradient).all(axis=1)
        for place in np.flatnonzero(~finite):
            row = rows[place]
            if np.isinf(self.best[row]):
                self._choose(row, self.image[row], logits[place])
                self._end(row, "failed", NOT_FINITE)
            else:
                self._end(row, "success", None)

        def those(kind: int) -> tuple[np.ndarray, np.ndarray, Seen]:
            of = np.flatnonzero(finite & (phase == kind))
            if kind in (START, TRIAL):
                # far beyond the bound nothing is left of the cross-entropy's gradient: h bends little there
                share = np.maximum(seen.share[of], LOST)[:, None].astype(np.float32)
                known = seen.share[of, None] > LOST
                self.trial_gradient[rows[of]] = np.where(known, gradient[of] / share, self.gradient[rows[of]])
            return rows[of], logits[of], seen.at(of)

        self._finish(*those(LAST))
        judged = np.concatenate([self._try_out(*those(TRIAL)), self._verify(*those(VERIFIED))])
        aimed = np.concatenate([self._begin(*those(START)), self._judge(np.sort(judged))])
        self._aim(np.sort(aimed))

    def _begin(self, rows: np.ndarray, logits: np.ndarray, seen: Seen) -> np.ndarray:
        """Begin at the original; one that is of its target's class already needs no search."""
        self.x[rows], self.gradient[rows] = self.image[rows], self.trial_gradient[rows]
        self.h[rows], self.bound[rows] = seen.h, seen.bound
        self.gap[rows] = seen.h - seen.bound
        for place in np.flatnonzero(seen.reached):
            self._choose(rows[place], self.image[rows[place]], logits[place])
            self._end(rows[place], "already_target", None)
        return rows[~seen.reached]

    def _try_out(self, rows: np.ndarray, logits: np.ndarray, seen: Seen) -> np.ndarray:
        """Keep a trial that is nearer than all successes so far, or have it verified as delivered first."""
        self.trial_h[rows], self.trial_bound[rows], self.trial_share[rows] = seen.h, seen.bound, seen.share
        failing = ~seen.reached & np.isinf(self.best[rows]) & (seen.probability > self.best_failure[rows])
        self.best_failure[rows[failing]] = seen.probability[failing]
        self._choose(rows[failing], self.trial[rows[failing]], logits[failing])
        nearer = self.trial_size[rows] < self.best_size[rows] * (1 - self.parameters.tolerance)
        nearer &= seen.reached & (seen.h <= seen.bound - self.shift[rows])
        if self.parameters.quantise == "none":
            self._keep(rows[nearer], self.trial[rows[nearer]], logits[nearer])
            return rows
        self.phase[rows[nearer]] = VERIFIED
        self.image[rows[nearer]] = quantised(self.trial[rows[nearer]], self.parameters.quantise)
        return rows[~nearer]

    def _verify(self, rows: np.ndarray, logits: np.ndarray, seen: Seen) -> np.ndarray:
        """Keep a trial that is a success as delivered; the next goal makes up for what rounding takes."""
        self.shift[rows] = np.maximum(0, seen.h - self.trial_h[rows])
        self._keep(rows[seen.reached], self.image[rows[seen.reached]], logits[seen.reached])
        lost = ~seen.reached & np.isinf(self.best[rows]) & (seen.probability > self.best_failure[rows])
        self.best_failure[rows[lost]] = seen.probability[lost]
        self._choose(rows[lost], self.image[rows[lost]], logits[lost])
        return rows

    def _keep(self, rows: np.ndarray, images: np.ndarray, logits: np.ndarray) -> None:
        self.best_size[rows] = self.trial_size[rows]
        self.since_nearer[rows] = 0
        size = self._size(images - self.original[rows])
        better = size < self.best[rows]
        rows = rows[better]
        self._choose(rows, images[better], logits[better])
        self.best[rows] = size[better]
        # where the gradient of distance + c * cross-entropy vanishes: that of h is the latter's over share
        share = self.trial_share[rows] * self.x.shape[1]
        self.chosen_c[rows] = self.unit[rows] * self.multiplier[rows] / share

    def _judge(self, rows: np.ndarray) -> np.ndarray:
        """Take a trial for the image, or shorten its step; the places that go on in a new direction."""
        u, step = self._u(rows, self.x), self._u(rows, self.trial)
        penalty = PENALTY * self.multiplier[rows]
        before = _half_square(u) + penalty * np.maximum(0, self.h[rows] - self.goal[rows])
        after = _half_square(step) + penalty * np.maximum(0, self.trial_h[rows] - self.goal[rows])
        step -= u
        above = self.h[rows] > self.goal[rows]
        downhill = _dot(self._spread(rows, self.gradient[rows]), step)
        slope = _dot(u, step) + penalty * np.where(above, downhill, 0)
        taken = after - before <= 1e-4 * slope
        new = rows[taken]
        self.curvature.push(
            new, step[taken], self._spread(new, self.trial_gradient[new] - self.gradient[new])
        )
        self.x[new], self.gradient[new] = self.trial[new], self.trial_gradient[new]
        self.h[new], self.bound[new] = self.trial_h[new], self.trial_bound[new]
        self.iterations[new] += 1
        self.since_nearer[new] += 1

        spent = ~taken & self._spent(rows)
        vain = ~taken & ~spent & (self.shortenings[rows] >= SHORTENINGS)
        short = ~(taken | spent | vain)
        rise = after - before
        parabola = np.where(slope < 0, -slope / np.maximum(2 * (rise - slope), 1e-300), 0.1)
        self.length[rows[short]] *= np.clip(parabola[short], 0.1, 0.5)
        self.shortenings[rows[short]] += 1
        self._try(rows[short])
        again = rows[vain & (self.curvature.count[rows] > 0)]
        stuck = rows[vain & (self.curvature.count[rows] == 0)]
        self.curvature.clear(again)
        for row in stuck:
            self._settle(row, STUCK)
        for row in rows[spent]:
            self._settle(row, SPENT)
        return np.concatenate([new, again])

    def _aim(self, rows: np.ndarray) -> None:
        """A new step for each place: to where h, linearised, reaches its goal with the least u'u / 2."""
        if not len(rows):
            return
        u, gradient, old = (
            self._u(rows, self.x),
            self._spread(rows, self.gradient[rows]),
            self.multiplier[rows],
        )
        first = old == 0
        slope = np.where(first[:, None], gradient, u + old[:, None].astype(np.float32) * gradient)
        x = self.x[rows]
        free = ~(((x <= 0) & (slope > 0)) | ((x >= 1) & (slope < 0)))
        self.curvature.vectors[rows, -2], self.curvature.vectors[rows, -1] = u * free, gradient * free
        coefficients, products = self.curvature.solve(rows, old)
        along = np.einsum("ij,irj->ir", products[:, -1], coefficients)
        waited = np.where(np.isinf(self.best[rows]), self.since_nearer[rows] - GRACE, 0)
        margin = self.parameters.margin * self.gap[rows] * IMPATIENCE ** np.maximum(waited, 0)
        margin = np.minimum(margin, 1)
        self.goal[rows] = self.bound[rows] - margin - self.shift[rows]
        flat = ~(along[:, 1] > 0)
        new = (self.h[rows] - self.goal[rows] - along[:, 0]) / np.where(flat, 1, along[:, 1])
        new = np.where(first, np.maximum(new, 0), np.clip(new, old / 10, old * 10))
        total = coefficients[:, 0] + new[:, None] * coefficients[:, 1]
        step = -self.curvature.combined(rows, total) * free
        length, distance = np.sqrt(_dot(step, step)), np.sqrt(_dot(u, u))
        longest = np.maximum(RADIUS * np.sqrt(u.shape[1]), distance)
        share = np.minimum(1, longest / np.maximum(length, 1e-300))
        self.multiplier[rows] = np.where(first, new * share, new)
        self.direction[rows] = step * share[:, None].astype(np.float32)
        self.length[rows], self.shortenings[rows] = 1, 0
        self._try(rows)

        settled = self.trial_size[rows] > (1 - self.parameters.tolerance) * self.best_size[rows]
        settled &= length < 0.1 * distance
        settled |= np.isfinite(self.best[rows]) & (self.since_nearer[rows] >= PATIENCE)
        spent = self._spent(rows)
        again = settled & ~flat & ~spent & (self.spreads[rows] < SPREADS) & (self.spread is not None)
        for place in np.flatnonzero((settled | flat | spent) & ~again):
            reason = SPENT
            if flat[place]:
                reason = HELD if gradient[place].any() else FLAT
            self._settle(rows[place], reason)
        if again.any():
            self._respread(rows[again])
            self._aim(rows[again])

    def _try(self, rows: np.ndarray) -> None:
        """The image at the present length of the step."""
        step = self.direction[rows] * self.length[rows, None].astype(np.float32)
        trial = np.clip(self.x[rows] + self._spread(rows, step), 0, 1)
        self.trial[rows] = self.image[rows] = trial
        self.trial_size[rows] = self._size(trial - self.original[rows])
        self.phase[rows] = TRIAL

    def _respread(self, rows: np.ndarray) -> None:
        """Weigh changes by the inverse of what they are now, so that small ones vanish; begin anew there."""
        assert self.spread is not None
        change = np.abs(self.x[rows] - self.original[rows])
        change += (change.mean(axis=1) * 0.5 ** (1 + self.spreads[rows]))[:, None].astype(np.float32)
        mean = change.mean(axis=1, keepdims=True)
        self.spread[rows] = np.sqrt(change / mean)
        self.unit[rows] = 1 / mean[:, 0]
        self.spreads[rows] += 1
        self.multiplier[rows] = self.since_nearer[rows] = 0
        self.curvature.clear(rows)

    def _spent(self, rows: np.ndarray) -> np.ndarray:
        return self.gradient_calls[rows] >= self.parameters.max_gradient_calls

    def _settle(self, row: int, reason: str) -> None:
        """End a search; the best failure is delivered and looked at first."""
        if np.isfinite(self.best[row]):
            self._end(row, "success", None)
        else:
            image = self.chosen[row] if self.best_failure[row] >= 0 else self.x[row]
            self.image[row] = quantised(image, self.parameters.quantise)
            self.phase[row], self.reason[row] = LAST, reason

    def _finish(self, rows: np.ndarray, logits: np.ndarray, seen: Seen) -> None:
        for place, row in enumerate(rows):
            self._choose(row, self.image[row], logits[place])
            if seen.reached[place]:
                self._end(row, "success", None)
            else:
                self._end(row, "failed", self.reason[row])

    def _choose(self, rows: np.ndarray, images: np.ndarray, logits: np.ndarray) -> None:
        self.chosen[rows], self.chosen_logits[rows] = images, logits

    def _end(self, row: int, status: str, reason: str | None) -> None:
        self.phase[row] = EMPTY
        self.on_end(int(row), status, reason)

    def _u(self, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
        change = images[rows] - self.original[rows]
        return change if self.spread is None else change / self.spread[rows]

    def _spread(self, rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return vectors if self.spread is None else vectors * self.spread[rows]

    def _size(self, change: np.ndarray) -> np.ndarray:
        """The distance that the attack minimises, up to a function that only grows."""
        return np.sqrt(_dot(change, change)) if self.spread is None else np.abs(change).sum(axis=1)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b).astype(np.float64)


def _half_square(a: np.ndarray) -> np.ndarray:
    return _dot(a, a) / 2
