"""The samplers, as generators: given x, sigmas and a noise source, they say what to evaluate next (``protocol.py``).

Each is about twenty lines after the paper that its docstring names, and knows no model, no device and no request.
"""

from engine.sampling.samplers.table import SAMPLERS, SamplerRecord

__all__ = ["SAMPLERS", "SamplerRecord"]
