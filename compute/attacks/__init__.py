"""Attacks: algorithms that turn images into adversarial examples."""
