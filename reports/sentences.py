"""Sentences of the page, written from the results: no sentence stands here that data could contradict."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from reports.names import (
    CONVENTIONS,
    ORIGINAL,
    band_name,
    convention,
    count,
    decimal,
    full_name,
    percent,
    plural,
    rate,
)
from reports.published import PublishedFigures
from reports.results import StudyFacts

QUESTION = (
    "An adversarial example is nearly the same image with another decision. A map that explains the decision "
    "should therefore change when the decision is overturned. How much of what a method calls most relevant "
    "is still most relevant afterwards?"
)


def caveat(attacks: Sequence[str]) -> str:
    """Why the overlap alone is no verdict, of attacks without controls."""
    return (
        f"This is not yet a verdict on any method under {' and '.join(attacks)}: without controls it has not "
        "been measured how far a map moves when as much noise is added and the decision stays, and the "
        "comparison changes the image and the explained class at once. Low overlap says that a map moved, "
        "not that the decision moved it."
    )


def attack_sentence(row: dict) -> str:
    """What one attack did; `row` of attack_overview."""
    if not row["pairs"]:
        return f"The attack {row['attack']} was given no pair."
    if row["algorithm"] == "imported":
        examples = plural(row["pairs"], "example")
        images = plural(row["images"], "correctly classified image")
        return (
            f"The adversarial examples {row['attack']} were made elsewhere: {examples} of {images}, of "
            f"which the network takes {count(row['successes'])} for their target, with a median L2 change of "
            f"{decimal(row['median_l2'], 3)} and a median probability of the target of "
            f"{decimal(row['target_probability_q500'], 3)}. How many attempts failed is not known."
        )
    aim, one = (
        ("towards other classes", "pair")
        if row["targeted"] is not False
        else ("away from their class", "image")
    )
    text = (
        f"The attack {row['attack']} was run on {plural(row['images'], 'correctly classified image')}, "
        f"{aim}: {count(row['successes'])} of {plural(row['pairs'], one)} succeeded "
        f"({rate(row['success_rate'])})"
    )
    if row["already_target"]:
        text += f", {count(row['already_target'])} were of the target's class before"
    if row["median_l2"] is not None:
        text += (
            f", with a median L2 change of {decimal(row['median_l2'], 3)} and a median probability of "
            f"the {'class reached' if row['targeted'] is False else 'target'} "
            f"of {decimal(row['target_probability_q500'], 3)}"
        )
    return text + "."


def overlap_spans(attack: str, overlap: pl.DataFrame) -> str:
    """Between which methods the overlaps of the top 10 % and of the top 1 % lie; `overlap`: topk_overlap."""
    parts = []
    for band in ("10 %", "1 %"):
        rows = overlap.filter(
            (pl.col("attack") == attack)
            & (pl.col("original_band") == band)
            & (pl.col("adversarial_band") == band)
            & pl.col("overlap").is_not_null()
        ).sort("overlap")
        if rows.is_empty():
            continue
        low, high = rows.row(0, named=True), rows.row(-1, named=True)
        span = f"{percent(low['overlap'])} ({full_name(low['method'])})"
        if rows.height > 1:
            span = f"between {span} and {percent(high['overlap'])} ({full_name(high['method'])})"
        k, top = count(low["original_k"]), band_name(band)
        chance = f"by chance {percent(low['chance'])}"
        parts.append(
            f"of the {top} ({k}), {span}, {chance}"
            if parts
            else f"Of the {top} of an original's components ({k}), {span} are again in the {top} of the "
            f"adversarial example's map, {chance}"
        )
    return "; ".join(parts) + "." if parts else f"No pair of attack {attack} has two maps to compare."


def paper_classifier(published: PublishedFigures) -> str:
    """How often the paper's classifier is right, where that was printed."""
    correct, images, accuracy = map(published.classifier, ("correctly_classified", "images", "accuracy"))
    if correct is None or images is None or accuracy is None:
        return ""
    return (
        f" The paper's classifier took {count(correct)} of {count(images)} test images for their class "
        f"({percent(accuracy, 2)})."
    )


def scope(moments: pl.DataFrame) -> str:
    """How many maps enter, how many are left out."""
    ok, zero, bad = (int(moments[name].sum()) for name in ("maps", "zero_maps", "non_finite_maps"))
    methods = moments["method"].n_unique()
    text = f"{plural(ok, 'relevance map')} by {plural(methods, 'method')} enter the statistics. "
    if not zero + bad:
        return text + "No map was left out."
    return text + f"Left out: {plural(bad, 'map')} with a value that is not finite, {count(zero)} all zero."


