"""Real data beside the checkout, for the tests that need more than the product carries."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
CIFAR10 = SHARED / "data" / "cifar10"

needs_cifar10 = pytest.mark.skipif(not CIFAR10.is_dir(), reason=f"CIFAR-10 is not at {CIFAR10}")

PUBLISHED = SHARED / "data" / "published"
SAMPLE_STATISTICS = SHARED / "reference" / "published_sample_statistics.json"

needs_published = pytest.mark.skipif(
    not (PUBLISHED.is_dir() and CIFAR10.is_dir() and SAMPLE_STATISTICS.is_file()),
    reason=f"the authors' release is not at {PUBLISHED}, with CIFAR-10 and the reference statistics",
)
