"""The stored results that a report is made from, and what else its caller tells it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import polars as pl

from sql.remote import BucketFault, named_faults
from sql.storage import Storage

COLUMNS = {
    "study_overview": "kind id detail rows",
    "attack_overview": (
        "attack algorithm targeted images pairs successes failed already_target success_rate second_is_label "
        "target_probability_q001 target_probability_q005 target_probability_q500 median_second_probability "
        "median_l2 median_linf "
        "mean_gradient_calls mean_forward_calls"
    ),
    "attack_failures": "attack reason pairs share median_target_probability",
    "attack_summary": (
        "attack targeted label target pairs successes success_rate median_target_probability median_l2"
    ),
    "relevance_quantiles": "method subject explains maps level value",
    "relevance_moments": (
        "method subject explains maps zero_maps non_finite_maps values mean std share_zero "
        "share_near_zero share_negative minimum maximum"
    ),
    "relevance_histogram": "method subject explains bin_low bin_high values share",
    "topk_overlap": (
        "method attack original_band adversarial_band original_k adversarial_k pairs overlap "
        "chance identical tied_pairs"
    ),
    "target_probability_quantiles": "attack successes level value",
    "change_quantiles": "attack successes norm level value",
    "low_probability_examples": "attack threshold_of threshold label target successes examples share",
    "runner_up_classes": (
        "attack successes second_is_label third_is_label mean_second_share median_second_share "
        "mean_third_share median_third_share"
    ),
    "relevance_near_zero": (
        "subject explains methods share_zero share_near_zero positive_near_zero negative_near_zero"
    ),
    "relevance_tails": "method subject explains sign values level value",
    "relevance_quantile_change": "method subject explains level value original_value change",
    "map_diagnostics": (
        "method subject explains maps non_finite_maps zero_maps negative_starts sum_share accounted_maps "
        "bias_share stabiliser_share empty_share largest_gap"
    ),
    "overlap_curve": "method attack pairs k overlap chance",
    "overlap_by_class": "method attack label target original_band adversarial_band pairs overlap chance",
    "map_correlation": "method attack measure pairs mean std level value",
    "rank_shift": (
        "method attack original_band adversarial_band bin_low bin_high low_share high_share components share"
    ),
    "rank_shift_quantiles": (
        "method attack original_band adversarial_band components level abs_shift abs_shift_share mean_shift "
        "share_unmoved"
    ),
    "decision_sensitivity": (
        "method attack band comparison fraction pairs images tied_pairs target_share chance overlap "
        "overlap_low overlap_high noise_pairs stability stability_low stability_high difference "
        "difference_low difference_high effect_size p_holm images_for_a_point score score_low score_high "
        "verdict"
    ),
    "path_jump": (
        "method attack band pairs images tied_pairs turn turn_low turn_high rest rest_low rest_high jump "
        "jump_low jump_high verdict"
    ),
    "map_similarity": (
        "method attack comparison fraction measure pairs images chance mean mean_low mean_high noise_pairs "
        "difference difference_low difference_high"
    ),
    "sanity_checks": (
        "method subject depth of_depth layer measure images tied_images chance mean mean_low mean_high kept "
        "verdict"
    ),
    "pair_gallery": (
        "attack place image_id label target original_pixels adversarial_pixels target_probability l2 "
        "linf height width channels"
    ),
    "map_gallery": (
        "attack place image_id label target method subject explained_class start status height width "
        "channels relevance"
    ),
}
"""Every analysis that the page shows, with the columns it reads."""


CURVE_POINTS = 64
"""Values of k at which the overlap curve is drawn, even on a logarithmic axis; fewer where they meet."""


class ReportError(ValueError):
    """A report cannot be written; the message names what is missing and the command that makes it."""


@dataclass(frozen=True)
class StudyFacts:
    """What the page says of a study beside its results.

    `class_names[i]` names class i (numbers are shown where it is empty); `settings` are shown as they
    are, `versions` maps a package to its version. `attacks` are shown in this order, others behind them.
    """

    name: str
    lake: str
    title: str = ""
    class_names: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    attacks: tuple[str, ...] = ()

    def class_name(self, index: int) -> str:
        """Name of a class, or its number."""
        return self.class_names[index] if 0 <= index < len(self.class_names) else str(index)

    def in_order(self, frame: pl.DataFrame, column: str = "attack") -> pl.DataFrame:
        """Rows of a result by attack, in the study's order; `column` holds the attacks."""
        place = {attack: i for i, attack in enumerate(self.attacks)}
        places = pl.Series([place.get(attack, len(place)) for attack in frame[column]], dtype=pl.Int64)
        return frame.with_columns(places.alias("_place")).sort("_place", maintain_order=True).drop("_place")


