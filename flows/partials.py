"""Partial results: rows that add up over partitions, kept in the lake so that a new shard costs that shard.

A unit is the maps of one method and subject in one shard (or in all of them), towards all targets. Its file
in `partials/` says in its footer, target by target, what its rows were made from; rows of other targets are
kept when a unit is made anew.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from flows.errors import UserError
from flows.lake import Lake
from flows.paired_maps import ORIGINAL, MapLists, Series
from sql import package
from sql.catalog import LakeDatabase, Scope
from sql.package import Partial
from sql.tables import NULL_PARTITION, SHARD

MAPS_FILE = re.compile(
    r"relevance/dataset=([^/]+)/model=([^/]+)/method=([^/]+)/subject=([^/]+)/explains=([^/]+)/target=([^/]+)"
    r"/ids-(\d+)-\d+-rows-\d+\.parquet"
)

NUMERICS = 1
"""Raised where rows change though the SQL that defines them does not; kept rows are then made anew."""

Sources = Mapping[str, str]
"""Target, as in the folder's name, -> digest of all that a unit's rows of this target are made from."""

ALL_TARGETS = ""
"""What the one source of a unit of a whole series is called."""


@dataclass(frozen=True)
class Unit:
    """What one file of a partial result is of, and what it is to be made from.

    shard: None for every shard. last_image: the scope's, where it cuts through the shard. found: what the
    file in place was made from. reads: files of other partial results that it is computed from. others:
    subjects whose maps its own may be held against, originals aside. attacks: the scope's, which say what
    stands next to what on the way of an attack.
    """

    partial: str
    series: Series
    shard: int | None
    last_image: int | None
    sources: Sources
    found: Sources
    reads: tuple[tuple[str, tuple[str, ...]], ...] = ()
    others: tuple[str, ...] = ()
    attacks: tuple[str, ...] | None = None

    @property
    def path(self) -> str:
        """Where its file stands in the lake."""
        return _path(self.partial, self.series, self.shard, self.last_image)

    @property
    def outdated(self) -> list[str]:
        """Targets whose rows are missing or were made from something else."""
        return [target for target, digest in self.sources.items() if self.found.get(target) != digest]

    @property
    def is_current(self) -> bool:
        return self.sources == self.found

    def write(self, lake: Lake, rows: pa.Table) -> None:
        """Write the file: these rows of the outdated targets, and those it has of the others."""
        outdated = self.outdated
        kept = [int(target) for target in self.sources if target not in (*outdated, NULL_PARTITION)]
        if kept:
            old = lake.read(self.path)
            is_kept = pc.is_in(old["target"], pa.array(kept, pa.int32()))  # pyright: ignore
            rows = pa.concat_tables([old.filter(is_kept), rows.cast(old.schema)])
        lake.write_rows(self.path, rows, dict(self.sources))


def make_of_shard(
    units: Sequence[Unit], lake: Lake, lists: MapLists, schemas: Mapping[str, pa.Schema]
) -> None:
    """Compute the outdated rows of units of one series in one shard, and write their files."""
    from compute.cells import RelevanceOutOfRange  # only where something is counted: Numba takes a while
    from flows.partial_rows import rows_of_shard

    series, shard = units[0].series, units[0].shard
    assert shard is not None
    wanted = {unit.partial: [_target(folder) for folder in unit.outdated] for unit in units}
    try:
        rows = rows_of_shard(lake, lists, series, shard, wanted, schemas)
    except RelevanceOutOfRange as error:
        raise UserError(
            f"{lake.url}: maps of {' '.join(series[2:])}, shard {shard}: {error}; "
            "`relevance-lake check` names these maps, delete their files and run the study again"
        ) from None
    for unit in units:
        unit.write(lake, rows[unit.partial])


def make_of_series(unit: Unit, lake: Lake, database: LakeDatabase) -> None:
    """Compute the rows of a unit of a whole series, and write its file; narrows `database`."""
    from flows.partial_rows import wanted_values

    database.narrow(scope_of_units([unit]))
    for partial, files in unit.reads:
        database.keep(partial, files)
    database.hold("wanted_values", wanted_values(lake, database, unit.series))
    unit.write(lake, database.arrow(f"select * from {unit.partial}"))


def scope_of_units(units: Sequence[Unit]) -> Scope:
    """A part of the lake that holds all that the outdated rows of these units are computed from."""
    datasets, models, methods, subjects, explains = (
        tuple(sorted(set(names))) for names in zip(*(unit.series for unit in units), strict=True)
    )
    compares = any(package.partials()[unit.partial].compares for unit in units)
    # an example is held against that of the next target, which is to be seen
    everything = any(package.partials()[unit.partial].compares_everything for unit in units)
    targets = {_target(folder) for unit in units for folder in unit.outdated if folder != ALL_TARGETS}
    targets = set() if everything else targets
    attacks = {unit.attacks for unit in units}
    shards = {unit.shard for unit in units}
    subjects = tuple(sorted({*subjects, *(other for unit in units for other in unit.others)}))
    return Scope(
        dataset=datasets[0] if len(datasets) == 1 else None,
        model=models[0] if len(models) == 1 else None,
        attacks=next(iter(attacks)) if len(attacks) == 1 else None,
        methods=methods,
        subjects=(ORIGINAL, *subjects) if compares else subjects,
        explains=None if compares else explains,
        targets=tuple(sorted(target for target in targets if target is not None)) or None,
        # where a study ends amid a shard, the other shards end before
        last_image=max((unit.last_image for unit in units if unit.last_image is not None), default=None),
        shard=units[0].shard if len(shards) == 1 else None,
    )


def _target(folder: str) -> int | None:
    return None if folder == NULL_PARTITION else int(folder)


class Partials:
    """The units that a scope of a lake wants, as its listing and footers tell."""

    def __init__(self, scope: Scope, lake: Lake) -> None:
        self._scope, self._lake = scope, lake
        maps: dict[Series, dict[int, dict[str, list[str]]]] = {}
        for path in lake.paths("relevance"):
            match = MAPS_FILE.fullmatch(path)
            if match and self._is_in_scope(series := match.group(1, 2, 3, 4, 5), int(match[7])):  # type: ignore[assignment]
                shards = maps.setdefault(series, {})  # type: ignore[arg-type]
                shards.setdefault(int(match[7]) // SHARD, {}).setdefault(match[6], []).append(path)
        self._maps = maps
        read = [file for shards in maps.values() for targets in shards.values() for file in targets.values()]
        lake.read_footers(path for paths in read for path in paths)
        of_dataset = f"/dataset={scope.dataset}" if scope.dataset else ""
        lake.read_footers([*lake.paths(f"adversarials{of_dataset}"), *lake.paths("partials")])

    def of_shards(self) -> list[Unit]:
        """Units of one shard each; those of the same maps stand together."""
        partials = [partial for partial in package.partials().values() if partial.is_of_shard]
        return [
            self._unit(partial.name, series, shard, self._sources(partial, series, shard))
            for series, shards in sorted(self._maps.items())
            for shard in sorted(shards)
            for partial in partials
            if self._wants(partial, series)
        ]

    def of_series(self) -> list[Unit]:
        """Units of all shards of a series; they are computed from those of its shards."""
        units = []
        of_shards = self.of_shards()
        for partial in package.partials().values():
            for series, shards in () if partial.is_of_shard else sorted(self._maps.items()):
                everything = [
                    sorted(self._sources(partial, series, shard).items()) for shard in sorted(shards)
                ]
                reads = _files(unit for unit in of_shards if unit.series == series)
                sources = {ALL_TARGETS: _digest(repr(everything))}
                units.append(self._unit(partial.name, series, None, sources, tuple(reads.items())))
        return units

    def keep(self, database: LakeDatabase) -> None:
        """Let `database` read partial results whose files are all current instead of computing them."""
        units = [*self.of_shards(), *self.of_series()]
        outdated = {unit.partial for unit in units if not unit.is_current}
        files = _files(units)
        for partial in package.partials().keys() - outdated:
            database.keep(partial, files.get(partial, ()))

    def _unit(
        self,
        partial: str,
        series: Series,
        shard: int | None,
        sources: Sources,
        reads: tuple[tuple[str, tuple[str, ...]], ...] = (),
    ) -> Unit:
        cut = self._cut(shard)
        path = _path(partial, series, shard, cut)
        found = self._lake.made_from(path) if self._lake.exists(path) else {}
        others = self._others(series) if package.partials()[partial].compares_everything else ()
        return Unit(partial, series, shard, cut, sources, found, reads, others, self._scope.attacks)

    def _wants(self, partial: Partial, series: Series) -> bool:
        *_, subject, explains = series
        if partial.compares_all:
            return (subject, explains) != (ORIGINAL, "label") and self._is_held(series)
        of_paper = subject != ORIGINAL and not self._control(subject) and explains == "target"
        return of_paper or not partial.compares

    def _is_held(self, series: Series) -> bool:
        """Whether its maps are held against more than an original's, as sql/views/held_series.sql has it."""
        *of, subject, _ = series
        if subject not in self._attacks or self._control(subject):
            return True
        is_controlled = any(row["control_of"] == subject for row in self._controls.values())
        return is_controlled or (*of, subject, "label") in self._maps

    @cached_property
    def _attacks(self) -> dict[str, dict[str, str]]:
        """Rows in scope of the table `attacks`, by id."""
        rows = [
            self._lake.read(f"attacks/{name}", ["attack", "algorithm", "control_of"]).to_pylist()[0]
            for name in self._lake.names("attacks")
        ]
        allowed = self._scope.attacks
        return {row["attack"]: row for row in rows if allowed is None or row["attack"] in allowed}

    @cached_property
    def _controls(self) -> dict[str, dict[str, str]]:
        """Rows of the controls in scope, by id."""
        return {name: row for name, row in self._attacks.items() if row["control_of"] is not None}

    def _control(self, subject: str) -> str:
        """What kind of control a subject is; nothing where it is none."""
        return self._controls.get(subject, {}).get("algorithm", "")

    def _attack(self, subject: str) -> str:
        """The attack that a subject is of."""
        return self._controls.get(subject, {}).get("control_of", subject)

    def _is_held_against(self, subject: str, target: str, other: str, other_target: str) -> bool:
        """Whether maps of a subject towards a target may be held against those of another, originals' aside.

        As sql/views/map_references.sql has it, or somewhat wider.
        """
        kind = self._control(subject)
        if subject == ORIGINAL or (kind and kind not in ("path", "round", "floor")):
            return False
        if other == ORIGINAL:
            return other_target == target and not kind
        if self._control(other) not in ("", "path") or self._attack(other) != self._attack(subject):
            return False
        return other_target == target or other == subject

    def _cut(self, shard: int | None) -> int | None:
        last = self._scope.last_image
        return last if shard is None or last is None or last < shard * SHARD + SHARD - 1 else None

    def _is_in_scope(self, series: tuple[str, ...], first_image: int) -> bool:
        scope, (dataset, model, method, subject, _) = self._scope, series
        return (
            scope.dataset in (None, dataset)
            and scope.model in (None, model)
            and (scope.methods is None or method in scope.methods)
            and (scope.whose_maps is None or subject in scope.whose_maps)
            and (scope.last_image is None or first_image <= scope.last_image)
        )

    def _sources(self, partial: Partial, series: Series, shard: int) -> Sources:
        dataset, model, method, subject, _ = series
        common = [_definition(partial.name), str(self._cut(shard))]
        if partial.compares:
            originals = self._maps.get((dataset, model, method, ORIGINAL, "label"), {}).get(shard, {})
            common += [self._fingerprint(path) for paths in originals.values() for path in paths]
        sources = {}
        for target, paths in sorted(self._maps[series][shard].items()):
            made_from = common + [self._fingerprint(path) for path in paths]
            if partial.compares:
                made_from += self._examples(dataset, model, subject, target, shard)
            if partial.compares_everything:
                made_from += self._references(series, target, shard)
            sources[target] = _digest("\n".join(made_from))
        return sources

    def _examples(self, dataset: str, model: str, subject: str, target: str, shard: int) -> list[str]:
        """Fingerprints of the adversarial examples of a subject towards a target."""
        folder = f"adversarials/dataset={dataset}/model={model}/attack={subject}/target={target}"
        of_shard = f"ids-{shard * SHARD}-"
        names = [name for name in self._lake.names(folder) if name.startswith(of_shard)]
        return [self._fingerprint(f"{folder}/{name}") for name in names]

    def _others(self, series: Series) -> tuple[str, ...]:
        """Subjects that maps of a series may be held against, originals aside."""
        known = {of[3] for of in self._maps} - {ORIGINAL}
        return tuple(sorted(other for other in known if self._is_held_against(series[3], "", other, "")))

    def _references(self, series: Series, target: str, shard: int) -> list[str]:
        """What decides which maps those of a series towards a target are held against, originals' aside.

        Fingerprints of these maps and of the examples that they are of; those of the examples of all targets,
        with maps or without, since they say which target is next; and the points of the way.
        """
        dataset, model, method, subject, _ = series
        found = [name for name, row in sorted(self._controls.items()) if self._is_on_the_way(subject, row)]
        for example_target in sorted(self._attacked.get((dataset, model, subject), ())):
            if not self._control(subject):
                found += self._examples(dataset, model, subject, example_target, shard)
        for (*of, other, _), shards in sorted(self._maps.items()):
            for other_target, paths in sorted(shards.get(shard, {}).items()):
                if of == [dataset, model, method] and self._is_held_against(
                    subject, target, other, other_target
                ):
                    found += [self._fingerprint(path) for path in paths]
                    found += self._examples(dataset, model, other, other_target, shard)
        return found

    def _is_on_the_way(self, subject: str, control: Mapping[str, str]) -> bool:
        return control["algorithm"] == "path" and control["control_of"] == self._attack(subject)

    @cached_property
    def _attacked(self) -> dict[tuple[str, ...], set[str]]:
        """Targets that there are examples of, by dataset, model and attack."""
        found: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for path in self._lake.paths("adversarials"):
            *of, target = (folder.partition("=")[2] for folder in path.split("/")[1:5])
            found[tuple(of)].add(target)
        return found

    def _fingerprint(self, path: str) -> str:
        return f"{path} {self._lake.fingerprint(path)}"


def keep_current(database: LakeDatabase, scope: Scope) -> None:
    """Let `database` read what `analyse` has left in its lake and is current, instead of computing it."""
    lake = Lake(database.url, database.storage)
    if lake.paths("partials"):
        Partials(scope, lake).keep(database)


def together(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """Outdated units, those of the same maps in one piece of work."""
    outdated = (unit for unit in units if not unit.is_current)
    for _, group in groupby(outdated, key=lambda unit: (unit.series, unit.shard)):
        yield list(group)


def _files(units: Iterable[Unit]) -> dict[str, tuple[str, ...]]:
    files = defaultdict(list)
    for unit in units:
        files[unit.partial].append(unit.path)
    return {partial: tuple(paths) for partial, paths in files.items()}


def _path(partial: str, series: Series, shard: int | None, last_image: int | None) -> str:
    ids = "ids-all" if shard is None else f"ids-{shard * SHARD}-{shard * SHARD + SHARD - 1}"
    cut = "" if last_image is None else f"-to-{last_image}"
    return "/".join(("partials", partial, *series, f"{ids}{cut}.parquet"))


@cache
def _definition(partial: str) -> str:
    return _digest(f"{NUMERICS} {package.partials()[partial].definition}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
