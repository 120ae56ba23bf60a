"""Datasets: what is read is what was written, and bad files are named."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from compute.datasets import (
    CIFAR10_CLASSES,
    DatasetError,
    guess_source,
    load_dataset,
    source_files,
    source_fingerprint,
)
from tests.shared import CIFAR10, needs_cifar10


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_hub(folder, pixels, labels, split="test"):
    images = [{"bytes": p if isinstance(p, bytes) else png(p), "path": None} for p in pixels]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(images, kind), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_samples_are_twenty_labelled_images():
    dataset = load_dataset("cifar10-samples")
    assert dataset.pixels.shape == (20, 32, 32, 3)
    assert dataset.pixels.dtype == np.uint8
    assert dataset.labels.tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1, 0, 9, 5, 7, 9, 8, 5, 7, 8, 6]
    assert dataset.classes == CIFAR10_CLASSES


@needs_cifar10
def test_samples_are_the_first_twenty_test_images():
    samples, test = load_dataset("cifar10-samples"), load_dataset("cifar10", CIFAR10)
    assert len(test.labels) == 10_000
    np.testing.assert_array_equal(samples.pixels, test.pixels[:20])
    np.testing.assert_array_equal(samples.labels, test.labels[:20])


def test_hub_layout_keeps_order_and_values(tmp_path, pixels):
    write_hub(tmp_path, pixels, [4, 0, 9])
    dataset = load_dataset("cifar10", tmp_path)
    np.testing.assert_array_equal(dataset.pixels, pixels)
    assert dataset.labels.tolist() == [4, 0, 9]
    assert guess_source(str(tmp_path)) == ("cifar10", str(tmp_path))


def test_folder_has_a_class_per_subfolder(tmp_path, pixels):
    for kind, image in zip(("bird", "ant", "bird"), pixels, strict=True):
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{len(list((tmp_path / kind).iterdir()))}.png").write_bytes(png(image))
    dataset = load_dataset("folder", tmp_path)
    assert dataset.classes == ("ant", "bird")
    assert dataset.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(dataset.pixels, pixels[[1, 0, 2]])
    assert guess_source(str(tmp_path)) == ("folder", str(tmp_path))


def test_fingerprint_follows_the_content(tmp_path, pixels):
    write_hub(tmp_path, pixels, [4, 0, 9])
    first, files = load_dataset("cifar10", tmp_path).fingerprint(), source_fingerprint("cifar10", tmp_path)
    assert load_dataset("cifar10", tmp_path).fingerprint() == first
    write_hub(tmp_path, pixels, [4, 0, 8])
    assert load_dataset("cifar10", tmp_path).fingerprint() != first
    assert source_fingerprint("cifar10", tmp_path) != files


def test_wrong_shape_is_named(tmp_path, pixels):
    write_hub(tmp_path, [pixels[0], pixels[1][:16]], [1, 2])
    with pytest.raises(DatasetError, match=r"row 1 has shape \(16, 32, 3\), expected \(32, 32, 3\)"):
        load_dataset("cifar10", tmp_path)


def test_unreadable_image_is_named(tmp_path, pixels):
    write_hub(tmp_path, [pixels[0], b"no picture"], [1, 2])
    with pytest.raises(DatasetError, match=r"test-00000-of-00001.parquet row 1 is not a readable image"):
        load_dataset("cifar10", tmp_path)


def test_label_out_of_range_is_named(tmp_path, pixels):
    write_hub(tmp_path, pixels, [1, 2, 10])
    with pytest.raises(DatasetError, match=r"row 2 has label 10"):
        load_dataset("cifar10", tmp_path)


def test_empty_split_is_named(tmp_path):
    write_hub(tmp_path, [], [])
    with pytest.raises(DatasetError, match="holds no images"):
        load_dataset("cifar10", tmp_path)
    with pytest.raises(DatasetError, match=r"no train-\*.parquet file"):
        load_dataset("cifar10", tmp_path, "train")


def test_corrupt_parquet_is_named(tmp_path):
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DatasetError, match=r"test-00000-of-00001\.parquet is not a Parquet file"):
        load_dataset("cifar10", tmp_path)


def test_other_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"image": [1]}), tmp_path / "test-0.parquet")
    with pytest.raises(DatasetError, match=r"with columns img.bytes and label"):
        load_dataset("cifar10", tmp_path)


def test_text_file_among_images_is_named(tmp_path, pixels):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.png").write_bytes(png(pixels[0]))
    (tmp_path / "ant" / "notes.txt").write_text("hello")
    with pytest.raises(DatasetError, match=r"notes.txt is not a PNG file: remove or convert it"):
        load_dataset("folder", tmp_path)


def test_text_named_png_is_named(tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.png").write_text("hello")
    with pytest.raises(DatasetError, match=r"a.png is not a readable image"):
        load_dataset("folder", tmp_path)


def test_images_of_two_sizes_are_refused(tmp_path, pixels):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.png").write_bytes(png(pixels[0]))
    (tmp_path / "ant" / "b.png").write_bytes(png(pixels[0][:8]))
    with pytest.raises(DatasetError, match=r"b.png has shape \(8, 32, 3\), expected \(32, 32, 3\)"):
        load_dataset("folder", tmp_path)


def test_a_folder_of_one_class_is_refused(tmp_path, pixels):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "a.png").write_bytes(png(pixels[0]))
    with pytest.raises(DatasetError, match="has one class, 'ant': put the PNG files of each class in a sub"):
        load_dataset("folder", tmp_path)


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="has no images"):
        load_dataset("folder", tmp_path)


@pytest.mark.parametrize("source", ["cifar100", "folder"])
def test_unknown_source_or_no_path(source):
    with pytest.raises(DatasetError, match="folder"):
        source_files(source)


def test_unknown_name_on_the_command_line(tmp_path):
    with pytest.raises(DatasetError, match="give cifar10-samples, cifar10, or an existing folder"):
        guess_source(str(tmp_path / "nothing"))
