"""Image datasets behind one interface: uint8 images with labels, from a package, a download or a folder."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR10_SHAPE = (32, 32, 3)
SOURCES = ("cifar10-samples", "cifar10", "folder")


class DatasetError(ValueError):
    """A dataset that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels; the position of an image is its `image_id`.

    pixels: uint8 [n, height, width, channels]; labels: int64 [n] in 0..len(classes)-1.
    """

    source: str
    split: str
    pixels: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def fingerprint(self) -> str:
        """SHA-256 over shape, pixels and labels."""
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        digest.update(self.labels.astype(np.int64).data)
        return digest.hexdigest()


def load_dataset(source: str, path: str | Path | None = None, split: str = "test") -> Dataset:
    """Load a dataset.

    source: `cifar10-samples` (the 20 test images inside the Foolbox package), `cifar10` (from `path`,
    a folder of Parquet files in the Hugging Face layout, or downloaded by Keras where no path is
    given), or `folder` (PNG files in one subfolder per class under `path`).
    """
    if source == "cifar10-samples":
        return _foolbox_samples()
    if source == "cifar10":
        return _hugging_face(Path(path), split) if path else _keras_download(split)
    source_files(source, path, split)
    return _png_folder(Path(str(path)))


def source_files(source: str, path: str | Path | None = None, split: str = "test") -> list[Path]:
    """The files that a dataset is read from; empty for one that Keras downloads."""
    if source == "cifar10-samples":
        package = importlib.util.find_spec("foolbox")
        if package is None or not package.submodule_search_locations:
            raise DatasetError("the foolbox package is not installed: pip install foolbox")
        files = sorted((Path(package.submodule_search_locations[0]) / "data").glob("cifar10_*_*.png"))
        if not files:
            raise DatasetError("the foolbox package holds no cifar10_*.png files: reinstall foolbox")
        return files
    if source == "cifar10":
        if not path:
            return []
        files = sorted(Path(path).glob(f"{split}-*.parquet"))
        if not files:
            raise DatasetError(f"no {split}-*.parquet file in {path}: is it a CIFAR-10 folder of the hub?")
        return files
    if source != "folder":
        raise DatasetError(f"unknown dataset source {source!r}: use one of {', '.join(SOURCES)}")
    if not path or not Path(path).is_dir():
        raise DatasetError(f"no folder {path}: give a folder with one subfolder of PNG files per class")
    folder = Path(path)
    files = sorted(
        file
        for kind in folder.iterdir()
        if kind.is_dir() and not kind.name.startswith(".")
        for file in kind.iterdir()
        if file.is_file() and not file.name.startswith(".")
    )
    if not files:
        raise DatasetError(f"{folder} has no images: put PNG files in one subfolder per class")
    return files


def source_fingerprint(source: str, path: str | Path | None = None, split: str = "test") -> str:
    """SHA-256 over the names and bytes of the source files: cheap, nothing is decoded."""
    digest = hashlib.sha256(f"{source} {split}".encode())
    files = source_files(source, path, split)
    if source == "folder":
        digest.update(repr(_class_folders(Path(str(path)))).encode())
    for file in files:
        digest.update(f"{file.parent.name}/{file.name}".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def guess_source(name: str) -> tuple[str, str | None]:
    """(source, path) for a dataset named on the command line: a known name, or a folder of either layout."""
    if name in ("cifar10-samples", "cifar10"):
        return name, None
    folder = Path(name)
    if not folder.is_dir():
        raise DatasetError(f"no dataset {name!r}: give cifar10-samples, cifar10, or an existing folder")
    return ("cifar10" if any(folder.glob("*.parquet")) else "folder"), name


def _decode(data: bytes | Path, name: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DatasetError(f"{name} is not a readable image ({error}): remove or replace it") from None


def _stack(
    decoders: list[Callable[[], np.ndarray]], names: list[str], shape: tuple[int, ...] | None
) -> np.ndarray:
    """Decode one image after another into uint8 [n, h, w, 3]; all must have `shape` (None: the first's)."""
    pixels = np.zeros((len(names), 0), np.uint8)
    for i, (decode, name) in enumerate(zip(decoders, names, strict=True)):
        image = decode()
        shape = shape or image.shape
        if image.shape != shape:
            raise DatasetError(f"{name} has shape {image.shape}, expected {shape}: resize or remove it")
        if i == 0:
            pixels = np.zeros((len(names), *shape), np.uint8)
        pixels[i] = image
    return pixels


def _foolbox_samples() -> Dataset:
    files = source_files("cifar10-samples")
    pixels = _stack([lambda f=f: _decode(f, str(f)) for f in files], [str(f) for f in files], CIFAR10_SHAPE)
    labels = np.array([int(file.stem.split("_")[2]) for file in files], np.int64)
    return Dataset("cifar10-samples", "test", pixels, labels, CIFAR10_CLASSES)


def _hugging_face(folder: Path, split: str) -> Dataset:
    """Parquet files `<split>-*.parquet` with columns `img` (struct with PNG `bytes`) and `label`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = source_files("cifar10", folder, split)
    encoded: list[bytes] = []
    names: list[str] = []
    labels: list[int] = []
    for file in files:
        try:
            table = pq.read_table(file, columns=["img", "label"])
            images = table["img"].combine_chunks().field("bytes").to_pylist()
        except (pa.ArrowException, KeyError, OSError, AttributeError) as error:
            raise DatasetError(
                f"{file} is not a Parquet file with columns img.bytes and label ({error})"
            ) from None
        names += [f"{file} row {row}" for row in range(len(images))]
        encoded += images
        labels += table["label"].to_pylist()
    if not encoded:
        raise DatasetError(f"{folder} holds no images in its {split} files")
    for name, label in zip(names, labels, strict=True):
        if label is None or not 0 <= label < len(CIFAR10_CLASSES):
            raise DatasetError(f"{name} has label {label}, expected 0 to {len(CIFAR10_CLASSES) - 1}")
    decoders = [lambda b=b, n=n: _decode(b or b"", n) for b, n in zip(encoded, names, strict=True)]
    pixels = _stack(decoders, names, CIFAR10_SHAPE)
    return Dataset("cifar10", split, pixels, np.array(labels, np.int64), CIFAR10_CLASSES)


def _keras_download(split: str) -> Dataset:
    if split not in ("train", "test"):
        raise DatasetError(f"CIFAR-10 has splits train and test, not {split!r}")
    import keras

    try:
        train, test = keras.datasets.cifar10.load_data()
    except Exception as error:
        raise DatasetError(
            f"CIFAR-10 could not be downloaded ({error}): give a folder with its Parquet files, as `path` "
            "under [dataset] or, for the study `paper`, by `export CIFAR10=FOLDER`"
        ) from None
    pixels, labels = train if split == "train" else test
    return Dataset("cifar10", split, pixels, labels.astype(np.int64).reshape(-1), CIFAR10_CLASSES)


def _class_folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _png_folder(folder: Path) -> Dataset:
    """One subfolder per class; classes in the order of their names, images in the order of their paths."""
    files = source_files("folder", folder)
    classes = _class_folders(folder)
    for file in files:
        if file.suffix.lower() != ".png":
            raise DatasetError(f"{file} is not a PNG file: remove or convert it")
    names = [str(file) for file in files]
    pixels = _stack([lambda f=f: _decode(f, str(f)) for f in files], names, None)
    if len(classes) < 2:
        raise DatasetError(
            f"{folder} has one class, {classes[0]!r}: "
            "put the PNG files of each class in a subfolder of its own"
        )
    labels = np.array([classes.index(file.parent.name) for file in files], np.int64)
    return Dataset("folder", "", pixels, labels, tuple(classes))
