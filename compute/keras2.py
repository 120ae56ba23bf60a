"""Networks of Keras 2 in Keras 3: architecture (`.json`) rebuilt layer by layer, weights (`.h5`) put in.

Keras 3 refuses what Keras 2 saved, although the layers are the same. Formats, from the source of Keras
2.15: `engine/functional.py` (nodes as [layer, node, tensor, arguments]) and
`saving/legacy/hdf5_format.py` (one group a layer, its weights in order). Nothing in a file is run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from compute.classifier import ModelError

TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")
"""Ends of the keys that decide nothing once a network is trained."""
IGNORED = {"dtype", "batch_input_shape", "batch_shape", "fused", "ragged", "sparse"}
"""Keys without an effect on what a layer computes in float32."""
NEUTRAL = {"groups": 1}
"""Values that change nothing, of keys that some layers of Keras 2 write and the same of Keras 3 lack."""
RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}


@dataclass(frozen=True)
class Rebuilt:
    """A layer under the name that it has in the files; `inside` has those of a network within the network."""

    name: str
    layer: keras.Layer
    inside: tuple[Rebuilt, ...] = ()

    def weights(self) -> list[Any]:
        """Variables in the order of the file: all that are trained, then the others."""
        return self._gathered("trainable_weights") + self._gathered("non_trainable_weights")

    def _gathered(self, kind: str) -> list[Any]:
        if not self.inside:
            return list(getattr(self.layer, kind))
        return [weight for part in self.inside for weight in part._gathered(kind)]


def load_keras2(architecture: Path, weights: Path) -> keras.Model:
    """The Keras 3 network of a Keras 2 architecture (JSON) and the weights that `save_weights` wrote.

    `architecture` may be the `.h5` file of a whole model, which holds both. Raises ModelError with
    file, layer and remedy where a layer is unknown to Keras 3, or where the weights do not fit.
    """
    network = _network(_description(architecture), "network", architecture)
    _put_weights(network.inside, architecture, weights)
    assert isinstance(network.layer, keras.Model)
    return network.layer


def _description(file: Path) -> dict[str, Any]:
    """The network's configuration as its file has it."""
    try:
        text, version = _config_text(file)
        described = json.loads(text)
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{file} holds no Keras 2 architecture ({_first_line(error)}): {REMEDY}") from None
    if not isinstance(described, dict) or "class_name" not in described or "config" not in described:
        raise ModelError(f"{file} holds no Keras 2 architecture: {REMEDY}")
    version = _text(described.get("keras_version", version))
    if not version.startswith("2"):
        raise ModelError(
            f"{file} was not written by Keras 2 (keras_version {version or 'missing'}): "
            "save the whole network as a .keras file"
        )
    return described


REMEDY = "give what `model.to_json()` writes, or the .h5 file of a whole model"


def _config_text(file: Path) -> tuple[str, str]:
    """JSON text of the architecture, and the version of Keras if it stands outside of it."""
    if file.suffix == ".json":
        return file.read_text(encoding="utf-8"), ""
    with h5py.File(file) as content:
        return _text(content.attrs["model_config"]), _text(content.attrs.get("keras_version", ""))


def _network(described: Mapping[str, Any], name: str, file: Path) -> Rebuilt:
    """A network, or a network within one."""
    kind, config = described["class_name"], described["config"]
    if kind == "Sequential":
        return _sequential(config if isinstance(config, dict) else {"layers": config}, name, file)
    if kind in ("Model", "Functional"):
        return _functional(config, name, file)
    raise ModelError(f"{file} describes a {kind}: only Sequential and functional networks can be rebuilt")


def _sequential(config: Mapping[str, Any], name: str, file: Path) -> Rebuilt:
    described = config["layers"]
    shape = _input_shape(described[0]["config"]) if described else None
    shape = shape or (config.get("build_input_shape") or [None])[1:]
    if not shape:
        raise ModelError(f"{file} does not say the shape of {name}'s input: build it before `to_json()`")
    parts = [_layer(part, file) for part in described if part["class_name"] != "InputLayer"]
    try:
        model = keras.Sequential([keras.Input(shape), *(part.layer for part in parts)], name=_plain(name))
    except Exception as error:
        raise ModelError(f"{file} cannot be rebuilt: {_first_line(error)}") from None
    return Rebuilt(name, model, tuple(parts))


