"""The bytes of a Parquet file: what is read back, by which encodings, and what they save."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.encoding import parquet

RNG = np.random.default_rng(0)


def vectors(values: np.ndarray, type_: pa.DataType, mask: np.ndarray | None = None) -> pa.Table:
    flat = pa.array(values.reshape(-1), type_)
    masked = None if mask is None else pa.array(mask)
    kind = pa.list_(pa.field("element", type_), values.shape[1])
    return pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=masked)})


def encodings(data: memoryview, column: int = 0) -> tuple[str, ...]:
    return pq.read_metadata(io.BytesIO(data)).row_group(0).column(column).encodings


def read(data: memoryview) -> pa.Table:
    return pq.read_table(io.BytesIO(data), page_checksum_verification=True)


def test_images_in_256_steps_take_less_than_half_of_any_others():
    steps = RNG.integers(0, 256, (400, 3072)).astype(np.float32) / np.float32(255)
    any_values = RNG.random((400, 3072), np.float32)
    few, many = (parquet(vectors(images, pa.float32())) for images in (steps, any_values))
    assert "RLE_DICTIONARY" in encodings(few) and "BYTE_STREAM_SPLIT" in encodings(many)
    assert len(few) < 0.5 * len(many)
    for data, images in ((few, steps), (many, any_values)):
        assert read(data).equals(vectors(images, pa.float32()))


@pytest.mark.parametrize("rows", [0, 1, 2, 17])
@pytest.mark.parametrize("are_null", [False, True])
def test_ranks_and_images_of_few_rows_are_read_back_as_they_were(rows, are_null):
    mask = np.full(rows, are_null)
    for values, type_ in (
        (np.argsort(RNG.random((rows, 3072))), pa.uint16()),
        (RNG.integers(0, 256, (rows, 3072)), pa.uint8()),
    ):
        table = vectors(values, type_, mask)
        assert read(parquet(table)).equals(table)


def test_a_few_like_rows_do_not_make_a_dictionary_of_a_column_of_many_values():
    relevance = RNG.normal(size=(200, 3072)).astype(np.float32)
    relevance[:20] = 0  # maps of a network that sees nothing
    data = parquet(vectors(relevance, pa.float32()))
    assert "BYTE_STREAM_SPLIT" in encodings(data)


def test_numbers_are_split_and_words_are_a_dictionary():
    rows = pa.table({"word": ["a", "b"] * 50, "number": RNG.random(100), "count": [1, 2] * 50})
    data = parquet(rows)
    assert read(data).equals(rows)
    assert "RLE_DICTIONARY" in encodings(data, 0) and "RLE_DICTIONARY" in encodings(data, 2)
    assert "BYTE_STREAM_SPLIT" in encodings(data, 1)
