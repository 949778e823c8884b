"""The suite: what a run measures, in which order, in how much time: ``python -m benchmarks``."""
