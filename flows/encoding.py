"""How rows become the bytes of a Parquet file: the encoding of each column that takes the least disk.

Parquet's encodings: https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sql.tables import ROW_GROUP

STEPS = 256
"""Vectors of at most so many different values, as quantised images, are stored as a dictionary of these:
3.1 KB an adversarial CIFAR-10 image instead of 8.4 KB."""

SAMPLE = 16
"""Rows that tell whether vectors are of few values."""


def parquet(rows: pa.Table) -> memoryview:
    """The rows as the bytes of a Parquet file: zstd, with checksums, the schema's metadata in the footer.

    Floating point numbers and vectors are split by significance (BYTE_STREAM_SPLIT): signs and exponents
    repeat, the lower bits of a mantissa do not. Other plain columns are stored as dictionaries of their
    values. Pages are of 1 MiB: larger ones take 1 % less disk, and readers more memory the more files they
    read (11 to 15 % from a tenth of the paper's maps to all, instead of 4 %).
    """
    split, listed = [], []
    has_vectors = any(map(_is_vector, rows.schema.types))
    for field in rows.schema:
        if _is_vector(field.type):
            named = f"{field.name}.list.element"
            (listed if _of_few_values(rows[field.name]) else split).append(named)
        else:
            (split if pa.types.is_floating(field.type) else listed).append(field.name)
    buffer = pa.BufferOutputStream()
    pq.write_table(
        rows, buffer, row_group_size=ROW_GROUP if has_vectors else None, compression="zstd",
        compression_level=1, write_page_checksum=True,
        use_dictionary=listed, use_byte_stream_split=split,  # type: ignore[arg-type]
    )  # fmt: skip
    return memoryview(buffer.getvalue())


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind)


def _of_few_values(column: pa.ChunkedArray) -> bool:
    """Whether values repeat in a sample from all over the column."""
    if not len(column):
        return True
    chosen = np.unique(np.linspace(0, len(column) - 1, SAMPLE).astype(np.int64))
    values = pa.concat_arrays(column.take(pa.array(chosen)).chunks).flatten()
    return len(values.unique()) <= min(STEPS, len(values) // 2)
