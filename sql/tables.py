"""The table contract of the lake: names, columns, Arrow types, partition keys.

The writer and the catalog both read this module and nothing else says what a table holds. Vector
types carry a length that the data decides: `n` is the number of components of an image, `k` the
number of classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

SHARD = 1_000
"""A partition file holds rows of this many consecutive image ids."""

ROW_GROUP = 2_048
"""Rows of a Parquet row group: 25 MB of 3072-value vectors, measured best for scans on 2 cores."""

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for the partition whose key is null."""

ID_PATTERN = re.compile(r"[a-z0-9.-]+")
"""What an id that becomes part of a path may look like."""


@dataclass(frozen=True)
class Column:
    """One column: `type` is an Arrow type name, with `[n]`, `[k]` or `[]` behind it for vectors."""

    name: str
    type: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table; `keys` are Hive partition keys (types string or int32), `columns` stand in the files.

    A table without keys has one file per row, named by its first column. later: so many of its last columns
    are younger than lakes that are about; files without them are read, with nulls in their place.
    """

    name: str
    grain: str
    keys: tuple[Column, ...]
    columns: tuple[Column, ...]
    later: int = 0

    def arrow_schema(self, components: int = 0, classes: int = 0) -> pa.Schema:
        """Schema of the table's files, vectors of `components` (n) and `classes` (k) values."""
        return pa.schema([pa.field(c.name, arrow_type(c.type, components, classes)) for c in self.columns])


TIMESTAMP = "timestamp[ms]"


def arrow_type(name: str, components: int = 0, classes: int = 0) -> pa.DataType:
    """Arrow type of a contract type; 0 for a length gives a list of any length."""
    if name == TIMESTAMP:
        return pa.timestamp("ms")
    base, _, length = name.partition("[")
    if base == "rank":
        base = "uint16" if components <= 65_536 else "uint32"
    scalar = pa.type_for_alias(base)
    if not length:
        return scalar
    item = pa.field("element", scalar)
    size = {"n]": components, "k]": classes, "]": 0}[length]
    return pa.list_(item, size) if size else pa.list_(item)


DATASET = Column("dataset", "string", "", "data and split, e.g. cifar10-test")
MODEL = Column("model", "string", "", "classifier")
ATTACK = Column("attack", "string", "", "attack that made the adversarial example")
TARGET = Column(
    "target", "int32", "class", "class aimed at; untargeted: the class reached, the label where it failed"
)
IMAGE_ID = Column("image_id", "int32", "", "index of the image in its dataset")
LABEL = Column("label", "int32", "class", "true class")
LOGITS = Column("logits", "float32[k]", "", "pre-softmax outputs of the classifier")

IMAGES = Table(
    "images", "one row per image", (DATASET,),
    (
        IMAGE_ID, LABEL,
        Column("height", "int32", "pixel", "rows"),
        Column("width", "int32", "pixel", "columns"),
        Column("channels", "int32", "", "colour channels"),
        Column("pixels", "uint8[n]", "grey level", "values 0..255, index (y * width + x) * channels + channel"),
    ),
)  # fmt: skip

PREDICTIONS = Table(
    "predictions", "one row per image and model", (DATASET, MODEL),
    (
        IMAGE_ID, LABEL,
        Column("predicted", "int32", "class", "class of the largest logit"),
        Column("correct", "bool", "", "predicted = label"),
        LOGITS,
    ),
)  # fmt: skip

