"""Who answers the questions of bench_sql: this product, NumPy and Polars, on the same files.

Each answer is a dictionary of plain numbers, so that the answers can be compared. All compare the pairs of
which both maps are ok, of one method and one attack.

As a program it gives one answer as JSON:
python -m tests.benchmarks.sql_contestants bands Polars LAKE lrp-0 lbfgs
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.lakes import BANDS as BANDS_ANALYSES
from tests.benchmarks.lakes import QUANTILES, analysed_alone
from tests.benchmarks.measuring import peak_memory

BANDS = ((0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Place of the band in original and adversarial map: 0 most relevant, 1 top 1 %, 2 top 10 %."""

LEVELS = (0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999)
"""Levels of the nine quantiles of Tables 3 and 4."""

SHIFT_LEVELS = (0.1, 0.25, 0.5, 0.7, 0.9, 0.99)

Answer = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked about: a lake's maps of one method, of originals and of one attack."""

    lake: str
    method: str
    attack: str

    def files(self, subject: str) -> list[Path]:
        """Partition files of a subject's maps, sorted."""
        pattern = f"relevance/*/*/method={self.method}/subject={subject}/*/*/[!.]*.parquet"
        return sorted(Path(self.lake).glob(pattern))

    def glob(self, subject: str) -> str:
        return f"{self.lake}/relevance/*/*/method={self.method}/subject={subject}/*/*/*.parquet"


def shards(question: Question) -> Iterator[tuple[list[Path], list[Path]]]:
    """Files of originals and of adversarial examples, shard by shard."""

    def by_shard(files: list[Path]) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for file in files:
            name = re.match(r"ids-\d+", file.name)
            found.setdefault(name.group() if name else "", []).append(file)
        return found

    originals, adversarials = (by_shard(question.files(s)) for s in ("original", question.attack))
    for shard, files in originals.items():
        yield files, adversarials.get(shard, [])


def column(table: Any, name: str) -> np.ndarray:
    """The rows of a fixed-size-list column that are not null, [rows, n]."""
    import pyarrow as pa

    combined = pa.concat_arrays(table[name].chunks)
    return combined.flatten().to_numpy(zero_copy_only=False).reshape(-1, combined.type.list_size)


def band_size(share: float, n: int) -> int:
    """Components in the top `share` of n."""
    return max(1, int(n * share + 0.5))


class ShiftCounts:
    """How often each rank shift occurs, by the narrowest band in either map; and how many pairs there are."""

    def __init__(self, n: int) -> None:
        self.sizes = (1, band_size(0.01, n), band_size(0.1, n))
        self.counts = np.zeros((3, 3, 2 * self.sizes[2] - 1), np.int64)
        self.pairs = 0

    def add(self, adversarial_ranks: np.ndarray) -> None:
        """[pairs, k]: ranks in adversarial maps of the components of original ranks 0 .. k - 1."""
        k_10 = self.sizes[2]
        rank = np.arange(k_10)
        ranks = adversarial_ranks.astype(np.int64)
        code = self._place(rank) * 3 + self._place(ranks)
        code = code * self.counts.shape[2] + (ranks - rank + k_10 - 1)
        counted = np.bincount(code[ranks < k_10], minlength=self.counts.size)
        self.counts += counted.reshape(self.counts.shape)
        self.pairs += len(ranks)

    def _place(self, ranks: np.ndarray) -> np.ndarray:
        return (ranks >= self.sizes[0]).astype(np.int64) + (ranks >= self.sizes[1])

    def answer(self) -> Answer:
        """Overlap, histogram, quantiles and mean of the shift in each band pair."""
        found: Answer = {"pairs": self.pairs, "identical": int(self.counts[0, 0].sum()) / self.pairs}
        for original, adversarial in BANDS:
            counts = self.counts[: original + 1, : adversarial + 1].sum(axis=(0, 1))
            shifts = np.arange(len(counts)) - (self.sizes[2] - 1)
            found[f"{original} in {adversarial}"] = {
                "overlap": int(counts.sum()) / (self.pairs * self.sizes[original]),
                "bins": _bins(shifts, counts, self.sizes[original], self.sizes[adversarial]),
                "quantiles": _quantiles_of_counts(shifts, counts),
                "mean": int((shifts * counts).sum()) / int(counts.sum()),
                "unmoved": int(counts[shifts == 0].sum()) / int(counts.sum()),
            }
        return found


