"""The study file: defaults, and every mistake named with its place and what is allowed."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import sql.tables
from compute.attacks.foolbox24 import Foolbox24
from compute.attacks.foolbox_parameters import FGSM
from compute.attacks.imported import Imported
from compute.attacks.registry import ATTACKS
from flows.errors import UserError
from flows.study import BUILT_IN, Study, built_in_text, load_study, parse_study, slug

MINIMAL = 'name = "x"\nmethods = ["lrp-0"]\n'


def refused(text):
    with pytest.raises(UserError) as caught:
        parse_study(text, "s.toml", Path())
    return str(caught.value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_studies_are_valid(name, monkeypatch):
    monkeypatch.setenv("PUBLISHED", "/release")
    monkeypatch.setenv("CIFAR10", "/cifar10")
    study = load_study(name)
    assert study.name == name
    assert len(study.methods) == len(set(study.methods))


def test_defaults_are_the_documented_ones():
    demo, minimal = load_study("demo"), parse_study(MINIMAL, "s.toml", Path())
    assert minimal.attacks == (demo.attack("lbfgs"),)
    assert minimal.dataset == demo.dataset
    assert (minimal.dataset.id, minimal.model.id) == ("cifar10-samples", "cifar10-table2")


def test_ids_follow_the_inputs():
    text = (
        MINIMAL + '[dataset]\nsource = "folder"\npath = "My Images"\n[model]\nfile = "nets/Big_Net.keras"\n'
    )
    study = parse_study(text, "s.toml", Path("/studies"))
    assert (study.dataset.id, study.model.id) == ("my-images", "big-net")
    assert study.dataset.path == "/studies/My Images"
    assert study.model.file == "/studies/nets/Big_Net.keras"
    assert slug("///") == "unnamed"


def test_paths_may_hold_environment_variables(monkeypatch, tmp_path):
    text = (
        MINIMAL
        + '[dataset]\nsource = "cifar10"\npath = "${DATA}/cifar"\n[model]\nfile = "${NETS}/a.json"\n'
        + 'weights = "${NETS}/b.h5"\n[[attacks]]\nalgorithm = "imported"\npath = "of-${WHO}"\n'
    )
    monkeypatch.setenv("DATA", "/data")
    monkeypatch.setenv("NETS", "nets")
    monkeypatch.setenv("WHO", "them")
    study = parse_study(text, "s.toml", Path("/studies"))
    assert study.dataset.path == "/data/cifar"
    assert (study.model.file, study.model.weights) == ("/studies/nets/a.json", "/studies/nets/b.h5")
    assert study.attacks[0].parameters == Imported("/studies/of-them")
    assert (study.attacks[0].id, study.model.id) == ("imported", "a")
    monkeypatch.delenv("WHO")
    with pytest.raises(UserError, match=r"attacks.path is 'of-\$\{WHO\}', but WHO is not set: `export WHO="):
        parse_study(text, "s.toml", tmp_path)
    monkeypatch.delenv("DATA")
    with pytest.raises(UserError, match=r"s.toml: dataset.path .* DATA is not set"):
        parse_study(text, "s.toml", tmp_path)


def test_a_variable_may_have_a_default(monkeypatch):
    text = MINIMAL + '[dataset]\nsource = "cifar10"\npath = "${DATA:-}"\n[model]\nfile = "${NET:-a}.keras"\n'
    for given in (None, ""):
        monkeypatch.delenv("DATA", raising=False)
        if given is not None:
            monkeypatch.setenv("DATA", given)
        study = parse_study(text, "s.toml", Path("/studies"))
        assert study.dataset.path is None
        assert study.model.file == "/studies/a.keras"
    monkeypatch.setenv("DATA", "cifar")
    monkeypatch.setenv("NET", "/nets/b")
    study = parse_study(text, "s.toml", Path("/studies"))
    assert (study.dataset.path, study.model.file) == ("/studies/cifar", "/nets/b.keras")


def test_the_paper_s_study_takes_cifar10_from_a_folder_or_downloads_it(monkeypatch):
    for name in ("paper", "paper-canonical", "paper-controls", "paper-attack"):
        monkeypatch.delenv("CIFAR10", raising=False)
        assert load_study(name).dataset.path is None
        monkeypatch.setenv("CIFAR10", "/data/cifar10")
        assert load_study(name).dataset.path == "/data/cifar10"


def test_the_paper_s_attack_is_configured_as_the_authors_had_it():
    """Foolbox 2.4.0, mean absolute distance, threshold 1e-4, 1,000 iterations, on the softmax output."""
    (attack,) = load_study("paper-attack").attacks
    assert attack.parameters == Foolbox24(
        distance="mae", logits="softmax", quantise="floor", max_iterations=1000, threshold=1e-4
    )


def test_a_study_comes_back_from_its_record():
    text = MINIMAL + '[[attacks]]\nalgorithm = "imported"\npath = "x"\n[[attacks]]\nhistory = 2\n'
    study = parse_study(text, "s.toml", Path())
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_a_fixed_budget_is_part_of_the_id():
    text = MINIMAL + "".join(
        f"[[attacks]]\nalgorithm = '{name}'\n{keys}\n"
        for name, keys in (
            ("pgd-linf", "epsilon = 0.03"),
            ("pgd-linf", "epsilon = 0.1"),
            ("pgd-l2", "epsilon = 1"),
            ("fgsm", "epsilon = 0.03\nid = 'mine'"),
            ("ddn", ""),
        )
    )
    study = parse_study(text, "s.toml", Path())
    assert [a.id for a in study.attacks] == ["pgd-linf-0.03", "pgd-linf-0.1", "pgd-l2-1", "mine", "ddn"]
    assert study.attack("mine").parameters == FGSM(epsilon=0.03)
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_a_file_is_read_from_its_folder(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(MINIMAL + '[dataset]\nsource = "cifar10"\npath = "data"\n')
    assert load_study(str(file)).dataset.path == str(tmp_path / "data")
    assert load_study(str(file)).dataset.id == "cifar10-test"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + "metods = 1", "unknown key 'metods'. Did you mean 'methods'? Allowed here: name, title"),
        (MINIMAL + "[dataset]\nsplits = 1", "unknown key 'dataset.splits'. Did you mean 'split'?"),
        (MINIMAL + "[model]\npath = 'a'", "unknown key 'model.path'"),
        (
            MINIMAL + "[[attacks]]\nconfidnce = 1",
            "unknown key 'attacks.0.confidnce'. Did you mean 'confidence'?",
        ),
        (MINIMAL + "[[attacks]]\nconfidence = 1.5", "attacks.0: confidence must lie in [0, 1), not 1.5"),
        (
            MINIMAL + "[[attacks]]\ndistance = 'l7'",
            "attacks.0.distance: Input should be 'mse' or 'mae', not 'l7'",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'fgms'", "attacks.0: algorithm must be one of lbfgs, "),
        (MINIMAL + "[[attacks]]\nalgorithm = 'fgms'", "deepfool-l2, imported, not 'fgms'"),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'fgms'",
            "attacks.0: algorithm must be one of lbfgs, fgsm, bim-linf",
        ),
        (
            MINIMAL + "[[attacks]]\npreset = 'foolbox-9'",
            "attacks.0: preset must be foolbox-2.4, with algorithm lbfgs, not 'lbfgs foolbox-9'",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'ddn'\npreset = 'foolbox-2.4'",
            "preset must be foolbox-2.4, with algorithm lbfgs, not 'ddn foolbox-2.4'",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'lbfgs foolbox-2.4'",
            "attacks.0.algorithm: preset must be foolbox-2.4, with algorithm lbfgs, not 'lbfgs foolbox-2.4'",
        ),
        (
            MINIMAL + "[attacks]\nalgorithm = 'ddn'",
            "s.toml: attacks: each attack is headed by [[attacks]], in double brackets",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'fgsm'\nepsilon = '0.03'",
            "attacks.0: epsilon must be a number, not '0.03'",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'fgsm'\nepsilon = true",
            "attacks.0: epsilon must be a number, not True",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'ddn'\nseed = 5000000000",
            "attacks.0: seed must be below 2,147,483,648 (2^31), not 5,000,000,000",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'ddn'\nsteps = 2147483648", "steps must be below 2,147,483,648"),
        (MINIMAL + "[[attacks]]\nhistory = 2147483648", "history must be below 2,147,483,648"),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'boundary'\nstep_adaptation = inf",
            "step_adaptation must be above 1 and finite, not inf",
        ),
        (
            MINIMAL + "[[attacks]]\npreset = 'foolbox-2.4'\ntolerance = inf",
            "tolerance must be above 0 and finite, not inf",
        ),
        (
            MINIMAL + "[[attacks]]\npreset = 'foolbox-2.4'\nthreshold = inf",
            "threshold must be at least 0 and finite, not inf",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'fgsm'", "attacks.0.epsilon: Field required"),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'fgsm'\nepsilon = 8",
            "epsilon must be at most 1 (white), not 8.0",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'pgd-l2'\nepsilon = 0",
            "epsilon must be above 0 and finite, not 0.0",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'ddn'\nsteps = 0", "steps must be at least 1, not 0"),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'ddn'\nsteps = 1.5",
            "attacks.0.steps: Input should be a valid integer",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'ddn'\ngamma = 1", "gamma must be below 1, not 1.0"),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'ead'\nstep = 1",
            "unknown key 'attacks.0.step'. Did you mean 'steps'? Allowed here: id, algorithm, confidence",
        ),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'ead'\ndecision_rule = 'L2'",
            "should be 'EN' or 'L1', not 'L2'",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'deepfool-l2'\ncandidates = 1", "candidates must be at least 2"),
        (
            MINIMAL + 2 * "[[attacks]]\nalgorithm = 'fgsm'\nepsilon = 0.03\n",
            "attack fgsm-0.03 stands twice: give each an `id` of its own",
        ),
        (MINIMAL + "[[attacks]]\nalgorithm = 'imported'", "attacks.0.path: Field required"),
        (
            MINIMAL + "[[attacks]]\nalgorithm = 'imported'\npath = 'x'\nconfidence = 0.5",
            "unknown key 'attacks.0.confidence'. Allowed here: id, algorithm, path",
        ),
        (MINIMAL + "[[attacks]]\nid = 'original'", "an attack cannot have the id 'original'"),
        (MINIMAL + "[[attacks]]\n[[attacks]]", "attack lbfgs stands twice"),
        (MINIMAL + "[dataset]\nsource = 'folder'", "dataset: source 'folder' needs a path"),
        (MINIMAL + "[dataset]\nid = '../up'", "dataset.id: must be made of a to z"),
        (MINIMAL + "limit = 0", "limit: Input should be greater than or equal to 1, not 0"),
        ('name = "x"', "methods: Field required"),
        ('name = "x"\nmethods = []', "methods are empty: name at least one"),
        ('name = "x"\nmethods = ["lrp-0", "lrp-0"]', "method lrp-0 stands twice"),
        ('name = "x"\nmethods = ["lrp-zero"]', "methods.0: unknown method 'lrp-zero'"),
        ('name = "Big X"\nmethods = ["lrp-0"]', "name: must be made of a to z"),
        ("name = ", "is not valid TOML"),
    ],
)
def test_mistakes_are_named(text, said):
    message = refused(text)
    assert message.startswith("s.toml")
    assert said in message
    assert "\n" not in message


def test_unknown_study_names_the_remedy():
    with pytest.raises(UserError, match=rf"no study 'demmo': give {', '.join(BUILT_IN)}, or a TOML file"):
        load_study("demmo")


@pytest.mark.parametrize("kind", ATTACKS)
def test_the_demo_file_shows_every_attack_parameter(kind):
    text = built_in_text("demo")
    algorithm, _, preset = kind.partition(" ")
    assert re.search(rf'"{preset or algorithm}"', text) or re.search(rf"\b{algorithm}\b", text)
    for field in fields(ATTACKS[kind]):
        assert re.search(rf"\b{field.name}\b", text), field.name


@pytest.mark.parametrize("kind", ATTACKS)
def test_the_lake_has_a_column_for_every_attack_parameter(kind):
    given = {"path": "x", "epsilon": 0.5}
    named = {field.name for field in fields(ATTACKS[kind])}
    row = ATTACKS[kind](**{name: value for name, value in given.items() if name in named}).as_row()
    assert set(row) < {column.name for column in sql.tables.ATTACKS.columns}
    assert named - {"path"} <= set(row)
    assert row["algorithm"] == kind.partition(" ")[0]
