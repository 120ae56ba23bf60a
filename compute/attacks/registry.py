"""Every attack by the parameters that name it: what the study file offers, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compute.attacks import foolbox24, lbfgs
from compute.attacks.foolbox24 import Foolbox24
from compute.attacks.foolbox_parameters import FOOLBOX_ATTACKS, Boundary, FoolboxAttack
from compute.attacks.imported import Imported
from compute.attacks.lbfgs import LBFGS
from compute.attacks.result import AttackResult

if TYPE_CHECKING:
    from compute.attacks.foolbox_attacks import Pool
    from compute.attacks.lockstep import Evaluate

Searched = LBFGS | Foolbox24 | FoolboxAttack
"""Parameters of the attacks that are run here."""
Parameters = Searched | Imported

ATTACKS: dict[str, type[Parameters]] = {
    "lbfgs": LBFGS,
    "lbfgs foolbox-2.4": Foolbox24,
    **FOOLBOX_ATTACKS,
    "imported": Imported,
}
"""Parameters by the name of their algorithm, with a space and its preset behind it where there is one."""


def default_id(kind: str, given: Mapping[str, Any]) -> str:
    """Id of an attack that is given none, by its name in ATTACKS: a fixed budget is part of it."""
    epsilon = given.get("epsilon")
    name = kind.replace(" ", "-")
    return f"{name}-{epsilon:g}".replace("+", "") if isinstance(epsilon, int | float) else name


class Network(Protocol):
    """What attacks need of a classifier."""

    def evaluator(self, logits: str) -> Evaluate:
        """Cross-entropy and its gradient."""
        ...

    def forward(self, images: Any) -> Any:
        """Pre-softmax outputs [b, k] of images [b, h, w, c], in TensorFlow."""
        ...


def is_targeted(parameters: Parameters) -> bool:
    """Whether the attack aims at a class; else it is run once an image."""
    return not isinstance(parameters, FoolboxAttack) or parameters.targeted


def needs_pool(parameters: Parameters) -> bool:
    """Whether the attack starts from images of its target."""
    return isinstance(parameters, Boundary)


def run(
    network: Network,
    images: np.ndarray,
    classes: np.ndarray,
    parameters: Searched,
    batch_size: int,
    on_result: Callable[[int, AttackResult], None],
    pool: Pool | None = None,
) -> list[AttackResult]:
    """Attack images float32 [m, h, w, c] in [0, 1]; `on_result(index, result)` is called for each.

    classes: int64 [m], the targets; of an untargeted attack the labels.
    """
    if isinstance(parameters, FoolboxAttack):
        from compute.attacks import foolbox_attacks

        return foolbox_attacks.attack(
            network.forward, images, classes, parameters, batch_size, on_result, pool
        )
    evaluate = network.evaluator(parameters.logits)
    if isinstance(parameters, Foolbox24):
        return foolbox24.attack(evaluate, images, classes, parameters, batch_size, on_result)
    return lbfgs.attack(evaluate, images, classes, parameters, batch_size, on_result)
