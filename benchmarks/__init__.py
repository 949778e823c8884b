"""Measures the engine on this machine, beside its peers: ``python -m benchmarks``."""
