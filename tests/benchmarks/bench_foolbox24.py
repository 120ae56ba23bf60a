"""Our attack against Foolbox 2.4.0's LBFGSAttack: rate, success and distance, on the paper's network.

Foolbox (mean squared distance, its defaults, true logits, the network compiled) attacks 40 random pairs
one after the other, ours 512 pairs that contain the 40, on the same two cores; nothing is timed before
it has run once. The preset `foolbox-2.4` is held to Foolbox's results on 10 of the pairs.
Run from the repository root: python -m tests.benchmarks.bench_foolbox24 [--cache FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compute.attacks.foolbox24 import Foolbox24
from compute.attacks.foolbox24 import attack as attack_by_preset
from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.objective import cross_entropy_evaluator
from compute.attacks.result import AttackResult
from tests.benchmarks.peer_process import peer_process
from tests.benchmarks.published_pairs import (
    BATCH,
    Pairs,
    PublishedNetwork,
    l2,
    load_cache,
    open_published,
    save_cache,
    show,
)

WORKER = Path(__file__).parent / "foolbox24_worker.py"
THEIRS, OURS, BY_PRESET, TIMED_ANEW = 40, 512, 10, 5
RATE_BAR, RATE_GOAL = 50, 80


def run_foolbox(network: PublishedNetwork, pairs: Pairs) -> dict[str, np.ndarray]:
    """What Foolbox delivers (NaN where it finds nothing), its gradient calls and seconds, pair by pair."""
    before_softmax = keras.Model(network.model.inputs, network.model.layers[-1].input)
    with peer_process("foolbox24", WORKER) as foolbox, tempfile.TemporaryDirectory() as folder:
        model, data = str(Path(folder) / "network.keras"), str(Path(folder) / "pairs.npz")
        before_softmax.save(model)
        np.savez(data, images=pairs.images, labels=pairs.labels, targets=pairs.targets)
        loaded = foolbox.ask("load", network=model, pairs=data)
        gap = np.abs(np.array(loaded["logits"]) - network.logits(pairs.images)).max()
        print(f"Foolbox's environment: {loaded['versions']}; its logits are within {gap:.1e} of ours")
        answers = [foolbox.ask("attack", pair=pair, distance="mse") for pair in range(len(pairs))]
    shape = pairs.images.shape[1:]
    nothing = np.full(shape, np.nan, np.float32)
    delivered = [
        nothing if a["image"] is None else np.array(a["image"], np.float32).reshape(shape) for a in answers
    ]
    spent = {name: np.array([a[name] for a in answers]) for name in ("gradient_calls", "seconds")}
    return {"delivered": np.stack(delivered), **spent}


def images_of(results: list[AttackResult], shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([result.pixels for result in results]).reshape(len(results), *shape)


def successes(results: list[AttackResult]) -> np.ndarray:
    return np.array([result.status == "success" for result in results])


def show_attack(
    name: str, network: PublishedNetwork, pairs: Pairs, found: Any, delivered: np.ndarray, calls: Any
) -> None:
    """Successes by the attack's own word and by a plain forward pass, distances and gradient calls."""
    confirmed = network.logits(np.nan_to_num(delivered)).argmax(1) == pairs.targets
    print(
        f"{name}: {found.sum()} of {len(pairs)} successful ({(found & confirmed).sum()} in a plain forward "
        f"pass), median L2 {np.median(l2(pairs, delivered)[found]):.4f}, {np.mean(calls):.0f} gradient "
        "calls a pair",
        flush=True,
    )


