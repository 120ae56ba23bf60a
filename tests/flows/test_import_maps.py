"""Maps computed elsewhere: the same as our own where they are, refused where they are not sound."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from flows import explain, networks
from flows.errors import UserError
from flows.lake import Lake
from flows.study import load_study
from sql.catalog import open_lake
from tests.flows.stored import maps_of

pytestmark = pytest.mark.prefect

METHODS = ("lrp-0", "gradient", "imported-tape", "imported-ixg")


@pytest.fixture(scope="module")
def study_of_maps(study_file, tmp_path_factory) -> Path:
    """The study of the finished lake, with other methods: two of our own, two computed elsewhere."""
    text = re.sub(r"methods = .*", f"methods = {json.dumps(METHODS)}", study_file.read_text())
    file = tmp_path_factory.mktemp("imports") / "maps.toml"
    file.write_text(text.replace('"small"', '"maps"'))
    return file


@pytest.fixture(scope="module")
def explained_lake(finished_lake, study_of_maps, tmp_path_factory) -> Path:
    """The finished lake with our own maps of that study."""
    lake = Path(shutil.copytree(finished_lake, tmp_path_factory.mktemp("explained") / "lake"))
    study = load_study(str(study_of_maps))
    for unit in explain.missing_units(study, Lake(str(lake))):
        explain.explain_unit(study, Lake(str(lake)), unit)
    return lake


@pytest.fixture
def lake(explained_lake, tmp_path) -> Path:
    return Path(shutil.copytree(explained_lake, tmp_path / "lake"))


def tape_gradients(images, classes):
    """A few independent lines: the gradient of the logit by the image, by TensorFlow's tape."""
    layers = networks.load("shipped").model.layers
    assert type(layers[-1]).__name__ == "Softmax"
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = x
        for layer in layers[:-1]:
            value = layer(value, training=False)
        chosen = tf.gather(value, classes, axis=1, batch_dims=1)
    return tape.gradient(chosen, x).numpy()


@pytest.fixture(scope="module")
def elsewhere(explained_lake):
    """What whoever computes maps elsewhere has, by subject: image ids, targets, images, gradients."""
    with open_lake(str(explained_lake)) as database:
        rows = database.arrow(
            "select image_id, target, label, pixels from adversarials order by target desc, image_id"
        )
        originals = database.arrow(
            "select image_id, label, pixels from images semi join adversarials using (image_id)"
        )
    made = {}
    for subject, table, scale in (("lbfgs", rows, 1), ("original", originals, 255)):
        images = np.array(table["pixels"].to_pylist(), np.float32).reshape(-1, 32, 32, 3) / np.float32(scale)
        classes = np.array(table["target" if subject == "lbfgs" else "label"].to_pylist())
        made[subject] = {
            "image_id": np.array(table["image_id"].to_pylist()),
            "target": classes if subject == "lbfgs" else None,
            "explained_class": classes,
            "images": images,
            "relevance": tape_gradients(images, classes),
        }
    return made


def write_parquet(folder, maps, kind="list", **others):
    flat = maps["relevance"].reshape(len(maps["image_id"]), -1)
    values = pa.array(flat.reshape(-1))
    if kind == "list":
        column = pa.ListArray.from_arrays(
            pa.array(np.arange(len(flat) + 1, dtype=np.int32) * flat.shape[1]), values
        )
    else:
        column = pa.FixedSizeListArray.from_arrays(values, flat.shape[1])
    columns = {"relevance": column, "image_id": maps["image_id"]}
    if maps["target"] is not None:
        columns["target"] = maps["target"]
    pq.write_table(pa.table(columns | others), folder / "maps.parquet", row_group_size=5)
    return ["maps.parquet"]


def write_npy(folder, maps, flat=False):
    relevance = maps["relevance"]
    np.save(folder / "maps.npy", relevance.reshape(len(relevance), -1) if flat else relevance)
    np.save(folder / "ids.npy", maps["image_id"])
    words = ["maps.npy", "--image-ids", "ids.npy"]
    if maps["target"] is not None:
        np.save(folder / "targets.npy", maps["target"])
        words += ["--targets", "targets.npy"]
    return words


