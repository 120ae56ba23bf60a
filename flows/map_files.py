"""Files of relevance maps that were computed elsewhere: Parquet, .npy and .npz, read to one form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.npyio import NpzFile

from flows.errors import UserError

NUMBERS = ("image_id", "target", "explained_class")
"""Columns of whole numbers; image_id must be there."""
ALIASES = {"image_ids": "image_id", "targets": "target", "classes": "explained_class"}
"""Names of arrays in a .npz file that the command line has as options."""
COLUMNS = (*NUMBERS, "start", "relevance")


@dataclass(frozen=True)
class MapFile:
    """Maps as a file has them; what the file does not have is None.

    relevance: float16, float32 or float64 [n, components], component (y * width + x) * channels + channel.
    image_id, target, explained_class: int64 [n]. start: float64 [n].
    sha256: of the file, or of the digests of all files where ids stand apart.
    """

    path: Path
    relevance: np.ndarray
    image_id: np.ndarray
    target: np.ndarray | None
    explained_class: np.ndarray | None
    start: np.ndarray | None
    sha256: str

    def __len__(self) -> int:
        return len(self.image_id)


def read_maps(path: Path, shape: tuple[int, int, int], **beside: Path | None) -> MapFile:
    """Read maps of images of a shape (height, width, channels).

    beside: for a .npy file, the .npy files of `image_id`, and of `target` and `explained_class` where
    there are any. Raises UserError that names the file, what is wrong with it and what would be right.
    """
    given = {name: file for name, file in beside.items() if file is not None}
    if given and path.suffix != ".npy":
        names = ", ".join(name for name, alias in ALIASES.items() if alias in given)
        raise UserError(f"{path} holds its {names} itself: files beside it go with a .npy file alone")
    readers = {".parquet": _read_parquet, ".npz": _read_npz, ".npy": lambda file: _read_npy(file, given)}
    if path.suffix not in readers:
        raise UserError(f"{path} is no file of maps: give a .parquet, .npz or .npy file")
    for file in (path, *given.values()):
        if not file.is_file():
            raise UserError(f"there is no file {file}")
    arrays = readers[path.suffix](path)
    _require_columns(path, arrays)
    relevance = _flat(path, arrays["relevance"], shape)
    columns: dict[str, Any] = {name: _whole(path, arrays, name, len(relevance)) for name in NUMBERS}
    columns["start"] = _real(path, arrays, len(relevance))
    return MapFile(path, relevance, **columns, sha256=_digest([path, *given.values()]))


def _read_parquet(path: Path) -> dict[str, np.ndarray]:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from None
    arrays = {}
    for name in table.column_names:
        column = table[name]
        if name != "relevance":
            # a column of nulls is as good as none: it comes along where tables were put together
            if column.null_count < len(column) or not len(column):
                _refuse_nulls(path, name, column.null_count)
                arrays[name] = column.to_numpy()
            continue
        if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
                or pa.types.is_fixed_size_list(column.type)):  # fmt: skip
            raise UserError(f"{path}: relevance must be a list of floats in every row, not {column.type}")
        _refuse_nulls(path, name, column.null_count + sum(c.flatten().null_count for c in column.chunks))
        lengths = np.unique(np.concatenate([_lengths(chunk) for chunk in column.chunks] or [np.zeros(1)]))
        if len(lengths) != 1:
            raise UserError(
                f"{path}: maps have from {lengths[0]} to {lengths[-1]} values: all must have as many"
            )
        values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
        arrays[name] = np.concatenate(values or [np.zeros(0)]).reshape(len(column), -1 if len(column) else 0)
    return arrays


def _lengths(chunk: Any) -> np.ndarray:
    if pa.types.is_fixed_size_list(chunk.type):
        return np.full(len(chunk), chunk.type.list_size)
    return np.diff(chunk.offsets.to_numpy())


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with _numpy_errors(path):
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, NpzFile):
            raise ValueError("it holds one array without a name, as .npy files do")
        with loaded:
            return {ALIASES.get(name, name): loaded[name] for name in loaded.files}


def _read_npy(path: Path, beside: dict[str, Path]) -> dict[str, np.ndarray]:
    """The maps stay on the disk until they are read."""
    arrays = {}
    for name, file in {"relevance": path, **beside}.items():
        with _numpy_errors(file):
            arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
            if isinstance(arrays[name], NpzFile):
                raise ValueError("it holds several arrays, as .npz files do")
    return arrays


@contextmanager
def _numpy_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise UserError(f"{path} is not a readable {path.suffix} file of numbers: {error}") from None


def _require_columns(path: Path, arrays: dict[str, np.ndarray]) -> None:
    unknown = sorted(set(arrays) - set(COLUMNS))
    if unknown:
        raise UserError(f"{path}: unknown {', '.join(unknown)}; there may be {', '.join(COLUMNS)}")
    if "relevance" not in arrays:
        raise UserError(f"{path}: there is no relevance; it holds {', '.join(arrays) or 'nothing'}")
    if "image_id" not in arrays:
        remedy = "give --image-ids FILE.npy" if path.suffix == ".npy" else "add it"
        raise UserError(f"{path}: there is no image_id, which says whose maps these are: {remedy}")


def _flat(path: Path, relevance: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The maps as [n, components], without copying them."""
    height, width, channels = shape
    components = height * width * channels
    if relevance.shape[:1] == (0,):
        raise UserError(f"{path}: there is no map in it")
    if relevance.dtype.kind != "f":
        raise UserError(f"{path}: relevance must be of float16, float32 or float64, not {relevance.dtype}")
    if relevance.shape[1:] not in ((components,), shape):
        hint = ""
        if relevance.shape[1:] == (channels, height, width):
            hint = "; channels stand first: transpose with np.moveaxis(maps, 1, -1)"
        raise UserError(
            f"{path}: relevance must be [n, {components}] or [n, {height}, {width}, {channels}], "
            f"not {list(relevance.shape)}{hint}"
        )
    return relevance.reshape(len(relevance), components)


def _whole(path: Path, arrays: dict[str, np.ndarray], name: str, count: int) -> np.ndarray | None:
    if name not in arrays:
        return None
    values = arrays[name]
    if values.dtype.kind not in "iu":
        raise UserError(f"{path}: {name} must be whole numbers, not {values.dtype}")
    _require_length(path, values, name, count)
    return values.astype(np.int64)


def _real(path: Path, arrays: dict[str, np.ndarray], count: int) -> np.ndarray | None:
    if "start" not in arrays:
        return None
    values = arrays["start"]
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise UserError(f"{path}: start must be finite floats, not {values.dtype}")
    _require_length(path, values, "start", count)
    return values.astype(np.float64)


def _require_length(path: Path, values: np.ndarray, name: str, count: int) -> None:
    if values.shape != (count,):
        raise UserError(f"{path}: {name} must be [{count}], one for each map, not {list(values.shape)}")


def _refuse_nulls(path: Path, name: str, nulls: int) -> None:
    if nulls:
        raise UserError(f"{path}: {name} has {nulls} nulls: every map needs all of it")


def _digest(files: list[Path]) -> str:
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
