"""What the engine costs on the machine at hand, beside its peers: ``python -m benchmarks``."""