def write_npz(folder, maps, names=("image_ids", "targets", "classes")):
    arrays = dict(zip(names, (maps["image_id"], maps["target"], maps["explained_class"]), strict=True))
    given = {name: values for name, values in arrays.items() if values is not None}
    np.savez(folder / "maps.npz", relevance=maps["relevance"].astype(np.float64), **given)
    return ["maps.npz"]


FORMATS = {
    "parquet, lists": write_parquet,
    "parquet, fixed-size lists": lambda folder, maps: write_parquet(folder, maps, "fixed"),
    "npy": write_npy,
    "npy, flat": lambda folder, maps: write_npy(folder, maps, flat=True),
    "npz": write_npz,
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_maps_as_our_own(typed, tmp_path, study_of_maps, lake, elsewhere, form):
    for subject, own in elsewhere.items():
        words = FORMATS[form](tmp_path, own)
        words += ["--study", study_of_maps, "--lake", lake, "--method", "imported-tape", "--subject", subject]
        code, out, err = typed("import-maps", *words, "--note", "TensorFlow's tape")
        assert code == 0, err
        assert f"{1 if subject == 'original' else 10} files written, 0 found current" in out
        assert "0 files written" in typed("import-maps", *words)[1]
    partitions = maps_of(lake)
    own = [path for path in partitions if "method=gradient/" in path]
    assert len(own) == 11
    for path in own:
        assert_alike(partitions[path], partitions[path.replace("method=gradient/", "method=imported-tape/")])
    with open_lake(str(lake)) as database:
        method = database.query("select * from methods where method = 'imported-tape'").to_dicts()[0]
        run = database.query("select * from runs where command = 'import-maps' order by started").to_dicts()
        checks = database.check()
    assert (method["family"], method["note"]) == ("imported", "TensorFlow's tape")
    assert [row["written"] for row in run] == [10, 0, 1, 0]
    assert checks["violations"].sum() == 0


def assert_alike(ours, theirs):
    """The same images and classes; values to float32's rounding, and so the components of highest rank."""
    for name in ("image_id", "label", "explained_class", "status"):
        assert ours[name].to_pylist() == theirs[name].to_pylist()
    for name in ("relevance", "start", "scale"):
        new, old = (np.array(table[name].to_pylist(), np.float64) for table in (theirs, ours))
        np.testing.assert_allclose(new, old, rtol=1e-3, atol=2e-4)
    for new, old in zip(theirs["rank"].to_pylist(), ours["rank"].to_pylist(), strict=True):
        shared = (np.array(new) < 307) & (np.array(old) < 307)
        assert shared.sum() >= 0.97 * 307
    assert theirs["absorbed_bias"].null_count == len(theirs)


def test_input_times_gradient_is_lrp_0(typed, tmp_path, study_of_maps, lake, elsewhere):
    for subject, own in elsewhere.items():
        maps = own | {"relevance": own["relevance"] * own["images"]}
        words = ["--study", study_of_maps, "--lake", lake, "--method", "imported-ixg", "--subject", subject]
        code, _, err = typed("import-maps", *write_npz(tmp_path, maps), *words)
        assert code == 0, err
    partitions = maps_of(lake)
    for path in (path for path in partitions if "method=lrp-0/" in path):
        assert_alike(partitions[path], partitions[path.replace("method=lrp-0/", "method=imported-ixg/")])


def test_a_study_waits_for_its_imports_and_then_shows_them(typed, tmp_path, study_of_maps, lake, elsewhere):
    from flows.pipeline import pipeline

    said = "imported-tape: maps are still to be imported, 2 of original, 18 of lbfgs"
    assert said in typed("status", study_of_maps, "--lake", lake)[1]
    assert said in typed("run", study_of_maps, "--lake", lake, "--dry-run")[1]
    with pytest.raises(UserError, match=f"{said}; imported-ixg: maps"):
        pipeline(study=str(study_of_maps), lake=str(lake))
    code, out, _ = typed("explain", study_of_maps, "--lake", lake)
    assert code == 0
    assert f"{said}: relevance-lake import-maps FILE --study {study_of_maps} --lake {lake}" in out
    for method in METHODS[2:]:
        for subject, maps in elsewhere.items():
            words = ["--study", study_of_maps, "--lake", lake, "--method", method, "--subject", subject]
            assert typed("import-maps", *write_npy(tmp_path, maps), *words)[0] == 0
    assert "still to be imported" not in typed("status", study_of_maps, "--lake", lake)[1]
    code, out, _ = typed("run", study_of_maps, "--lake", lake)
    assert code == 0
    assert "nothing to compute" in out
    with open_lake(str(lake)) as database:
        for name in ("topk_overlap", "rank_shift", "relevance_quantiles", "map_diagnostics", "map_gallery"):
            found = database.query(f"select distinct method from results.{name} where study = 'maps'")
            assert set(found["method"]) == set(METHODS), name
        same = database.query(
            "select overlap from results.topk_overlap where study = 'maps' and original_band = '10 %' "
            "and method in ('gradient', 'imported-tape')"
        )["overlap"].to_list()
    assert same[0] == pytest.approx(same[1], abs=0.01)
    page = (lake / "reports" / "maps.html").read_text()
    assert "imported-tape" in page


def test_a_file_of_some_targets(typed, tmp_path, study_of_maps, lake, elsewhere):
    """Whole targets can come one by one, in any order, with a NaN map among them and starts of their own."""
    own = elsewhere["lbfgs"]
    some = np.flatnonzero(np.isin(own["target"], (3, 9)))[::-1]
    maps = {name: values[some] for name, values in own.items()}
    maps["relevance"] = maps["relevance"].copy()
    maps["relevance"][0, 5, 5, 1] = np.nan
    starts = np.arange(len(some), dtype=np.float64)
    words = write_parquet(tmp_path, maps, explained_class=maps["target"], start=starts)
    words += ["--study", study_of_maps, "--lake", lake, "--method", "imported-tape", "--subject", "lbfgs"]
    code, out, err = typed("import-maps", *words)
    assert code == 0, err
    assert "2 files written" in out
    with open_lake(str(lake)) as database:
        rows = database.query(
            "select * from relevance where method = 'imported-tape' order by target, image_id"
        ).to_dicts()
        found = {row["check"]: row["violations"] for row in database.check().rows(named=True)}
    assert found.pop("relevance_has_original") == len(rows)  # those are still to come
    assert sum(found.values()) == 0
    assert len(rows) == len(some)
    by_pair = {(row["image_id"], row["target"]): row for row in rows}
    for n, pair in enumerate(zip(maps["image_id"].tolist(), maps["target"].tolist(), strict=True)):
        row = by_pair[pair]
        assert row["start"] == starts[n]
        assert row["status"] == ("non_finite" if n == 0 else "ok")
        assert (row["rank"] is None) == (n == 0)
    assert "9 of 11" not in typed("status", study_of_maps, "--lake", lake)[1]
    assert (
        "imported-tape: maps are still to be imported, 2 of original, 15 of lbfgs"
        in typed("status", study_of_maps, "--lake", lake)[1]
    )


def test_another_file_or_note_is_refused(typed, tmp_path, study_of_maps, lake, elsewhere):
    own, target = elsewhere["original"], ["--study", study_of_maps, "--lake", lake]
    target += ["--method", "imported-tape"]
    assert typed("import-maps", *write_npz(tmp_path, own), *target, "--note", "first")[0] == 0
    code, _, err = typed("import-maps", *write_npz(tmp_path, own), *target, "--note", "second")
    assert code == 2
    assert "imported-tape has the note 'first' already" in err
    other = own | {"relevance": -own["relevance"]}
    code, _, err = typed("import-maps", *write_npz(tmp_path, other), *target)
    assert code == 2
    assert re.search(r"ids-0-999-rows-2.parquet holds these maps from another file, maps.npz", err)


def test_failed_examples_have_no_maps(typed, tmp_path, study_of_maps, lake, elsewhere):
    file = next((lake / "adversarials").rglob("target=3/*.parquet"))
    table = pq.read_table(file)
    first, status = table["image_id"][0].as_py(), pa.array(["failed", *table["status"].to_pylist()[1:]])
    changed = table.set_column(table.column_names.index("status"), "status", status)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), file)
    target = ["--study", study_of_maps, "--lake", lake, "--method", "imported-tape", "--subject", "lbfgs"]
    code, _, err = typed("import-maps", *write_npz(tmp_path, elsewhere["lbfgs"]), *target)
    assert code == 2
    assert (
        f"1 map of an attack that did not succeed, so that there is no example to explain: image {first} "
        in err
    )