ADVERSARIALS = Table(
    "adversarials", "one row per attacked pair (image, target), or image of an untargeted attack, failures included",
    (DATASET, MODEL, ATTACK, TARGET),
    (
        IMAGE_ID, LABEL,
        Column("status", "string", "", "success, failed (pixels = best attempt, the original where the attack gives none, or as imported) or already_target; of a control: success where it is of the target, kept where it is of the label"),
        Column("reason", "string", "", "why it failed; null unless failed"),
        Column("pixels", "float32[n]", "1 = white", "the delivered image in [0, 1], same order as images.pixels"),
        LOGITS,
        Column("target_probability", "float32", "", "softmax probability of the target on the delivered image"),
        Column("second_class", "int32", "class", "most probable class of the delivered image but the target"),
        Column("second_probability", "float32", "", "softmax probability of that class"),
        Column("l1", "float32", "1 = white", "sum of |change| over components"),
        Column("l2", "float32", "1 = white", "Euclidean norm of the change"),
        Column("linf", "float32", "1 = white", "largest |change| of a component"),
        Column("c", "float32", "", "weight of the cross-entropy at the delivered image; null where the attack has none or did not succeed"),
        Column("iterations", "int32", "", "optimiser iterations, all values of c together; null where imported, as the next two"),
        Column("gradient_calls", "int32", "", "evaluations of loss and gradient"),
        Column("forward_calls", "int32", "", "evaluations that only look at an image as delivered, without its gradient; lbfgs makes them in batches with gradients"),
    ),
)  # fmt: skip

RELEVANCE = Table(
    "relevance", "one row per relevance map",
    (
        DATASET, MODEL,
        Column("method", "string", "", "attribution method with its parameters"),
        Column("subject", "string", "", "whose map: original, an attack's or control's id, or of an original by a network of randomisations"),
        Column("explains", "string", "", "the class explained: label or target"),
        Column("target", "int32", "class", "target of the pair; null for an original explained for its label, by any network"),
    ),
    (
        IMAGE_ID, LABEL,
        Column("explained_class", "int32", "class", "class whose logit starts the propagation"),
        Column("start", "float32", "", "that logit"),
        Column("scale", "float32", "", "largest |relevance| before division; 0 for a zero map, null for a non_finite one"),
        Column("status", "string", "", "ok, zero or non_finite; only ok maps enter statistics"),
        Column("relevance_sum", "float64", "logit", "sum of the relevance before division; + the three absorbed = start for LRP"),
        Column("absorbed_bias", "float64", "logit", "relevance that biases took, layer by layer (integrated gradients: the baseline's logit); null where unknown"),
        Column("absorbed_stabiliser", "float64", "logit", "relevance that stabilisers took, layer by layer; null where unknown"),
        Column("absorbed_empty", "float64", "logit", "relevance that found no contribution to go to, layer by layer; null where unknown"),
        Column("ties_at_31", "int32", "", "other components that share the value at the 31st place; null unless ok"),
        Column("ties_at_307", "int32", "", "the same at the 307th place"),
        Column("relevance", "float32[n]", "scale", "the map divided by its largest |value|, same order as pixels"),
        Column("rank", "rank[n]", "", "place of each component, 0 = most relevant, ties by component; null unless ok"),
    ),
)  # fmt: skip

DATASETS = Table(
    "datasets", "one row per dataset", (),
    (
        DATASET,
        Column("source", "string", "", "cifar10-samples, cifar10 or folder"),
        Column("split", "string", "", "train, test or empty"),
        Column("images", "int32", "", "number of images"),
        Column("classes", "string[]", "", "class names, in order"),
        Column("fingerprint", "string", "sha256", "of pixels and labels"),
    ),
)  # fmt: skip

MODELS = Table(
    "models", "one row per model", (),
    (
        MODEL,
        Column("sha256", "string", "sha256", "of the model file; of the digests of both where the weights stand apart"),
        Column("parameters", "int64", "", "number of weights"),
        Column("input_shape", "int32[]", "", "height, width, channels"),
        Column("classes", "int32", "", "number of classes"),
        Column("layers", "string", "", "the layers, in short"),
    ),
)  # fmt: skip

