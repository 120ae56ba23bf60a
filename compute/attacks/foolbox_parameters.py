"""Parameters of the attacks of Foolbox 3; what runs them is `foolbox_attacks`.

Defaults are those of Foolbox 3.3.4, but where its ten thousand steps a binary search step (Carlini-Wagner,
EAD) are one thousand here. Budgets and distances are in units of the box: 1 is white.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

from compute.attacks.result import Quantise

NUMERICS_VERSION = 2
"""Raised when a change of this module or of `foolbox_attacks` changes results."""


@dataclass(frozen=True, kw_only=True)
class FoolboxAttack:
    """What all attacks of Foolbox have; all of it is stored with their results."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a study is validated
    algorithm: ClassVar[str]
    targeted: ClassVar[bool] = True
    distance: ClassVar[str]
    """the norm that the budget bounds, or that is minimised"""

    confidence: float = 0.0
    """probability that the class reached must have on the delivered image (0: just the arg max)"""
    quantise: Quantise = "round"
    """`none`; `round` or `floor` to 8-bit levels; success is verified on the delivered image"""

    def __post_init__(self) -> None:
        if self.quantise not in get_args(Quantise):
            raise ValueError(
                f"quantise must be one of {', '.join(get_args(Quantise))}, not {self.quantise!r}"
            )
        if not 0 <= self.confidence < 1:
            raise ValueError(f"confidence must lie in [0, 1), not {self.confidence}")
        for name in ("steps", "binary_search_steps"):
            if getattr(self, name, 1) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in POSITIVE:
            if not 0 < getattr(self, name, 1.0) < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name)}")
        for name in ("seed", "kappa", "overshoot", "regularization"):
            if not 0 <= getattr(self, name, 0) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, not {getattr(self, name)}")

    @property
    def usual_cost(self) -> float:
        """What a pair usually takes, in evaluations of the gradient; one of the network alone is a third."""
        return 4 / 3 * getattr(self, "steps", 1) * getattr(self, "binary_search_steps", 1)

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        facts = {"algorithm": self.algorithm, "targeted": self.targeted, "distance": self.distance}
        return facts | {"version": NUMERICS_VERSION} | asdict(self)


