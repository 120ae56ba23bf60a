"""The oracles of the analyses: each answers the question of one analysis from the rows of a toy lake, with
NumPy in float64 alone, and has the analysis's name."""

from oracles import attacks, galleries, measures, ranks, sensitivity, values
from oracles.base import ORACLES, assert_same

__all__ = ["ORACLES", "assert_same", "attacks", "galleries", "measures", "ranks", "sensitivity", "values"]