ATTACKS = Table(
    "attacks", "one row per attack", (),
    (
        ATTACK,
        Column("algorithm", "string", "", "lbfgs, one of Foolbox's, imported, or a control; parameters that an attack lacks are null"),
        Column("preset", "string", "", "foolbox-2.4: step by step as that version does it; else null"),
        Column("targeted", "bool", "", "whether it aims at a class; else it is run once an image"),
        Column("distance", "string", "", "what is minimised or bounded: mse or mae (mean over components), l2, linf or elastic-net"),
        Column("confidence", "float64", "", "probability of the target (untargeted: the class reached) that a success must have (0: just the arg max)"),
        Column("logits", "string", "", "true, or softmax (the softmax output taken for logits)"),
        Column("quantise", "string", "", "none, round or floor: how the delivered image is made 8-bit"),
        Column("history", "int32", "", "L-BFGS corrections kept"),
        Column("max_iterations", "int32", "", "optimiser iterations for one value of c"),
        Column("tolerance", "float64", "", "lbfgs: relative gain in distance below which a search ends; preset: of the bisection of c"),
        Column("margin", "float64", "", "how far a search aims beyond the required log-odds, as a share of the original's distance to them"),
        Column("threshold", "float64", "", "a distance that is small enough to stop at"),
        Column("max_gradient_calls", "int32", "", "budget of a pair"),
        Column("epsilon", "float64", "1 = white", "budget: largest norm of the change"),
        Column("steps", "int32", "", "steps taken (of each binary search step)"),
        Column("relative_step", "float64", "share", "length of a step over epsilon"),
        Column("step_size", "float64", "1 = white", "Adam's in tanh space (carlini-wagner-l2), or the first step (ead)"),
        Column("binary_search_steps", "int32", "", "values of c that are tried"),
        Column("initial_const", "float64", "", "first c, the weight of the loss"),
        Column("kappa", "float64", "logit", "by how much the target must lead"),
        Column("regularization", "float64", "", "weight of L1 in the elastic net"),
        Column("decision_rule", "string", "", "EN or L1: what the best example has least of"),
        Column("initial_epsilon", "float64", "1 = white", "first norm of the change (ddn)"),
        Column("gamma", "float64", "share", "by how much that norm changes at a step"),
        Column("candidates", "int32", "", "classes whose boundaries are tried (deepfool-l2)"),
        Column("overshoot", "float64", "share", "how far the boundary is passed"),
        Column("spherical_step", "float64", "share", "first step around the original, over the distance to it (boundary)"),
        Column("source_step", "float64", "share", "first step towards the original, over the distance to it"),
        Column("step_adaptation", "float64", "", "factor by which both change"),
        Column("control_of", "string", "", "of a control (noise, path, reverse, darkened, round, floor): the attack whose pairs it is of; else null"),
        Column("fraction", "float64", "share", "path and reverse: part of the attack's change that is added to the original; darkened: share of the components that are an 8-bit level lower"),
        Column("seed", "int32", "", "of every random choice"),
        Column("version", "int32", "", "numerics version of the attack's code"),
    ),
)  # fmt: skip

IMPORTS = Table(
    "imports", "one row per dataset, model and imported attack: what became of its files", (),
    (
        Column("import_id", "string", "", "dataset, model and attack, with dots between them"),
        DATASET, MODEL,
        Column("attack", "string", "", "the imported attack"),
        Column("files", "int32", "", "PNG files in its folder; the columns below add up to it"),
        Column("imported", "int32", "", "adversarial examples of correctly classified images, whatever a study's limit"),
        Column("own_class", "int32", "", "left out: target is the image's own class"),
        Column("no_image", "int32", "", "left out: the dataset has no such image or no such class"),
        Column("misclassified", "int32", "", "left out: the image is not correctly classified"),
        Column("wrong_size", "int32", "", "left out: height or width is not that of the dataset's images"),
        Column("unreadable", "int32", "", "left out: not a sound PNG file"),
        Column("misnamed", "int32", "", "left out: not named target_<t>/img_<image id>_t<t>.png"),
        Column("fingerprint", "string", "sha256", "of images, targets and contents of the files"),
    ),
)  # fmt: skip

