"""Imported for its effect: eagerpy 0.30, which Foolbox 3.3.4 stands on, calls what NumPy 2 has dropped."""

import numpy as np

if not hasattr(np, "find_common_type"):
    np.find_common_type = lambda arrays, scalars: np.result_type(*arrays, *scalars)  # type: ignore[attr-defined]