def changed(**columns):
    """A file of all maps of the adversarial examples, some columns changed."""

    def write(folder, maps):
        new = maps | {name: change(maps[name]) for name, change in columns.items()}
        return write_npz(folder, new, ("image_id", "target", "explained_class"))

    return write


def at(place, value):
    """The values with one of them replaced."""

    def change(values):
        values = values.copy()
        values[place] = value
        return values

    return change


def without_some(folder, maps):
    kept = maps["image_id"] != maps["image_id"][0]
    return write_npz(folder, {name: values[kept] for name, values in maps.items()})


def doubled(folder, maps):
    return write_npz(folder, {name: np.concatenate([values, values[:1]]) for name, values in maps.items()})


def only(**arrays):
    """A .npz file of these arrays alone."""

    def write(folder, maps):
        np.savez(folder / "maps.npz", **{name: make(maps) for name, make in arrays.items()})
        return ["maps.npz"]

    return write


def parquet_of(**columns):
    """A Parquet file of all maps with columns replaced."""

    def write(folder, maps):
        write_parquet(folder, maps)
        table = pq.read_table(folder / "maps.parquet")
        for name, make in columns.items():
            if name in table.column_names:
                table = table.drop_columns([name])
            table = table.append_column(name, make(maps))
        pq.write_table(table, folder / "maps.parquet")
        return ["maps.parquet"]

    return write