def matrix(summary: pl.DataFrame, facts: StudyFacts) -> str:
    """Spread of the success rate over class pairs."""
    tried = summary.filter(pl.col("pairs") > 0).sort("success_rate", "label", "target")
    if tried.is_empty():
        return "No class pair was attacked."
    if not summary["targeted"].all():
        return _reached(tried, facts)
    whole = tried.filter(pl.col("success_rate") >= 1.0).height
    if whole == tried.height:
        return f"Every attacked pair succeeded, in {plural(whole, 'class pair')}."
    if not tried["successes"].sum():
        return f"No attacked pair succeeded, in {plural(tried.height, 'class pair')}."
    low, high = (
        f"{percent(row['success_rate'])} ({facts.class_name(row['label'])} to "
        f"{facts.class_name(row['target'])}, {count(row['successes'])} of {count(row['pairs'])})"
        for row in (tried.row(0, named=True), tried.row(-1, named=True))
    )
    class_pairs = plural(tried.height, "class pair")
    if whole:
        return f"In {count(whole)} of {class_pairs} all succeeded; the lowest rate is {low}."
    return f"The success rates of {class_pairs} lie between {low} and {high}."


def _reached(tried: pl.DataFrame, facts: StudyFacts) -> str:
    """Where an untargeted attack ends; `tried`: its rows of attack_summary, by rising rate."""
    text = "Shares are of the images of a label, which an untargeted attack may take to any class."
    most = tried.row(-1, named=True)
    if not most["successes"]:
        return f"{text} No image left its class."
    return (
        f"{text} The largest share goes from {facts.class_name(most['label'])} to "
        f"{facts.class_name(most['target'])} ({count(most['successes'])} of {count(most['pairs'])})."
    )


def failures(rows: pl.DataFrame) -> str:
    """How many pairs failed; `rows`: attack_failures of one attack."""
    return (
        f"{plural(int(rows['pairs'].sum()), 'pair')} failed ({rate(float(rows['share'].sum()))}). They "
        "are kept with their best attempt, and have no maps."
    )


def gallery(pairs: pl.DataFrame, factor: int) -> str:
    """The sample, what of it is shown at first, and the size of the changes."""
    sizes = sorted(255 * size for size in pairs["linf"].to_list())
    return (
        f"A sample of {plural(pairs.height, 'successful pair')}: one at most for each label and target, that "
        "of the smallest image number. Until a label or a target is picked, one pair of each label is shown. "
        f"The largest change of any component lies between {decimal(sizes[0], 1)} and "
        f"{decimal(sizes[-1], 1)} of 255 grey "
        f"levels. Differences are amplified {factor} times about mid-grey."
    )


def maps(gallery: pl.DataFrame) -> str:
    """Which pairs are shown, how their maps are drawn, and how many of these have no values."""
    pairs = gallery.filter(pl.col("subject") != ORIGINAL)["place"].n_unique()
    text = (
        f"The maps of {plural(pairs, 'sampled pair')}, at first of {'all' if pairs <= 5 else 'five'}: pick a "
        "label, a target or a method to see others. The three channels of a pixel are added and each map is "
        "scaled to its own largest absolute value: red speaks for the explained class, blue against it, "
        "white is zero. An original is explained for its label, an adversarial example for the attack's "
        "target (untargeted: for the class reached)."
    )
    bad, zero = (gallery.filter(pl.col("status") == status).height for status in ("non_finite", "zero"))
    if not bad + zero:
        return text
    return (
        f"{text} Even grey stands for the maps that cannot be drawn: {count(bad)} with a value that is not "
        f"finite, {count(zero)} all zero."
    )


def histograms(moments: pl.DataFrame) -> str:
    """Change of the standard deviation from originals to adversarial examples, and the share at zero."""
    wide = _original_beside_adversarial(moments, "std")
    if wide.is_empty():
        return "No method has maps of both originals and adversarial examples."
    narrower = wide.filter(pl.col("adversarial") < pl.col("original")).height
    return (
        "Up, the share of values in a bin, on a logarithmic axis; across, relevance. For "
        f"{count(narrower)} of {plural(wide.height, 'method')} the relevance of adversarial examples has a "
        "smaller standard deviation than that of originals."
    )


def moments(table: pl.DataFrame) -> str:
    """How many maps were left out, and the largest share of exact zeros."""
    if table.is_empty():
        return "No map enters."
    bad = table.filter(pl.col("non_finite_maps") + pl.col("zero_maps") > 0)["method"].n_unique()
    methods = table["method"].n_unique()
    lost = f"{count(bad)} of {plural(methods, 'method')}" if bad else "No method"
    text = f"{lost} lost maps that are not finite or all zero."
    zeros = table.drop_nulls("share_zero").sort("share_zero", "method")
    if zeros.is_empty():
        return text
    most = zeros.row(-1, named=True)
    share, method = percent(most["share_zero"], 2), full_name(most["method"])
    return f"{text} The largest share of values that are exactly zero is {share} ({method})."