def load_results(lake_url: str, study_name: str) -> dict[str, pl.DataFrame]:
    """Read `<lake>/results/<analysis>/<study>.parquet` for every analysis of the page.

    Raises ReportError that names the first result which is missing, unreadable or lacks a column, and
    BucketFault where a bucket does not answer.
    """
    storage, results = Storage(str(lake_url)), {}
    names = {analysis: f"results/{analysis}/{study_name}.parquet" for analysis in COLUMNS}
    with ThreadPoolExecutor(16) as pool:  # each waits for a request where the lake is in a bucket
        frames = {analysis: pool.submit(_read, storage, name) for analysis, name in names.items()}
    for analysis, name in names.items():
        path = f"{str(lake_url).rstrip('/')}/{name}"
        try:
            frame = frames[analysis].result()
        except FileNotFoundError:
            raise ReportError(_remedy(f"no result of {analysis} at {path}", study_name, lake_url)) from None
        except BucketFault:
            raise
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0]
            raise ReportError(_remedy(f"cannot read {path} ({reason})", study_name, lake_url)) from error
        results[analysis] = frame
    return check_results(results, study_name, lake_url)


def _read(storage: Storage, path: str) -> pl.DataFrame:
    # not by Polars' own client of buckets, which looks for credentials elsewhere
    if storage.bucket is not None:
        with named_faults(storage.bucket.root), storage.bucket.open(path) as file:
            return pl.read_parquet(io.BytesIO(file.read()))
    return pl.read_parquet(os.path.join(storage.root, path), hive_partitioning=False, glob=False)


def check_results(
    results: Mapping[str, pl.DataFrame], study_name: str, lake_url: str
) -> dict[str, pl.DataFrame]:
    """The results that the page reads, with plain number types.

    Raises ReportError for an analysis or a column that is missing.
    """
    checked = {}
    for analysis, columns in COLUMNS.items():
        if analysis not in results:
            raise ReportError(_remedy(f"no result of {analysis}", study_name, lake_url))
        frame = results[analysis]
        if missing := [column for column in columns.split() if column not in frame.columns]:
            text = f"the result of {analysis} has no column {', '.join(missing)}"
            raise ReportError(_remedy(text, study_name, lake_url))
        checked[analysis] = _drawn(analysis, _plain_numbers(frame))
    return checked


def _drawn(analysis: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that the page draws, where it does not draw all: every k, and every band of a class pair."""
    if analysis == "overlap_curve" and not frame.is_empty():
        largest = int(frame["k"].cast(pl.Int64).max() or 1)  # pyright: ignore[reportArgumentType]
        steps = {round(largest ** (i / (CURVE_POINTS - 1))) for i in range(CURVE_POINTS)}
        return frame.filter(pl.col("k").is_in(sorted(steps)))
    if analysis == "overlap_by_class":
        return frame.filter((pl.col("original_band") == "10 %") & (pl.col("adversarial_band") == "10 %"))
    return frame


def _plain_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """DuckDB sums whole numbers as HUGEINT, which neither JSON nor Altair knows."""
    casts = {
        name: pl.Int64 if dtype.is_integer() else pl.Float64
        for name, dtype in frame.schema.items()
        if dtype.is_numeric() and dtype not in (pl.Int64, pl.Float64)
    }
    return frame.cast(casts)  # pyright: ignore[reportArgumentType]


def _remedy(problem: str, study_name: str, lake_url: str) -> str:
    return f"{problem}: run `relevance-lake analyse {study_name} --lake {lake_url}` first"
