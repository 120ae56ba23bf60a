"""Adversarial examples of others: files found by name and verified, images measured."""

import numpy as np
import pytest
from PIL import Image

from compute.attacks.imported import ExamplesError, Imported, find_examples, judge, read_pixels


def save(folder, target, image_id, pixels=None, mode="RGB"):
    """A PNG file under the name that the authors give it."""
    file = folder / f"target_{target}" / f"img_{image_id}_t{target}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.random.default_rng(image_id).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file)
    return file


def found(folder):
    """As in a new process."""
    find_examples.cache_clear()
    return find_examples(str(folder))


def test_files_are_found_below_the_folder_in_order(tmp_path):
    for target, image_id in ((10, 3), (2, 12), (2, 5)):
        save(tmp_path / "any" / "Test", target, image_id)
    examples = found(tmp_path)
    assert examples.target.tolist() == [2, 2, 10]
    assert examples.image_id.tolist() == [5, 12, 3]
    assert [path.name for path in examples.paths] == ["img_5_t2.png", "img_12_t2.png", "img_3_t10.png"]
    assert examples.size.tolist() == [[4, 5]] * 3
    assert examples.misnamed == 0


def test_other_names_and_broken_files_are_counted(tmp_path):
    whole = save(tmp_path, 1, 0)
    save(tmp_path, 1, 1).rename(tmp_path / "target_1" / "img_1_t2.png")
    save(tmp_path, 2, 1).rename(tmp_path / "figure.png")
    data = whole.read_bytes()
    (tmp_path / "target_1" / "img_2_t1.png").write_bytes(data[:-20])
    (tmp_path / "target_1" / "img_3_t1.png").write_bytes(data[:60] + b"\0" + data[61:])
    (tmp_path / "target_1" / "img_4_t1.png").write_bytes(b"")
    Image.open(whole).save(tmp_path / "target_1" / "img_5_t1.png", format="JPEG")
    examples = found(tmp_path)
    assert examples.misnamed == 2
    assert examples.image_id.tolist() == [0, 2, 3, 4, 5]
    assert examples.size.tolist() == [[4, 5], [0, 0], [0, 0], [0, 0], [0, 0]]


def test_fingerprint_is_of_contents_not_of_places(tmp_path):
    for folder in ("a", "b/Test"):
        save(tmp_path / folder, 1, 0)
        save(tmp_path / folder, 1, 7)
    first = found(tmp_path / "a").fingerprint
    assert found(tmp_path / "b").fingerprint == first
    save(tmp_path / "a", 1, 7, np.zeros((4, 5, 3), np.uint8))
    assert found(tmp_path / "a").fingerprint != first
    (tmp_path / "b/Test/target_1/img_7_t1.png").rename(tmp_path / "b/Test/target_1/img_8_t1.png")
    assert found(tmp_path / "b").fingerprint != first


def test_what_is_no_folder_of_examples_is_named(tmp_path):
    with pytest.raises(ExamplesError, match=r"no folder .*gone"):
        found(tmp_path / "gone")
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(ExamplesError, match=r"has no file target_<t>/.*\(1 PNG files of other names\)"):
        found(tmp_path)
    save(tmp_path / "Train", 1, 0)
    save(tmp_path / "Test", 1, 0)
    with pytest.raises(ExamplesError, match=r"Test.*and .*Train.* are of one image and target"):
        found(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pixels_come_back(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    files = [save(tmp_path, 1, i, image, mode) for i, image in enumerate(pixels)]
    np.testing.assert_array_equal(read_pixels(files), pixels)


def test_grey_images_have_three_equal_channels(tmp_path):
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    read = read_pixels([save(tmp_path, 1, 0, grey, "L")])
    np.testing.assert_array_equal(read[0], np.stack([grey] * 3, axis=-1))


def test_pixels_that_would_be_guessed_are_refused(tmp_path):
    glass = np.full((4, 5, 4), 128, np.uint8)
    deep = np.full((4, 5), 40_000, np.uint16)
    for i, pixels in enumerate((glass, deep)):
        file = tmp_path / f"{i}.png"
        Image.fromarray(pixels).save(file)
        with pytest.raises(ExamplesError, match=rf"{i}.png is transparent or has 16 bits"):
            read_pixels([file])
    (tmp_path / "x.png").write_bytes(b"PNG")
    with pytest.raises(ExamplesError, match=r"x.png cannot be decoded"):
        read_pixels([tmp_path / "x.png"])


def test_judgement_is_the_network_s():
    rng = np.random.default_rng(1)
    pixels, originals = rng.random((2, 6, 12), np.float32)
    logits = rng.normal(size=(6, 4)).astype(np.float32)
    targets = np.array([0, 1, 2, 3, 0, 1])
    logits[:3, :3] += 9 * np.eye(3, dtype=np.float32)
    judged = judge(pixels, originals, logits, targets)
    assert {result.status for result in judged} == {"success", "failed"}
    for i, (target, result) in enumerate(zip(targets, judged, strict=True)):
        change = pixels[i].astype(float) - originals[i].astype(float)
        reached = logits[i].argmax() == target
        assert result.status == ("success" if reached else "failed")
        assert result.reason == (None if reached else "the network does not take it for the target")
        assert result.l1 == pytest.approx(np.linalg.norm(change, 1))
        assert result.l2 == pytest.approx(np.linalg.norm(change))
        assert result.linf == pytest.approx(np.linalg.norm(change, np.inf))
        powers = np.exp(logits[i].astype(float))
        assert result.target_probability == pytest.approx(powers[target] / powers.sum())
        second = max((c for c in range(4) if c != target), key=lambda c: logits[i][c])
        assert result.second_class == second
        assert result.second_probability == pytest.approx(powers[second] / powers.sum())
        assert (result.c, result.iterations, result.gradient_calls, result.forward_calls) == (None,) * 4


def test_parameters_do_not_say_where_the_files_stand():
    assert Imported("a").as_row() == Imported("b").as_row()
    assert Imported("a").as_row()["algorithm"] == "imported"
