"""A load on the server over HTTP, in every dialect: ``python -m benchmarks.load``."""
