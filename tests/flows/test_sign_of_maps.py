"""Which maps turn their sign with the logit that they start from: what the maps do, and what SQL says."""

import keras
import numpy as np
import pytest
from keras import layers

from compute.explainer import Explainer
from compute.methods import parse_method
from sql.schema import connect, create_contract

TURN = ("lrp-alpha1-beta0", "lrp-alpha2-beta-1", "lrp-plus", "lrp-w2", "lrp-flat", "lrp-plus-flat-flat")
STAY = ("lrp-0", "lrp-epsilon-0.01", "lrp-epsilon-rms-0.25", "lrp-gamma-0.25", "lrp-0-flat-plus")
PUBLISHED = ("published-lrp-alpha2-beta-1", "published-lrp-0", "published-lrp-epsilon-0.01")
LAYERED = ("lrp-epsilon-0.000001-plus-flat", "lrp-gamma-0.25-plus-flat")
METHODS = (*TURN, *STAY, *PUBLISHED, *LAYERED, "gradient", "input-x-gradient")


@pytest.fixture(scope="module")
def alike() -> dict[str, float]:
    """By method, cosine of the maps of one class with a logit of -0.1 and, by a greater bias, of 0.1."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            layers.Input((6, 6, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(3),
        ]
    )
    image, first = np.random.default_rng(3).random((1, 6, 6, 3), np.float32), np.array([0])
    methods = [parse_method(id) for id in METHODS]
    output, found = model.layers[-1], []
    for logit in (-0.1, 0.1):
        kernel, bias = output.get_weights()
        bias[0] += logit - np.asarray(model(image))[0, 0]
        output.set_weights([kernel, bias])
        maps = Explainer(model, methods, 1).explain(image, first)
        assert np.allclose(maps["lrp-0"].start, logit, atol=1e-5)
        found.append({id: np.asarray(raw.relevance, np.float64).ravel() for id, raw in maps.items()})
    below, above = found
    return {
        id: below[id] @ above[id] / np.linalg.norm(below[id]) / np.linalg.norm(above[id]) for id in METHODS
    }


@pytest.mark.parametrize("method", METHODS)
def test_sql_turns_the_maps_that_turn_with_their_logit(method: str, alike: dict[str, float]) -> None:
    assert abs(alike[method]) > 0.5
    with connect() as connection:
        create_contract(connection)
        asked = connection.execute("select turns_with_logit(?)", [method]).fetchone()
    assert asked == (alike[method] < 0,)
