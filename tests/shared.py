"""Real data beside the checkout, for the tests that need more than the product carries."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
CIFAR10 = SHARED / "data" / "cifar10"

needs_cifar10 = pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"CIFAR-10 is not at {CIFAR10}")