def _functional(config: Mapping[str, Any], name: str, file: Path) -> Rebuilt:
    """A network of nodes: a layer is called once for each of its nodes, as soon as its inputs are there."""
    parts: dict[str, Rebuilt] = {}
    tensors: dict[tuple[str, int], Any] = {}
    waiting: list[tuple[str, int, Any]] = []
    for described in config["layers"]:
        layer_name = described.get("name") or described["config"]["name"]
        if described["class_name"] == "InputLayer":
            tensors[layer_name, 0] = keras.Input(_input_shape(described["config"]), name=_plain(layer_name))
        else:
            parts[layer_name] = _layer(described, file)
            waiting += [(layer_name, i, node) for i, node in enumerate(described["inbound_nodes"])]
    ends = [[_source(end) for end in _listed(config[kind])] for kind in ("input_layers", "output_layers")]
    named = [*ends[1], *(s for name, _, node in waiting for s in _sources(node, name, file))]
    # a network within the network has a call of its own before those of this one: they count from 1
    first = {name: min(call for n, call, _ in named if n == name) for name, _, _ in named}
    while waiting:
        still: list[tuple[str, int, Any]] = []
        for layer_name, number, node in waiting:
            sources = _sources(node, layer_name, file)
            if all(source[:2] in tensors for source in sources):
                inputs = [_tensor(tensors, source) for source in sources]
                tensors[layer_name, first.get(layer_name, 0) + number] = _called(
                    parts[layer_name], inputs, file
                )
            else:
                still.append((layer_name, number, node))
        if len(still) == len(waiting):
            raise ModelError(f"{file}: layer {still[0][0]!r} takes the output of a layer that is not there")
        waiting = still
    missing = [source[0] for end in ends for source in end if source[:2] not in tensors]
    if missing:
        raise ModelError(f"{file}: there is no layer {missing[0]!r} to begin or end with")
    inputs, outputs = ([_tensor(tensors, source) for source in end] for end in ends)
    model = keras.Model(_single(inputs), _single(outputs), name=_plain(name))
    return Rebuilt(name, model, tuple(parts.values()))


Source = tuple[str, int, int]
"""(layer, which of its calls, which of that call's outputs)"""


def _sources(node: Any, name: str, file: Path) -> list[Source]:
    """Where a call's inputs come from; arguments beside them must be those of a call at rest."""
    if not isinstance(node, list):
        raise ModelError(f"{file}: layer {name!r} is called in the way of Keras 3: save it as a .keras file")
    entries = _listed(node)
    for entry in entries:
        arguments = {k: v for k, v in (entry[3] if len(entry) > 3 else {}).items() if v not in (None, False)}
        if arguments:
            raise ModelError(
                f"{file}: layer {name!r} is called with {', '.join(arguments)}, which cannot be rebuilt"
            )
    return [_source(entry) for entry in entries]


def _source(entry: Sequence[Any]) -> Source:
    return str(entry[0]), int(entry[1]), int(entry[2])


def _listed(entries: Sequence[Any]) -> Sequence[Any]:
    """A single [layer, node, tensor] as a list of one."""
    return [entries] if entries and isinstance(entries[0], str) else entries


def _tensor(tensors: Mapping[tuple[str, int], Any], source: Source) -> Any:
    made = tensors[source[:2]]
    return made[source[2]] if isinstance(made, list | tuple) else made


