"""For all tests: examples of hypothesis may take long, since the first compiles what it calls."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("relevance-lake", deadline=None)
settings.load_profile("relevance-lake")
