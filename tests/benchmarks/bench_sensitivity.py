"""What controls and inference cost: the bootstrap over images, and all measures of pairs.

The bootstrap: decision_sensitivity of the paper's pairs under an attack and its noise control, by seven
methods, 1,000 replicates, against NumPy with the same weights: images' sums by np.bincount, replicates by a
matrix product, percentiles. Intervals must agree to 1e-9. Bar: under 60 s on 2 cores.

The measures: each pair's overlap, shift, Spearman's rho of ranks and of magnitudes, rank-biased overlap, sign
agreement, structural similarity and Wasserstein distance, compiled, against NumPy and SciPy on the same maps.
Then decision_sensitivity, map_similarity and path_jump of a whole lake, with all partial results that they
need. Bar, for the paper's 604,000 maps on 2 cores: under 300 s.

Run from the repository root: python -m tests.benchmarks.bench_sensitivity [LAKE] [--images N]
Without LAKE one of N images is generated. The lake itself is left as it is.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from scipy.ndimage import correlate1d
from scipy.stats import rankdata

from compute import comparison, pair_measures, similarity
from compute.ranking import finish_maps, top_places
from sql.catalog import LakeDatabase, Scope, open_lake
from tests.benchmarks.lakes import analysed_alone, folder_beside, linked
from tests.benchmarks.measuring import peak_memory, verdict
from tests.lake_generator import Specification, generate

IMAGES, METHODS, SUCCESS_RATE = 8902, 7, 0.9661
BANDS = (("1 %", 1, 31), ("10 %", 2, 307))
ANALYSES = ("decision_sensitivity", "map_similarity", "path_jump")
BOOTSTRAP_BAR, MEASURES_BAR = 60.0, 300.0
PAPER_MAPS = 604_000
PAIRS = 256
SHAPE = (32, 32, 3)


def pairs_of(images: int) -> pl.DataFrame:
    """Rows of the view comparisons: pairs of the attack and of its noise control, of seven methods."""
    rng = np.random.default_rng(0)
    image, target = (axis.ravel() for axis in np.indices((images, 9), dtype=np.int32))
    kept = rng.random(image.size) < SUCCESS_RATE
    image, target = image[kept], target[kept]
    parts = []
    for band, place, k in BANDS:
        for method in range(METHODS):
            level = rng.beta(6, 3, images)[image]
            for comparison_name in ("adversarial", "noise"):
                drawn = np.clip(level + rng.normal(0, 0.1, image.size), 0, 1)
                parts.append(
                    pl.DataFrame({"image_id": image, "target": target, "overlap": np.rint(drawn * k) / k})
                    .with_columns(
                        pl.lit(f"m{method}").alias("method"),
                        pl.lit(comparison_name).alias("comparison"),
                        pl.lit(band).alias("band"),
                        pl.lit(place, pl.Int32).alias("place"),
                        pl.lit(k, pl.Int32).alias("k"),
                        pl.lit(k / 3072).alias("chance"),
                        pl.lit(comparison_name == "adversarial").alias("is_target"),
                    )
                )  # fmt: skip
    constants = {"dataset": "d", "model": "m", "attack": "a", "label": 0}
    return pl.concat(parts).with_columns(
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        pl.lit(None, pl.Float64).alias("fraction"),
        pl.lit(False).alias("is_tied"),
    )


def bench_bootstrap(images: int) -> bool:
    rows = pairs_of(images)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "images").mkdir()
        with open_lake(folder, memory_limit="1GB", reorder_joins=False) as lake:
            lake.hold("comparisons", rows.to_arrow())
            ids = pl.DataFrame({"image_id": pl.int_range(images, dtype=pl.Int32, eager=True)})
            place = ids.with_columns(pl.lit("d").alias("dataset"), pl.int_range(1, images + 1).alias("place"))
            lake.hold("bootstrap_images", place.to_arrow())
            started = time.perf_counter()
            found = lake.analyse("decision_sensitivity")
            ours = time.perf_counter() - started
            started = time.perf_counter()
            weights = drawn_weights(lake)
            drawing = time.perf_counter() - started
    started = time.perf_counter()
    expected = numpy_intervals(rows, weights)
    theirs = time.perf_counter() - started
    worst = max(
        abs(row[f"{name}_{end}"] - expected[row["method"], row["band"], row["comparison"], name][i])
        for row in found.iter_rows(named=True)
        for name in ("overlap", "difference")
        for i, end in enumerate(("low", "high"))
    )
    print(
        f"bootstrap: {len(rows) // 4 // METHODS:,} pairs x {METHODS} methods x 2 bands, 1,000 replicates "
        f"over {images:,} images: {ours:.1f} s {verdict(ours, BOOTSTRAP_BAR)}, {peak_memory():.2f} GB in "
        f"all\n"
        f"  NumPy, given the weights: {theirs:.1f} s; drawing them in SQL: {drawing:.1f} s; ours is "
        f"{ours / (theirs + drawing):.1f} times both; intervals differ by {worst:.1e} at most "
        f"{verdict(worst, 1e-9)}",
        flush=True,
    )
    return ours <= BOOTSTRAP_BAR and worst <= 1e-9


def drawn_weights(lake: LakeDatabase) -> np.ndarray:
    """The bootstrap's weights, float64 [replicates, images]."""
    rows = lake.arrow("select weights from bootstrap_weights order by replicate")["weights"]
    return rows.combine_chunks().flatten().to_numpy().reshape(len(rows), -1)