def _bins(shifts: np.ndarray, counts: np.ndarray, original_k: int, adversarial_k: int) -> list[int]:
    """Components in bins of one odd width, the smallest of which 61 hold every shift."""
    width = 2 * int(np.ceil(((2 * max(original_k, adversarial_k) - 1) / 61 - 1) / 2)) + 1
    low, high = -((original_k - 1 + width // 2) // width), (adversarial_k - 1 + width // 2) // width
    place = (shifts + width // 2) // width
    return [int(counts[place == bin].sum()) for bin in range(low, high + 1)]


def _quantiles_of_counts(shifts: np.ndarray, counts: np.ndarray) -> list[float]:
    """Quantiles of |shift|, linear between order statistics."""
    distance = np.arange(shifts.max() + 1)
    up_to = np.cumsum(np.bincount(np.abs(shifts), counts, len(distance)).astype(np.int64))
    place = np.array(SHIFT_LEVELS) * (up_to[-1] - 1)
    lower, upper = (np.searchsorted(up_to, edge, "right") for edge in (np.floor(place), np.ceil(place)))
    return (lower + (upper - lower) * (place - np.floor(place))).tolist()


def ours_bands(question: Question) -> Answer:
    """Through the partial results that the analyses in SQL need, all of them computed anew."""
    overlap, shift, quantiles = _analysed(question, BANDS_ANALYSES)
    found: Answer = {"pairs": overlap["pairs"][0], "identical": overlap["identical"][0]}
    for (original, adversarial), row in zip(BANDS, overlap.iter_rows(named=True), strict=True):
        bands = {name: row[name] for name in ("original_band", "adversarial_band")}
        of_band = quantiles.filter(**bands).sort("level")
        found[f"{original} in {adversarial}"] = {
            "overlap": row["overlap"],
            "bins": shift.filter(**bands).sort("bin_low")["components"].to_list(),
            "quantiles": of_band["abs_shift"].to_list(),
            "mean": of_band["mean_shift"][0],
            "unmoved": of_band["share_unmoved"][0],
        }
    return found


def numpy_sorting_bands(question: Question) -> Answer:
    """NumPy on the maps alone: a stable argsort of each."""
    counts = None
    for originals, adversarials in shards(question):
        ids, values = _ok_rows(originals, "relevance")
        counts = counts or ShiftCounts(values.shape[1])
        top = np.argsort(-values, axis=1, kind="stable")[:, : counts.sizes[2]]
        for file in adversarials:
            of, values = _ok_rows([file], "relevance")
            order = np.argsort(-values, axis=1, kind="stable")
            ranks = np.empty(order.shape, np.int64)
            np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
            _add_pairs(counts, ids, top, of, ranks)
    assert counts
    return counts.answer()


def numpy_rank_bands(question: Question) -> Answer:
    """NumPy on the stored ranks, file by file."""
    counts = None
    for originals, adversarials in shards(question):
        ids, ranks = _ok_rows(originals, "rank")
        counts = counts or ShiftCounts(ranks.shape[1])
        rows, components = np.nonzero(ranks < counts.sizes[2])
        top = np.empty((len(ids), counts.sizes[2]), np.int64)
        top[rows, ranks[rows, components]] = components
        for file in adversarials:
            _add_pairs(counts, ids, top, *_ok_rows([file], "rank"))
    assert counts
    return counts.answer()


def _ok_rows(files: list[Path], vector: str) -> tuple[np.ndarray, np.ndarray]:
    """Image ids [m] and vectors [m, n] of the ok maps in some files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables(pq.ParquetFile(f).read(["image_id", "status", vector]) for f in files)
    ok = np.asarray(table["status"]) == "ok"
    values = column(table, vector)  # ranks are null where a map is not ok
    return np.asarray(table["image_id"])[ok], values if len(values) == ok.sum() else values[ok]


def _add_pairs(
    counts: ShiftCounts, ids: np.ndarray, top: np.ndarray, of: np.ndarray, ranks: np.ndarray
) -> None:
    """Count pairs; ids, top: originals' ids and top components; of, ranks: adversarial ids and ranks."""
    paired = np.isin(of, ids)
    rows = np.searchsorted(ids, of[paired])
    counts.add(np.take_along_axis(ranks if paired.all() else ranks[paired], top[rows], axis=1))


def polars_bands(question: Question) -> Answer:
    """Polars, lazily and streaming: adversarial ranks gathered at the originals' top components."""
    import polars as pl

    def maps(subject: str) -> pl.LazyFrame:
        ok = pl.scan_parquet(question.glob(subject), hive_partitioning=False).filter(pl.col("status") == "ok")
        return ok.select("image_id", pl.col("rank").arr.to_list())

    n = maps("original").select(pl.col("rank").list.len().first()).collect().item()
    counts = ShiftCounts(n)
    _, k_1, k_10 = counts.sizes
    top = pl.col("rank").list.eval(pl.element().arg_sort().head(k_10)).alias("top")
    pairs = maps(question.attack).join(maps("original").select("image_id", top), on="image_id")
    original, adversarial = pl.col("original"), pl.col("adversarial")
    found = (
        pairs.select(
            original=pl.lit(list(range(k_10)), pl.List(pl.Int32)),
            adversarial=pl.col("rank").list.gather(pl.col("top")).cast(pl.List(pl.Int32)),
        )
        .explode("original", "adversarial")
        .filter(adversarial < k_10)
        .group_by(
            (original >= 1).cast(pl.Int32).add(original >= k_1).alias("original_place"),
            (adversarial >= 1).cast(pl.Int32).add(adversarial >= k_1).alias("adversarial_place"),
            (adversarial - original + k_10 - 1).alias("shift"),
        )
        .len()
    )
    for *places, shift, components in found.collect(engine="streaming").iter_rows():
        counts.counts[(*places, shift)] = components
    ids = (maps(subject).select("image_id") for subject in (question.attack, "original"))
    counts.pairs = (
        next(ids).join(next(ids), on="image_id").select(pl.len()).collect(engine="streaming").item()
    )
    return counts.answer()


def ours_quantiles(question: Question) -> Answer:
    """Through the partial results that the analysis in SQL needs, all of them computed anew."""
    (frame,) = _analysed(question, QUANTILES)
    return {
        subject: frame.filter(subject=subject).sort("level")["value"].to_list()
        for subject in ("original", question.attack)
    }


def numpy_quantiles(question: Question) -> Answer:
    """NumPy: all values in one array, partitioned in place at the order statistics."""
    import pyarrow.parquet as pq

    found: Answer = {}
    for subject in ("original", question.attack):
        files = question.files(subject)
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        values, filled = np.empty(0, np.float32), 0
        for file in files:
            _, maps = _ok_rows([file], "relevance")
            if not filled:
                values = np.empty(rows * maps.shape[1], np.float32)
            values[filled : filled + maps.size] = maps.reshape(-1)
            filled += maps.size
        values = values[:filled]
        lower, upper, share = _places(filled)
        values.partition(np.unique([lower, upper]))
        low, high = values[lower].astype(np.float64), values[upper].astype(np.float64)
        found[subject] = (low + (high - low) * share).tolist()
    return found


def polars_quantiles(question: Question) -> Answer:
    """Polars: all values sorted, which takes less time and memory than its quantiles of float64 values.

    Its quantiles of float32 values are of float32 too, and so miss the tolerance.
    """
    import polars as pl

    found: Answer = {}
    for subject in ("original", question.attack):
        maps = pl.scan_parquet(question.glob(subject), hive_partitioning=False)
        exploded = maps.filter(pl.col("status") == "ok").select(pl.col("relevance").explode())
        values = exploded.collect(engine="streaming")["relevance"].sort()
        lower, upper, share = _places(len(values))
        low, high = (values.gather(at).cast(pl.Float64).to_numpy() for at in (lower, upper))
        found[subject] = (low + (high - low) * share).tolist()
    return found


def _places(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the order statistics on either side of each level: their places, and the way between them."""
    place = np.array(LEVELS) * (count - 1)
    lower, upper = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    return lower, upper, place - lower


def _analysed(question: Question, analyses: Sequence[str]) -> list[Any]:
    from sql.catalog import Scope

    folder = question.files("original")[0].relative_to(question.lake).parts
    dataset, model = (part.partition("=")[2] for part in folder[1:3])
    scope = Scope(dataset, model, (question.attack,), (question.method,))
    return analysed_alone(question.lake, scope, analyses)


CONTESTANTS = {
    "bands": {
        "ours": ours_bands,
        "NumPy sorting the maps": numpy_sorting_bands,
        "NumPy on the stored ranks": numpy_rank_bands,
        "Polars": polars_bands,
    },
    "quantiles": {"ours": ours_quantiles, "NumPy": numpy_quantiles, "Polars": polars_quantiles},
}
"""By question: who answers it."""


def main(what: str, who: str, *question: str) -> None:
    """Print the time, the memory and the answer of one; libraries are loaded before the clock starts."""
    if who == "ours":
        import flows.analyse  # noqa: F401
    if who in ("ours", "Polars"):
        import polars  # noqa: F401
    else:
        import pyarrow.parquet  # noqa: F401
    started = time.perf_counter()
    answer = CONTESTANTS[what][who](Question(*question))
    print(json.dumps({"seconds": time.perf_counter() - started, "memory": peak_memory(), "answer": answer}))


if __name__ == "__main__":
    main(*sys.argv[1:])