def compare_ours(network: PublishedNetwork, theirs: dict[str, np.ndarray]) -> bool:
    """Rate, success and distances of our attack against Foolbox's."""
    pairs = network.random_pairs(OURS)
    same = pairs.of(slice(THEIRS))
    found = np.isfinite(theirs["delivered"]).all(axis=(1, 2, 3))
    show_attack("Foolbox 2.4.0", network, same, found, theirs["delivered"], theirs["gradient_calls"])
    evaluate = cross_entropy_evaluator(network.logits_of)
    evaluate(np.resize(pairs.images, (BATCH, *pairs.images.shape[1:])), np.resize(pairs.targets, BATCH))
    started = time.perf_counter()
    results = attack(
        evaluate, pairs.images, pairs.targets, LBFGS(confidence=0.0, quantise="none"), batch_size=BATCH
    )
    seconds = time.perf_counter() - started
    calls = [result.gradient_calls or 0 for result in results]
    delivered = images_of(results, pairs.images.shape[1:])
    show_attack(f"ours, all {OURS}", network, pairs, successes(results), delivered, calls)
    ours, delivered = successes(results)[:THEIRS], delivered[:THEIRS]
    show_attack(f"ours, the same {THEIRS}", network, same, ours, delivered, calls[:THEIRS])
    rates = OURS / seconds, 1 / float(theirs["seconds"].mean())
    print(f"pairs a second: ours {rates[0]:.2f} at batch {BATCH}, Foolbox 2.4.0 {rates[1]:.3f}")
    both = ours & found
    ratios = (l2(same, delivered) / l2(same, theirs["delivered"]))[both]
    return all(
        [
            show(f"ratio of the rates (goal {RATE_GOAL})", rates[0] / rates[1], RATE_BAR, ".1f", True),
            show("successes of ours", float(ours.sum()), float(found.sum()), ".0f", True),
            show("per-pair ratio of L2, median", float(np.median(ratios)), 1.0),
            show("per-pair ratio of L2, 95th percentile", float(np.quantile(ratios, 0.95)), 1.1),
        ]
    )


def compare_preset(network: PublishedNetwork, theirs: dict[str, np.ndarray]) -> bool:
    """The preset that follows Foolbox step by step, against Foolbox."""
    pairs, reference = network.random_pairs(BY_PRESET), theirs["delivered"][:BY_PRESET]
    found = np.isfinite(reference).all(axis=(1, 2, 3))
    evaluate = cross_entropy_evaluator(network.logits_of)
    results = attack_by_preset(evaluate, pairs.images, pairs.targets, Foolbox24(), batch_size=BY_PRESET)
    calls, delivered = [r.gradient_calls for r in results], images_of(results, pairs.images.shape[1:])
    show_attack("preset foolbox-2.4", network, pairs, successes(results), delivered, calls)
    print(f"gradient calls: preset {calls}, Foolbox {theirs['gradient_calls'][:BY_PRESET].tolist()}")
    same = successes(results) == found
    both = successes(results) & found
    away = np.abs(l2(pairs, delivered) / l2(pairs, reference) - 1)[both]
    print(f"per-pair difference of L2: {', '.join(f'{d:.1%}' for d in away)}")
    near = int((away <= 0.15).sum() + (same & ~both).sum())
    ratio = float(np.median(l2(pairs, delivered)[both]) / np.median(l2(pairs, reference)[both]))
    return all(
        [
            show("pairs of the same status", float(same.sum()), BY_PRESET, ".0f", True),
            show("distance of the ratio of median L2 from 1", abs(ratio - 1), 0.05, ".1%"),
            show("pairs within 15 % of Foolbox's L2", near, 0.9 * BY_PRESET, ".0f", True),
        ]
    )


def main(cache: Path | None) -> bool:
    """Print the figures; whether all bars are met."""
    network = open_published()
    pairs = network.random_pairs(THEIRS)
    theirs = load_cache(cache, pairs)
    if theirs is None:
        theirs = run_foolbox(network, pairs)
        save_cache(cache, pairs, **theirs)
    else:
        print(f"Foolbox's images are those in {cache}, its rate is timed anew on {TIMED_ANEW} of the pairs")
        theirs["seconds"] = run_foolbox(network, pairs.of(slice(TIMED_ANEW)))["seconds"]
    return all([compare_ours(network, theirs), compare_preset(network, theirs)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Our attack against Foolbox 2.4.0's LBFGSAttack.")
    parser.add_argument("--cache", type=Path, help="what Foolbox finds is kept there and taken from there")
    sys.exit(not main(parser.parse_args().cache))