def quantiles(table: pl.DataFrame, published: bool) -> str:
    """Where half of the relevance lies, by method."""
    spread = (
        table.filter(pl.col("level").is_in([0.1, 0.9]))
        .sort("level")
        .group_by("method")
        .agg((pl.col("value").last() - pl.col("value").first()).alias("spread"), pl.len().alias("n"))
    )
    spread = spread.filter((pl.col("n") == 2) & pl.col("spread").is_not_null()).sort("spread", "method")
    if spread.is_empty():
        return "No map enters."
    low, high = spread.row(0), spread.row(-1)
    text = (
        f"Eight in ten values lie within a span of {decimal(low[1], 3)} ({full_name(low[0])}) to "
        f"{decimal(high[1], 3)} "
        f"({full_name(high[0])})."
    )
    return text + (f" {COMPARED}" if published else "")


ATTACK_NUMBERS = (
    "Only correctly classified images are attacked. Quantiles and medians are over the pairs that succeeded; "
    "the right column is the paper's, over its own network and images. Differences to it are coloured by "
    "size (0.005, 0.02 and 0.05); of counts there are none."
)
OVERLAP_TABLE = (
    "Share of the components of the first band in the original's map that lie in the second band of the "
    "adversarial example's map, mean over pairs; chance is the second band's share of all components."
)
COMPARED_POINTS = (
    "Differences to the printed figures are in percentage points, coloured by size (0.5, 2 and 5)."
)
SHIFT_TABLE = (
    "Quantiles in places, the median also as a share of all n components of a map; only components found "
    "again are counted, and unmoved is the share of those with shift zero."
)
COMPARED = (
    "Printed figures are those of the paper, over its own network and its 77,402 adversarial examples; "
    "differences are this study less the paper, coloured by size (beyond 0.005, 0.02 and 0.05)."
)


MISPRINTS = (
    "Quantiles of the tables above whose printed figure the authors' own network and adversarial examples "
    "contradict, where a slip of a digit explains it. The differences above are to the figures as printed."
)


def shift(quantiles_: pl.DataFrame) -> str:
    """Median |rank shift| within the top 10 %."""
    rows = (
        quantiles_.filter(
            (pl.col("original_band") == "10 %")
            & (pl.col("adversarial_band") == "10 %")
            & (pl.col("level") == 0.5)
        )
        .drop_nulls("abs_shift")
        .sort("abs_shift", "method")
    )
    if rows.is_empty():
        return "No component of the top 10 % was found again in the top 10 %."
    low, high = rows.row(0, named=True), rows.row(-1, named=True)
    return (
        "Up, shares; across, places, and below them the share of all components of a map that they are. Only "
        "components that are found again are counted. Of those in the top 10 % of both maps, half move by at "
        "most "
        f"{decimal(low['abs_shift'], 0)} ({full_name(low['method'])}) to "
        f"{decimal(high['abs_shift'], 0)} places "
        f"({full_name(high['method'])}); a positive shift is a move down."
    )


def overlap(rows: pl.DataFrame) -> str:
    """How many methods exceed chance by a factor of two in the top 10 %, and ties."""
    same = rows.filter(
        (pl.col("original_band") == "10 %") & (pl.col("adversarial_band") == "10 %")
    ).drop_nulls("overlap")
    if same.is_empty():
        return "No pair has two maps to compare."
    above = same.filter(pl.col("overlap") > 2 * pl.col("chance")).height
    tied = rows.filter(pl.col("tied_pairs") > 0.1 * pl.col("pairs"))["method"].n_unique()
    methods = plural(same.height, "method")
    text = (
        f"In the top 10 %, the overlap is more than twice its chance level for {count(above)} of {methods}."
    )
    if tied:
        text += (
            f" For {plural(tied, 'method')}, marked \N{DAGGER}, ties at a band's edge in more than a "
            f"tenth of the pairs leave the "
            "overlap without meaning there."
        )
    return text


def _original_beside_adversarial(moments: pl.DataFrame, column: str) -> pl.DataFrame:
    originals = moments.filter(pl.col("subject") == "original").select(
        "method", pl.col(column).alias("original")
    )
    others = moments.filter(pl.col("subject") != "original").select(
        "method", pl.col(column).alias("adversarial")
    )
    return originals.join(others, on="method").drop_nulls()


def conventions(methods: Sequence[str]) -> str:
    """What the conventions of the methods present mean."""
    text = {
        "published": "the published convention is what the paper's released code does",
        "canonical": "the canonical convention follows the rules of the literature, with "
        "BatchNorm folded into the layer before it",
        "other": "the other methods are not LRP",
    }
    present = [text[kind] for kind in CONVENTIONS if kind in {convention(method) for method in methods}]
    joined = "; ".join(present)
    return joined[:1].upper() + joined[1:] + "."
