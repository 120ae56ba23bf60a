"""Train: a classifier from scratch, with checkpoints, and the model card beside it."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from compute.classifier import build_table2, file_sha256
from compute.datasets import load_dataset
from compute.startup import start_tensorflow
from compute.training import EpochResult, Recipe, predict_labels, train, trainable_twin
from flows.errors import UserError
from flows.progress import track
from flows.versions import versions


def train_classifier(dataset: str, path: str | None, output: str, recipe: Recipe) -> dict[str, Any]:
    """Train the network of Table 2 and save it; its model card.

    Fits on split `train` of the dataset; split `test` is only read at the end, to be reported.
    Checkpoints stand in `<output>.checkpoint/` until training ends: the same call goes on from the
    last whole epoch.
    """
    target = Path(output)
    if target.suffix != ".keras":
        raise UserError(f"output {output!r} must end in .keras")
    start_tensorflow()
    import keras

    fitted = load_dataset(dataset, path, "train")
    keras.utils.set_random_seed(recipe.seed)
    model = build_table2(fitted.pixels.shape[1:], len(fitted.classes))
    twin = trainable_twin(model, recipe)
    folder = target.with_name(target.name + ".checkpoint")
    made_from = {"recipe": recipe.as_dict(), "data": fitted.fingerprint()}
    state = _resume(twin, folder, made_from)
    history: list[dict[str, Any]] = state["history"]
    per_epoch = recipe.batches_per_epoch(len(fitted.pixels))
    with track(f"training {target.name}", per_epoch * recipe.epochs, "batches") as advance:
        advance(per_epoch * len(history))

        def on_batch(step: int, steps: int, loss: float) -> None:
            advance(
                1,
                f"loss {loss:.3f}"
                + (f", held out {history[-1]['held_out_accuracy']:.4f}" if history else ""),
            )

        def on_epoch(result: EpochResult) -> None:
            history.append(vars(result))
            _save(twin, folder, made_from, history)

        train(
            twin, fitted.pixels, fitted.labels, recipe,
            first_epoch=len(history), on_batch=on_batch, on_epoch=on_epoch,
        )  # fmt: skip
    model.set_weights(twin.get_weights())
    target.parent.mkdir(parents=True, exist_ok=True)
    model.save(target)
    test = load_dataset(dataset, path, "test")
    card = {
        "name": target.stem,
        "architecture": "Table 2 of Dieter & Zisgen (2023)",
        "parameters": int(model.count_params()),
        "input": "RGB in [0, 1], height x width x channels",
        "data": {
            "dataset": dataset,
            "fitted_on": len(fitted.labels) - min(recipe.held_out, len(fitted.labels) // 5),
            "held_out": min(recipe.held_out, len(fitted.labels) // 5),
            "tested_on": len(test.labels),
        },
        "recipe": recipe.as_dict(),
        "seed": recipe.seed,
        "epochs": len(history),
        "checkpoint": "the last epoch",
        "accuracy": {
            "train": float(np.mean(predict_labels(model, fitted.pixels) == fitted.labels)),
            "held_out": history[-1]["held_out_accuracy"],
            "test": float(np.mean(predict_labels(model, test.pixels) == test.labels)),
        },
        "held_out_history": [round(epoch["held_out_accuracy"], 4) for epoch in history],
        "sha256": file_sha256(target),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
    }
    target.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    shutil.rmtree(folder)
    return card


def _resume(twin: Any, folder: Path, made_from: dict[str, Any]) -> dict[str, Any]:
    """State of the checkpoint, its weights loaded; a fresh one where there is none."""
    file = folder / "state.json"
    if not file.exists():
        return {"history": []}
    try:
        state = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} cannot be read ({error}): delete {folder}") from None
    if state["made_from"] != made_from:
        raise UserError(
            f"{folder} is a checkpoint of another recipe or dataset: give the same options, or delete it"
        )
    weights = _weights(folder, len(state["history"]))
    try:
        twin.load_weights(weights)
    except (OSError, ValueError) as error:
        raise UserError(f"{weights} cannot be read ({error}): delete {folder}") from None
    return state


def _weights(folder: Path, epochs: int) -> Path:
    return folder / f"epoch-{epochs:03d}.weights.h5"


def _save(twin: Any, folder: Path, made_from: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Weights with optimizer state under a name of their own, then the state that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = _weights(folder, len(history))
    twin.save_weights(weights)
    (folder / "tmp.json").write_text(json.dumps({"made_from": made_from, "history": history}))
    os.replace(folder / "tmp.json", folder / "state.json")
    for older in folder.glob("epoch-*.weights.h5"):
        if older != weights:
            older.unlink()