def _single(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _called(part: Rebuilt, inputs: list[Any], file: Path) -> Any:
    try:
        return part.layer(_single(inputs))
    except Exception as error:
        raise ModelError(f"{file}: layer {part.name!r} cannot be rebuilt: {_first_line(error)}") from None


def _layer(described: Mapping[str, Any], file: Path) -> Rebuilt:
    """One layer from its configuration: the keys that its Keras 3 constructor knows."""
    kind, config = described["class_name"], described["config"]
    name = str(described.get("name") or (config.get("name") if isinstance(config, dict) else kind))
    if kind in ("Sequential", "Model", "Functional"):
        return _network(described, name, file)
    made = getattr(keras.layers, kind, None)
    if not (inspect.isclass(made) and issubclass(made, keras.Layer)) or kind == "Lambda":
        why = "runs code of its file" if kind == "Lambda" else "has no counterpart in Keras 3"
        raise ModelError(
            f"{file}: layer {name!r} is a {kind}, which {why}: rebuild the network in Keras 3 "
            "and save it as a .keras file"
        )
    known = {*inspect.signature(made.__init__).parameters, "trainable"} - {"self", "kwargs", "name"}
    kept: dict[str, Any] = {}
    for written, value in config.items():
        key = str(RENAMED.get((kind, written), written))
        if key == "name" or key in IGNORED or key.endswith(TRAINING_ONLY):
            continue
        if key in known:
            kept[key] = value
        elif value and NEUTRAL.get(key) != value:
            raise ModelError(
                f"{file}: layer {name!r} has {key} = {value!r}, which {kind} of Keras 3 does not know: "
                "rebuild the network in Keras 3 and save it as a .keras file"
            )
    if kind == "BatchNormalization" and isinstance(kept.get("axis"), list) and len(kept["axis"]) == 1:
        kept["axis"] = kept["axis"][0]
    try:
        return Rebuilt(name, made(name=_plain(name), **kept))
    except Exception as error:
        raise ModelError(f"{file}: layer {name!r} ({kind}) cannot be rebuilt: {_first_line(error)}") from None


def _input_shape(config: Mapping[str, Any]) -> list[int | None] | None:
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    return shape[1:] if shape else None


def _put_weights(parts: Sequence[Rebuilt], architecture: Path, file: Path) -> None:
    """Weights by the names of the layers; by their order where the file has other names."""
    wanted = {part.name: weights for part in parts if (weights := part.weights())}
    found = _saved_weights(file)
    remedy = f"are {architecture.name} and {file.name} of one network?"
    if len(found) != len(wanted):
        raise ModelError(
            f"{file} has the weights of {len(found)} layers, {architecture.name} has {len(wanted)}: {remedy}"
        )
    if set(found) != set(wanted):
        found = dict(zip(wanted, found.values(), strict=True))
    for name, variables in wanted.items():
        shapes = [tuple(variable.shape) for variable in variables]
        given = [values.shape for _, values in found[name]]
        kinds = zip((path.rpartition("/")[2] for path, _ in found[name]), variables, strict=False)
        if shapes != given or not all(kind.partition(":")[0].endswith(v.name) for kind, v in kinds):
            described = ", ".join(f"{path.rpartition('/')[2]} {v.shape}" for path, v in found[name])
            expected = ", ".join(f"{v.name} {tuple(v.shape)}" for v in variables)
            raise ModelError(f"{file}: layer {name!r} takes {expected}, the file has {described}: {remedy}")
        for variable, (_, values) in zip(variables, found[name], strict=True):
            variable.assign(values)


def _saved_weights(file: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """By layer, in the order of the file: (name, values) of its weights; layers without any left out."""
    try:
        with h5py.File(file) as content:
            group: Any = content.get("model_weights", content)
            weights = {layer: _names(group[layer], "weight_names") for layer in _names(group, "layer_names")}
            return {
                layer: [(name, np.asarray(group[f"{layer}/{name}"])) for name in names]
                for layer, names in weights.items()
                if names
            }
    except (OSError, KeyError) as error:
        raise ModelError(
            f"{file} holds no weights as Keras 2 saves them ({_first_line(error)}): "
            "it is the .h5 file that `model.save_weights()` wrote"
        ) from None


def _names(group: Any, key: str) -> list[str]:
    """A list of names; a long one stands in pieces, key0, key1, ..."""
    pieces = [key] if key in group.attrs else []
    if not pieces:
        pieces = list(takewhile(group.attrs.__contains__, (f"{key}{i}" for i in count())))
    if not pieces:
        raise KeyError(f"no attribute {key}")
    return [_text(name) for piece in pieces for name in group.attrs[piece]]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _plain(name: str) -> str:
    """A layer's name without what Keras 3 forbids in it."""
    return name.replace("/", "_")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