def numpy_intervals(rows: pl.DataFrame, weights: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    """Ends of the intervals of overlap and difference to noise, by method, band, comparison and name."""
    found, images = {}, weights.shape[1]
    for (method, band), part in rows.group_by("method", "band"):
        overlap = {
            name: part.filter(comparison=name)["overlap"].to_numpy() for name in ("adversarial", "noise")
        }
        image = part.filter(comparison="noise")["image_id"].to_numpy()  # pairs stand in the same order
        counts = weights @ np.bincount(image, minlength=images)
        for name, values in overlap.items():
            for what, of in (("overlap", values), ("difference", overlap["noise"] - values)):
                means = (weights @ np.bincount(image, of, images)) / counts
                found[method, band, name, what] = np.quantile(means, [0.025, 0.975])
    return found


def bench_measures() -> None:
    rng = np.random.default_rng(1)
    raw = rng.standard_t(2, (PAIRS, 3072)).astype(np.float32)
    originals = finish_maps(raw)
    adversarial = finish_maps(raw + rng.standard_t(2, raw.shape).astype(np.float32))
    start, of = np.ones(PAIRS, np.float32), np.arange(PAIRS)

    def ours() -> np.ndarray:
        x, y = adversarial, originals
        ranks = pair_measures.rank_similarity(x.rank, y.rank, of, start, start)
        sorted_x, sorted_y = (pair_measures.sorted_values(m.relevance, m.rank) for m in (x, y))
        sizes = [pair_measures.magnitude_ranks(s, m.rank) for s, m in ((sorted_x, x), (sorted_y, y))]
        return np.stack([
            ranks.shared_10, ranks.shift_10, ranks.spearman, ranks.rbo_10,
            comparison.pearson(sizes[1], sizes[0], of),
            comparison.sign_agreement(y.relevance, x.relevance, of),
            similarity.ssim(x.relevance.reshape(-1, *SHAPE), y.relevance.reshape(-1, *SHAPE)),
            pair_measures.wasserstein(sorted_x, sorted_y, of),
        ])  # fmt: skip

    def theirs() -> np.ndarray:
        return np.array([_numpy_measures(adversarial, originals, pair) for pair in range(PAIRS)]).T

    (fast, found), (slow, expected) = _timed(ours), _timed(theirs)
    worst = np.abs(found - expected).max()
    print(
        f"measures: {fast / PAIRS * 1e6:.0f} us a pair on one core, {slow / fast:.0f} times as fast as NumPy "
        f"and SciPy ({slow / PAIRS * 1e6:.0f} us); they differ by {worst:.1e} at most",
        flush=True,
    )


def _timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    work()
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _numpy_measures(maps, others, pair: int) -> tuple[float, ...]:
    a, b = maps.relevance[pair].astype(np.float64), others.relevance[pair].astype(np.float64)
    rank, other = maps.rank[pair].astype(np.int64), others.rank[pair].astype(np.int64)
    n, (_, k) = len(a), top_places(len(a))
    depth = np.arange(1, n + 1)
    p = 1 - 1 / k
    common = np.cumsum(np.bincount(np.maximum(rank, other), minlength=n))
    rbo = (1 - p) * (p ** (depth - 1.0) * common / depth).sum() + p**n
    sizes = rankdata(np.abs(a)), rankdata(np.abs(b))
    spearman = 1 - 6 * ((rank - other) ** 2).sum() / (n * (n**2 - 1))
    signs = (np.sign(a) == np.sign(b)).mean()
    return (
        float(((rank < k) & (other < k)).sum()), (rank - other)[other < k].mean(), spearman, rbo,
        np.corrcoef(*sizes)[0, 1], signs, _scipy_ssim(a.reshape(SHAPE), b.reshape(SHAPE)),
        np.abs(np.sort(a) - np.sort(b)).mean(),
    )  # fmt: skip


def _scipy_ssim(a: np.ndarray, b: np.ndarray) -> float:
    window = similarity.gaussian(min(SHAPE[:2]))
    reach = len(window) // 2

    def mean(values: np.ndarray) -> np.ndarray:
        along = correlate1d(correlate1d(values, window, axis=0), window, axis=1)
        return along[reach:-reach, reach:-reach]

    m, o = mean(a), mean(b)
    va, vb, both = mean(a * a) - m**2, mean(b * b) - o**2, mean(a * b) - m * o
    one, two = ((k * similarity.RANGE) ** 2 for k in (similarity.K1, similarity.K2))
    return ((2 * m * o + one) / (m**2 + o**2 + one) * (2 * both + two) / (va + vb + two)).mean()


def add_control(lake: Path) -> None:
    """Name a control of an attack, if there is none: else maps are not held against others."""
    rows = {path: pq.read_table(path) for path in sorted(lake.glob("attacks/*.parquet"))}
    known = {path: table.to_pylist()[0] for path, table in rows.items()}
    if all(row["control_of"] is None for row in known.values()):
        path, row = next(iter(known.items()))
        control = row | {
            "algorithm": "noise",
            "control_of": row["attack"],
            "attack": f"noise-{row['attack']}",
        }
        added = pa.Table.from_pylist([control], rows[path].schema)
        pq.write_table(added, path.with_name(f"{control['attack']}.parquet"))


def bench_lake(lake: Path) -> bool:
    maps = sum(1 for _ in lake.glob("relevance/**/ids-*.parquet"))
    dataset, model = next(lake.glob("relevance/dataset=*/model=*")).parts[-2:]
    scope = Scope(dataset.partition("=")[2], model.partition("=")[2])
    with folder_beside(lake) as folder:
        copy = linked(lake, folder / "lake")
        add_control(copy)
        started = time.perf_counter()
        similarity = analysed_alone(str(copy), scope, ANALYSES)[1]
        seconds = time.perf_counter() - started
    pairs = similarity.filter(measure="spearman")["pairs"].sum()
    is_full = pairs >= 0.89 * PAPER_MAPS
    judged = f" {verdict(seconds, MEASURES_BAR)}" if is_full else ""
    print(
        f"{', '.join(ANALYSES)} of {pairs:,} pairs of maps in {maps:,} files, all that they need included: "
        f"{seconds:.1f} s{judged}, {peak_memory():.2f} GB"
    )
    return not is_full or seconds <= MEASURES_BAR


def main(
    lake: Annotated[str | None, typer.Argument(help="A lake; default: one is generated.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of the generated lake.")] = 400,
) -> None:
    """Measure the bootstrap and the measures of pairs."""
    met = [bench_bootstrap(IMAGES)]
    bench_measures()
    if lake:
        met.append(bench_lake(Path(lake).resolve()))
    else:
        with tempfile.TemporaryDirectory(prefix="bench-sensitivity-") as folder:
            made = generate(f"{folder}/lake", Specification(images), jobs=os.cpu_count() or 1)
            print(made, flush=True)
            met.append(bench_lake(Path(made.lake)))
    raise typer.Exit(0 if all(met) else 1)


if __name__ == "__main__":
    typer.run(main)
