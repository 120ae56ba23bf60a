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


ATTACK_NUMBERS = (
    "Only correctly classified images are attacked. Quantiles and medians are over the pairs that succeeded; "
    "the right column is the paper's, over its own network and images. Differences to it are coloured by "
    "size (0.005, 0.02 and 0.05); of counts there are none."
)


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
