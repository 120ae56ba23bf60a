"""Between NumPy matrices and the lake's tables of fixed-size lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sql.tables import Table


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A fixed-size-list column without nulls as an array [rows, length]."""
    combined = pa.concat_arrays(column.chunks)
    return combined.flatten().to_numpy(zero_copy_only=False).reshape(len(combined), -1)


def table_of(
    table: Table, columns: Mapping[str, Any], nulls: Mapping[str, np.ndarray] | None = None
) -> pa.Table:
    """Rows of a table of the contract from arrays: vectors [rows, length], scalars [rows].

    nulls: bool [rows] by column, true where the value is null.
    """
    lengths = {c.type[-3:]: columns[c.name].shape[1] for c in table.columns if c.type[-3:] in ("[n]", "[k]")}
    schema = table.arrow_schema(lengths.get("[n]", 0), lengths.get("[k]", 0))
    arrays = []
    for field in schema:
        values, mask = columns[field.name], (nulls or {}).get(field.name)
        if pa.types.is_fixed_size_list(field.type):
            flat = pa.array(np.ascontiguousarray(values).reshape(-1), field.type.value_type)
            masked = None if mask is None else pa.array(mask)
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type, mask=masked))
        else:
            arrays.append(pa.array(values, field.type, mask=mask))
    return pa.table(arrays, schema=schema)
