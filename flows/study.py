"""The study file: which dataset, model, attacks and methods, validated before any work."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)

from compute.attacks.controls import DARKENED, Control, Darkened, Noise, Rounded
from compute.attacks.controls import Path as Way
from compute.attacks.registry import ATTACKS, default_id, is_targeted
from compute.classifier import SHIPPED
from compute.datasets import source_fingerprint
from compute.methods import Method, parse_method
from flows.errors import UserError
from sql.tables import ID_PATTERN

BUILT_IN = ("demo", "paper", "paper-canonical", "paper-controls", "paper-attack", "published")

VARIABLE = re.compile(r"\$\{(\w+)(:-([^}]*))?\}")
"""An environment variable in a path of a study file; behind `:-` what stands for one that is not set."""


RANDOMISED = re.compile(r"randomised-[0-9]+")
"""Subjects of the sanity check: how many layers are re-initialised."""


def slug(text: str) -> str:
    """The text as an id: lower case, anything else than letters, digits and dots becomes a hyphen."""
    return re.sub(r"[^a-z0-9.]+", "-", Path(text).name.lower()).strip("-.") or "unnamed"


def _checked_id(value: str) -> str:
    if not ID_PATTERN.fullmatch(value):
        raise ValueError("must be made of a to z, 0 to 9, dot and hyphen, because it becomes part of a path")
    return value


def _checked_method(value: str) -> str:
    return parse_method(value).id


Id = Annotated[str, AfterValidator(_checked_id)]
MethodId = Annotated[str, AfterValidator(_checked_method)]


class Section(BaseModel):
    """A table of the study file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSection(Section):
    source: Literal["cifar10-samples", "cifar10", "folder"] = "cifar10-samples"
    path: str | None = None
    split: Literal["train", "test"] = "test"
    id: Id = ""
    _digest: str | None = PrivateAttr(None)

    @property
    def digest(self) -> str:
        """Of its files: read here, or where the study was sent from."""
        return self._digest or _source_digest(self.source, self.path, self.split)

    @model_validator(mode="before")
    @classmethod
    def _name(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("id"):
            source, split = values.get("source", "cifar10-samples"), values.get("split", "test")
            name = {"cifar10": f"cifar10-{split}", "folder": slug(str(values.get("path") or "folder"))}
            return {**values, "id": name.get(str(source), str(source))}
        return values

    @model_validator(mode="after")
    def _folder_has_path(self) -> DatasetSection:
        if self.source == "folder" and not self.path:
            raise ValueError(
                "source 'folder' needs a path: a folder with one subfolder of PNG files per class"
            )
        return self


@cache
def _source_digest(source: str, path: str | None, split: str) -> str:
    return source_fingerprint(source, path, split)


class ModelSection(Section):
    file: str = "shipped"
    weights: str | None = None
    id: Id = ""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("id"):
            file = str(values.get("file", "shipped"))
            return {**values, "id": SHIPPED if file == "shipped" else slug(Path(file).stem)}
        return values


class AttackSection(Section):
    """An attack; in the file its parameters stand beside its id."""

    id: Id
    algorithm: str
    parameters: Any
    """of one of the types in ATTACKS"""

    @property
    def delivers_floats(self) -> bool:
        """Whether its images may lie between 8-bit levels; imported ones are PNG files."""
        return getattr(self.parameters, "quantise", None) == "none"

    @model_validator(mode="before")
    @classmethod
    def _collect_parameters(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "parameters" in values:
            return values
        own = {key: values[key] for key in ("id", "algorithm") if key in values}
        given = {key: values[key] for key in values if key not in own}
        kind = _kind(values)
        _require_numbers(kind, given)
        own.setdefault("id", default_id(kind, given))
        return {**own, "parameters": given}


INTEGERS = 2**31
"""The lake keeps integer parameters as int32."""


def _require_numbers(kind: str, given: dict[str, Any]) -> None:
    """Text and booleans are no numbers, and integers have to fit the lake."""
    for field in fields(ATTACKS[kind]):
        if field.name not in given or str(field.type).partition(" ")[0] not in ("int", "float"):
            continue
        value = given[field.name]
        if isinstance(value, str | bool):
            raise ValueError(f"{field.name} must be a number, not {value!r}")
        if field.type == "int" and isinstance(value, int | float) and abs(value) >= INTEGERS:
            raise ValueError(f"{field.name} must be below {INTEGERS:,} (2^31), not {value:,}")


def _kind(values: Any) -> str:
    """Name in ATTACKS of the algorithm (and preset) that a section names."""
    if isinstance(values, AttackSection):
        preset, algorithm = getattr(values.parameters, "preset", None), values.algorithm
    elif isinstance(values, dict):
        nested = values.get("parameters")
        preset = (nested if isinstance(nested, dict) else values).get("preset")
        algorithm = values.get("algorithm", "lbfgs")
    else:
        return str(values)
    return f"{algorithm} {preset}" if preset else str(algorithm)


def _section(kind: str, parameters: type) -> Any:
    """The section of one kind of attack, as a part of the union that a study chooses from."""
    algorithm = kind.partition(" ")[0]
    fields: dict[str, Any] = {
        "algorithm": (Literal[algorithm], algorithm),  # type: ignore[valid-type]
        "parameters": (parameters, ...),
    }
    return Annotated[create_model(kind, __base__=AttackSection, **fields), Tag(kind)]


ALGORITHMS = tuple(dict.fromkeys(kind.partition(" ")[0] for kind in ATTACKS))
"""What a study file may name, in order."""

AnyAttack: Any = Annotated[
    Union[tuple(_section(kind, parameters) for kind, parameters in ATTACKS.items())],  # noqa: UP007
    Discriminator(
        _kind,
        custom_error_type="algorithm",
        custom_error_message=f"algorithm must be one of {', '.join(ALGORITHMS)}",
    ),
]


class ControlsSection(Section):
    """What the maps of an attack are held against; see compute/attacks/controls.py."""

    two_by_two: bool = False
    """whether original and adversarial example are explained for label and target both"""
    noise: bool = False
    reverse: bool = False
    path: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """parts of the way from the original to the adversarial example"""
    darkened: bool = False
    darkened_fraction: Annotated[float, Field(gt=0, le=1)] = DARKENED
    """share of the original's components that are an 8-bit level lower"""
    rounding: bool = False
    """whether adversarial examples that are delivered in floats are rounded and floored to 8-bit levels"""
    seed: Annotated[int, Field(ge=0, lt=INTEGERS)] = 0

    @property
    def any(self) -> bool:
        """Whether there is an image to make."""
        return self.noise or self.reverse or bool(self.path) or self.darkened or self.rounding

    def of(self, attack: AttackSection) -> list[AttackSection]:
        """The controls of an attack."""
        made: dict[str, Control] = {}
        if self.noise:
            made[f"noise-{attack.id}"] = Noise(attack.id, self.seed)
        if self.reverse:
            made[f"reverse-{attack.id}"] = Way(attack.id, -1.0)
        for fraction in sorted(self.path):
            made[f"path-{fraction:g}-{attack.id}"] = Way(attack.id, fraction)
        if self.darkened:
            made[f"darkened-{attack.id}"] = Darkened(attack.id, self.seed, self.darkened_fraction)
        if self.rounding and attack.delivers_floats:
            for how in ("round", "floor"):
                made[f"{how}-{attack.id}"] = Rounded(attack.id, how)
        return [
            AttackSection.model_construct(
                id=name, algorithm=control.as_row()["algorithm"], parameters=control
            )
            for name, control in made.items()
        ]


class SanitySection(Section):
    """Whether maps depend on what the network has learnt; see compute/randomisation.py."""

    cascading_randomisation: bool = False
    """whether originals are explained by networks re-initialised layer by layer from the output down"""
    seed: Annotated[int, Field(ge=0, lt=INTEGERS)] = 0


class Study(Section):
    """One study; see `relevance-lake init` for the file with comments."""

    name: Id
    title: str = ""
    limit: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    """None: what suits the device, compute/startup.py"""
    dataset: DatasetSection = DatasetSection.model_validate({})
    model: ModelSection = ModelSection.model_validate({})
    attacks: tuple[AnyAttack, ...] = Field(({},), validate_default=True)  # pyright: ignore[reportInvalidTypeForm]
    controls: ControlsSection = ControlsSection.model_validate({})
    sanity: SanitySection = SanitySection.model_validate({})
    methods: tuple[MethodId, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Study:
        for kind, ids in (("attack", [a.id for a in self.attacks]), ("method", list(self.methods))):
            twice = sorted({i for i in ids if ids.count(i) > 1})
            if not ids:
                raise ValueError(f"{kind}s are empty: name at least one")
            if twice:
                remedy = ": give each an `id` of its own" if kind == "attack" else ""
                raise ValueError(f"{kind} {', '.join(twice)} stands twice{remedy}")
        if any(a.id == "original" for a in self.attacks):
            raise ValueError("an attack cannot have the id 'original': that names the unattacked image")
        if taken := [a.id for a in self.attacks if RANDOMISED.fullmatch(a.id)]:
            raise ValueError(f"an attack cannot have the id {taken[0]!r}: that names a randomised network")
        if self.controls.any and not self.controlled:
            raise ValueError("controls need an attack that aims at a class: an untargeted one has none")
        if self.controls.rounding and not any(attack.delivers_floats for attack in self.controlled):
            raise ValueError(
                "controls.rounding needs an attack that aims at a class and delivers floats: "
                'give one `quantise = "none"`, or leave `rounding` out'
            )
        if taken := {a.id for a in self.attacks} & {c.id for c in self.control_subjects}:
            raise ValueError(f"an attack cannot have the id {min(taken)!r}: that names a control")
        return self

    def attack(self, attack_id: str) -> AttackSection:
        """An attack or a control."""
        return next(attack for attack in self.subjects if attack.id == attack_id)

    @property
    def controlled(self) -> tuple[AttackSection, ...]:
        """The attacks that have controls: those that aim at a class."""
        return tuple(attack for attack in self.attacks if is_targeted(attack.parameters))

    @property
    def control_subjects(self) -> tuple[AttackSection, ...]:
        return tuple(control for attack in self.controlled for control in self.controls.of(attack))

    @property
    def subjects(self) -> tuple[AttackSection, ...]:
        """What makes images of originals: attacks, then their controls."""
        return (*self.attacks, *self.control_subjects)

    def parsed_methods(self) -> tuple[Method, ...]:
        return tuple(parse_method(method) for method in self.methods)

    def computed_methods(self) -> tuple[Method, ...]:
        """The methods but those whose maps were computed elsewhere."""
        return tuple(method for method in self.parsed_methods() if not method.is_imported)


@dataclass(frozen=True)
class SentStudy:
    """A study for a process that may see neither its file nor the dataset that it was made from.

    text: TOML; paths in it start at `folder`, their environment variables are those of the process that
    reads it. digest: of the dataset's files, which are looked at where the study is sent from.
    """

    text: str
    where: str
    folder: str
    digest: str

    def __str__(self) -> str:
        return self.where


def sent(name: str) -> SentStudy:
    """A study to send: built-in, or from its file."""
    text, where, folder = _study_text(name)
    digest = parse_study(text, where, folder).dataset.digest
    return SentStudy(text, where, str(folder.resolve()), digest)


def load_study(study: str | SentStudy) -> Study:
    """A study: built-in, by name; from a TOML file; or sent. UserError says what is wrong with it."""
    if isinstance(study, str):
        return parse_study(*_study_text(study))
    loaded = parse_study(study.text, study.where, Path(study.folder))
    loaded.dataset._digest = study.digest
    return loaded


def _study_text(name: str) -> tuple[str, str, Path]:
    """Text of a study, where it stands, and the folder at which paths in it start."""
    if name in BUILT_IN:
        return built_in_text(name), f"built-in study {name}", Path()
    path = Path(name)
    if not path.is_file():
        raise UserError(
            f"no study {name!r}: give {', '.join(BUILT_IN)}, or a TOML file "
            "(`relevance-lake init` writes one)"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from None
    return text, str(path), path.parent


def built_in_text(name: str) -> str:
    """Text of a built-in study file."""
    return (resources.files("flows") / "studies" / f"{name}.toml").read_text(encoding="utf-8")


def parse_study(text: str, where: str, folder: Path) -> Study:
    """Validate the text of a study file; relative paths in it start at `folder`.

    A path may hold environment variables, as in `${PUBLISHED}/network.json`, or `${CIFAR10:-}` for one that
    may be missing; a path of nothing is none.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where} is not valid TOML: {error}") from None
    attacks = values.get("attacks")
    named = [(section, key, values.get(section)) for section, key in PATHS]
    named += [("attacks", "path", table) for table in (attacks if isinstance(attacks, list) else [])]
    for section, key, table in named:
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key] != "shipped":
            given = table.pop(key)
            path = _expanded(given, f"{where}: {section}.{key}")
            if path or not given:
                table[key] = str(folder / path)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise UserError("\n".join(_explain(where, dict(e)) for e in error.errors())) from None


PATHS = (("dataset", "path"), ("model", "file"), ("model", "weights"))


def _expanded(path: str, place: str) -> str:
    """The path with environment variables in place."""

    def value(match: re.Match[str]) -> str:
        if not os.environ.get(match[1]) and match[2]:
            return match[3]
        if match[1] not in os.environ:
            raise UserError(
                f"{place} is {path!r}, but {match[1]} is not set: `export {match[1]}=FOLDER` says where it is"
            )
        return os.environ[match[1]]

    return VARIABLE.sub(value, path)


def _explain(where: str, error: dict[str, Any]) -> str:
    """One validation error as a sentence with file, key and what is allowed."""
    place = [part for part in error["loc"] if part not in ("parameters", *ATTACKS)]
    key = ".".join(str(part) for part in place)
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = _allowed_keys(list(error["loc"])[:-1])
        close = difflib.get_close_matches(str(place[-1]), allowed, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{where}: unknown key {key!r}.{hint} Allowed here: {', '.join(allowed)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = "" if error["type"] == "missing" or error["input"] is None else f", not {error['input']!r}"
    if isinstance(error["input"], dict | list | tuple) or "not " in message:
        given = ""
    if error["type"] == "algorithm":
        algorithm, _, preset = _kind(error["input"]).partition(" ")
        if preset and algorithm in ALGORITHMS:
            message, algorithm = "preset must be foolbox-2.4, with algorithm lbfgs", f"{algorithm} {preset}"
        given = f", not {algorithm!r}"
    if error["type"] == "literal_error" and place[-1] == "algorithm":  # its name holds a preset
        message = "preset must be foolbox-2.4, with algorithm lbfgs"
    if place == ["attacks"] and isinstance(error["input"], dict):
        message = "each attack is headed by [[attacks]], in double brackets"
    return f"{where}: {key or 'study'}: {message}{given}"


def _allowed_keys(place: list[Any]) -> list[str]:
    names = [part for part in place if isinstance(part, str)]
    if not names:
        return list(Study.model_fields)
    if names[0] == "attacks":
        kind = next((name for name in names if name in ATTACKS), "lbfgs")
        return ["id", "algorithm", *(field.name for field in fields(ATTACKS[kind]))]
    section: Any = Study.model_fields[names[0]].annotation
    return list(section.model_fields)