POSITIVE = (
    "epsilon", "relative_step", "step_size", "initial_const", "initial_epsilon", "gamma",
    "spherical_step", "source_step",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FixedBudget(FoolboxAttack):
    """An attack that looks for success within a budget and does not make the change any smaller."""

    epsilon: float
    """largest norm of the change; the delivered image keeps to it"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distance == "linf" and self.epsilon > 1:
            raise ValueError(f"epsilon must be at most 1 (white), not {self.epsilon}")


@dataclass(frozen=True, kw_only=True)
class FGSM(FixedBudget):
    """Fast Gradient Sign Method: one step (Goodfellow, Shlens & Szegedy 2015, section 4). Untargeted."""

    algorithm = "fgsm"
    distance = "linf"
    targeted = False


@dataclass(frozen=True, kw_only=True)
class BIMLinf(FixedBudget):
    """Basic Iterative Method (Kurakin, Goodfellow & Bengio 2017, section 2.2)."""

    algorithm = "bim-linf"
    distance = "linf"
    steps: int = 10
    relative_step: float = 0.2
    """length of a step as a share of epsilon"""


@dataclass(frozen=True, kw_only=True)
class PGDLinf(FixedBudget):
    """Projected gradient descent from a random start in the ball (Madry et al. 2018, section 2.1)."""

    algorithm = "pgd-linf"
    distance = "linf"
    steps: int = 40
    relative_step: float = 0.01 / 0.3
    seed: int = 0
    """of the random starts"""


@dataclass(frozen=True, kw_only=True)
class PGDL2(FixedBudget):
    """The same in the ball of the Euclidean norm."""

    algorithm = "pgd-l2"
    distance = "l2"
    steps: int = 50
    relative_step: float = 0.025
    seed: int = 0
    """of the random starts"""


@dataclass(frozen=True, kw_only=True)
class CarliniWagnerL2(FoolboxAttack):
    """The L2 attack of Carlini & Wagner (2017), section V.A: Adam in tanh space, binary search over c."""

    algorithm = "carlini-wagner-l2"
    distance = "l2"
    binary_search_steps: int = 9
    steps: int = 1_000
    """of each binary search step"""
    step_size: float = 0.01
    """of Adam"""
    initial_const: float = 1e-3
    """first c, the weight of the loss"""
    kappa: float = 0.0
    """logit by which the target must lead"""


@dataclass(frozen=True, kw_only=True)
class DDN(FoolboxAttack):
    """Decoupled Direction and Norm (Rony et al. 2019, Algorithm 1)."""

    algorithm = "ddn"
    distance = "l2"
    steps: int = 100
    initial_epsilon: float = 1.0
    """first norm of the change"""
    gamma: float = 0.05
    """share by which the norm grows or shrinks at a step"""
    seed: int = 0
    """of the directions taken where the gradient vanishes"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma >= 1:
            raise ValueError(f"gamma must be below 1, not {self.gamma}")


@dataclass(frozen=True, kw_only=True)
class EAD(FoolboxAttack):
    """Elastic-net attack (Chen et al. 2018, Algorithm 1): squared L2 plus `regularization` times L1."""

    algorithm = "ead"
    distance = "elastic-net"
    binary_search_steps: int = 9
    steps: int = 1_000
    """of each binary search step"""
    step_size: float = 0.01
    """at first; it falls with the square root of the steps left"""
    initial_const: float = 1e-3
    """first c, the weight of the loss"""
    kappa: float = 0.0
    """logit by which the target must lead"""
    regularization: float = 0.01
    """weight of L1 (beta)"""
    decision_rule: Literal["EN", "L1"] = "EN"
    """what the best example has least of: the elastic net, or L1"""


@dataclass(frozen=True, kw_only=True)
class Boundary(FoolboxAttack):
    """Boundary attack, without gradients (Brendel, Rauber & Bethge 2018, Algorithm 1).

    It starts from the closest image of the target class that the network classifies correctly.
    """

    algorithm = "boundary"
    distance = "l2"
    steps: int = 25_000
    spherical_step: float = 0.01
    """first length of the step around the original, as a share of the distance to it"""
    source_step: float = 0.01
    """first length of the step towards the original, as a share of the distance to it"""
    step_adaptation: float = 1.5
    """factor by which both change"""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 < self.step_adaptation < float("inf"):
            raise ValueError(f"step_adaptation must be above 1 and finite, not {self.step_adaptation}")

    @property
    def usual_cost(self) -> float:
        """One evaluation of the network a step."""
        return self.steps / 3


@dataclass(frozen=True, kw_only=True)
class DeepFoolL2(FoolboxAttack):
    """DeepFool for L2 (Moosavi-Dezfooli, Fawzi & Frossard 2016, Algorithm 2). Untargeted."""

    algorithm = "deepfool-l2"
    distance = "l2"
    targeted = False
    steps: int = 50
    candidates: int = 10
    """most probable classes whose boundaries are tried, the image's own among them"""
    overshoot: float = 0.02
    """share by which the boundary is passed"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates < 2:
            raise ValueError(f"candidates must be at least 2, not {self.candidates}")

    @property
    def usual_cost(self) -> float:
        """Five steps to a boundary are usual."""
        return 5 * (self.candidates - 1)


FOOLBOX_ATTACKS: dict[str, type[FoolboxAttack]] = {
    kind.algorithm: kind
    for kind in (FGSM, BIMLinf, PGDLinf, PGDL2, CarliniWagnerL2, DDN, EAD, Boundary, DeepFoolL2)
}
"""Parameters by the name of their algorithm."""
