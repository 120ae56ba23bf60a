"""Numerics: arrays in, arrays out. Imports nothing of the other rooms."""