RANDOMISATIONS = Table(
    "randomisations", "one row per model and subject whose maps are of originals, by the model with weights drawn anew", (),
    (
        Column("randomisation", "string", "", "model and subject, with a dot between"),
        MODEL,
        Column("subject", "string", "", "whose map: as in relevance"),
        Column("depth", "int32", "", "layers re-initialised, counted from the output"),
        Column("of_depth", "int32", "", "layers that have weights; at this depth nothing is left of what was learnt"),
        Column("layer", "string", "", "name of the last layer re-initialised"),
        Column("seed", "int32", "", "of every random choice"),
        Column("sha256", "string", "sha256", "of all weights"),
        Column("version", "int32", "", "numerics version of the code that draws them"),
    ),
)  # fmt: skip

METHODS = Table(
    "methods", "one row per method", (),
    (
        Column("method", "string", "", "attribution method with its parameters"),
        Column("family", "string", "", "lrp-0, lrp-epsilon, ..., lrp-composite, gradient, ..., or imported"),
        Column("convention", "string", "", "LRP: canonical or published (BatchNorm, pooling, bias, stabilisers); else null"),
        Column("dense_rule", "string", "", "LRP rule of dense layers; parameters that a method lacks are null"),
        Column("convolution_rule", "string", "", "LRP rule of convolutions"),
        Column("first_rule", "string", "", "LRP rule of linear layers that no other linear layer comes before"),
        Column("epsilon", "float64", "", "stabiliser of the epsilon rule"),
        Column("epsilon_relative", "bool", "", "whether epsilon counts in units of the layer's root mean square"),
        Column("alpha", "float64", "", "weight of the positive contributions"),
        Column("beta", "float64", "", "weight of the negative contributions, 1 - alpha"),
        Column("gamma", "float64", "", "additional weight of the positive weights"),
        Column("low", "float64", "1 = white", "lowest value of the box rule"),
        Column("high", "float64", "1 = white", "highest value of the box rule"),
        Column("samples", "int32", "", "images drawn, or steps of an integral"),
        Column("sigma", "float64", "1 = white", "standard deviation of noise"),
        Column("baseline", "float64", "1 = white", "value of a component that is left out, or where an integral starts"),
        Column("window", "int32", "pixel", "side of the square that is left out"),
        Column("stride", "int32", "pixel", "from one such square to the next"),
        Column("seed", "int32", "", "of every random choice"),
        Column("note", "string", "", "imported maps: what whoever brought them says of them"),
        Column("version", "int32", "", "numerics version of the method's code"),
    ),
)  # fmt: skip

RUNS = Table(
    "runs", "one row per run of a command that writes to the lake, when it ended or was found killed", (),
    (
        Column("run", "string", "", "time of start and a random part; logs/<run>.jsonl in the lake tells it event by event"),
        Column("study", "string", "", "the study; empty where the command is of the whole lake"),
        Column("command", "string", "", "what ran: run (the whole study), attack, import-maps, ..."),
        Column("started", "timestamp[ms]", "UTC", "start"),
        Column("seconds", "float64", "s", "wall time; interrupted: until the last word of its log"),
        Column("outcome", "string", "", "completed, failed (an error ended it) or interrupted (stopped or killed)"),
        Column("written", "int32", "", "files written; interrupted: by what was finished"),
        Column("skipped", "int32", "", "partition files found current"),
        Column("versions", "string", "JSON", "versions of this package and of those that compute"),
        Column("settings", "string", "JSON", "the study as it ran; null where the command is of the whole lake"),
        Column("error", "string", "", "what ended it; null where it completed"),
        Column("who", "string", "", "the account that ran it"),
        Column("host", "string", "", "the machine"),
        Column("pairs", "int64", "", "rows of adversarials written, controls included"),
        Column("maps", "int64", "", "rows of relevance written"),
        Column("bytes", "int64", "B", "written to the lake"),
        Column("steps", "string", "JSON", "of each step: files written and found, rows by table, bytes, seconds, rates a second"),
    ),
    later=7,
)  # fmt: skip

PARTITIONED = (IMAGES, PREDICTIONS, ADVERSARIALS, RELEVANCE)
ENTITIES = (DATASETS, MODELS, RANDOMISATIONS, ATTACKS, IMPORTS, METHODS, RUNS)
TABLES = {table.name: table for table in PARTITIONED + ENTITIES}