def text_as(name):
    def write(folder, maps):
        (folder / name).write_text("no maps here")
        return [name]

    return write


def npy_beside(ids):
    def write(folder, maps):
        np.save(folder / "maps.npy", maps["relevance"])
        np.save(folder / "ids.npy", ids(maps))
        return ["maps.npy", "--image-ids", "ids.npy"]

    return write


def npy_alone(folder, maps):
    np.save(folder / "maps.npy", maps["relevance"])
    return ["maps.npy"]


def nothing_there(folder, maps):
    return ["gone.parquet"]


def parquet_with_ids_beside(folder, maps):
    return [*write_parquet(folder, maps), *write_npy(folder, maps)[1:]]


def ragged(maps):
    return pa.array([[0.5] * (3072 - (n == 4)) for n in range(len(maps["image_id"]))], pa.list_(pa.float32()))


def with_null(maps):
    rows = maps["relevance"].reshape(len(maps["image_id"]), -1)[:, :3072].tolist()
    rows[2][7] = None
    return pa.array(rows, pa.list_(pa.float32()))


BAD = {
    "no file": (nothing_there, "there is no file gone.parquet"),
    "another format": (text_as("maps.csv"), r"maps.csv is no file of maps: give a .parquet, .npz or .npy"),
    "broken parquet": (text_as("maps.parquet"), "maps.parquet is not a readable Parquet file"),
    "broken npz": (text_as("maps.npz"), "maps.npz is not a readable .npz file"),
    "broken npy": (text_as("maps.npy"), "maps.npy is not a readable .npy file"),
    "npy without ids": (npy_alone, r"no image_id, .* give --image-ids FILE.npy"),
    "ids twice": (parquet_with_ids_beside, "maps.parquet holds its image_ids, targets itself"),
    "ids of another length": (
        npy_beside(lambda m: m["image_id"][1:]),
        r"image_id must be \[18\], .*not \[17\]",
    ),
    "ids that are no numbers": (
        npy_beside(lambda m: m["image_id"] / 2),
        "image_id must be whole numbers, not float64",
    ),
    "no relevance": (only(image_id=lambda m: m["image_id"]), "there is no relevance; it holds image_id"),
    "unknown name": (
        parquet_of(strat=lambda m: pa.array(m["target"])),
        "unknown strat; there may be image_id, target",
    ),
    "text for a list": (
        parquet_of(relevance=lambda m: pa.array(["x"] * 18)),
        "must be a list of floats in every row",
    ),
    "ragged": (parquet_of(relevance=ragged), "maps have from 3071 to 3072 values"),
    "nulls": (parquet_of(relevance=with_null), "relevance has 1 nulls"),
    "whole numbers": (
        only(relevance=lambda m: m["relevance"].astype(np.int32), image_id=lambda m: m["image_id"]),
        "must be of float16, float32 or float64, not int32",
    ),
    "another size": (
        changed(relevance=lambda r: r[:, :31]),
        r"must be \[n, 3072\] or \[n, 32, 32, 3\], not \[18, 31, 32, 3\]",
    ),
    "channels first": (
        changed(relevance=lambda r: np.moveaxis(r, -1, 1)),
        r"channels stand first: transpose with np.moveaxis",
    ),
    "no map": (
        lambda folder, m: write_npz(folder, {k: v[:0] for k, v in m.items()}),
        "there is no map in it",
    ),
    "a single number": (
        only(relevance=lambda m: m["relevance"][0, 0, 0, 0], image_id=lambda m: m["image_id"]),
        r"must be \[n, 3072\] or \[n, 32, 32, 3\], not \[\]",
    ),
    "unknown image": (
        changed(image_id=at(3, 20)),
        r"1 map of an image that is not in cifar10-samples, whose ids are 0 to 19: image 20 with",
    ),
    "image left out": (
        changed(image_id=at(3, 19)),
        r"1 map of an image that the study leaves out: .*: image 19 with",
    ),
    "twice": (
        doubled,
        r"2 maps of an image and target that another map has too: image \d+ with target 9, image",
    ),
    "no target": (
        only(relevance=lambda m: m["relevance"], image_id=lambda m: m["image_id"]),
        "maps of lbfgs need a target",
    ),
    "target that is no class": (changed(target=at(0, 10)), "1 map whose target is no class, 0 to 9: image"),
    "another class explained": (changed(explained_class=at(5, 0)), "1 map explained for another class than"),
    "some lacking": (
        without_some,
        r"lacks 8 of the 17 maps that the study wants of its targets: image 0 with",
    ),
    "start that is no number": (
        only(
            **{n: lambda m, n=n: m[n] for n in ("relevance", "image_id", "target")},
            start=lambda m: np.full(18, np.nan),
        ),
        "start must be finite floats",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_sound_is_one_message(typed, tmp_path, study_of_maps, explained_lake, elsewhere, bad):
    write, said = BAD[bad]
    before = sorted(maps_of(explained_lake))
    target = ["--study", study_of_maps, "--lake", explained_lake, "--method", "imported-tape"]
    code, _, err = typed("import-maps", *write(tmp_path, elsewhere["lbfgs"]), *target, "--subject", "lbfgs")
    assert code == 2
    assert re.search(said, " ".join(err.split()))
    assert "Traceback" not in err
    assert sorted(maps_of(explained_lake)) == before


@pytest.mark.parametrize(
    ("subject", "words", "said"),
    [
        (
            "original",
            ["--method", "gradient"],
            "--method gradient: maps that are imported belong to a method imported-NAME",
        ),
        (
            "original",
            ["--method", "imported-shap"],
            'study maps does not list imported-shap: add "imported-shap"',
        ),
        (
            "original",
            ["--method", "imported-tape", "--subject", "pgd"],
            "no subject 'pgd': there are original, lbfgs",
        ),
        ("lbfgs", ["--method", "imported-tape"], "maps of originals have no target"),
        (
            "original",
            ["--method", "imported-tape", "--lake", "none"],
            "none holds no predictions of cifar10-samples",
        ),
    ],
)
def test_what_does_not_fit_the_study(
    typed, tmp_path, study_of_maps, explained_lake, elsewhere, subject, words, said
):
    own = elsewhere[subject]
    target = ["--study", study_of_maps, *([] if "--lake" in words else ["--lake", explained_lake])]
    code, _, err = typed("import-maps", *write_npz(tmp_path, own), *target, *words)
    assert code == 2
    assert re.search(said, " ".join(err.split()))
