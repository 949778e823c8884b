"""Carries out the nodes that change a model without other weights."""

from __future__ import annotations

import dataclasses

from engine.running.functions.registry import Bench, carries_out
from engine.running.model import Network
from engine.running.readings import parametrization_of
from engine.workflow import patches as nodes


def _reading(node: nodes.Reading, bench: Bench) -> Network:
    return dataclasses.replace(bench.network(node.model), parametrization=parametrization_of(node))


for _kind in (nodes.DiscreteReading, nodes.ContinuousReading):
    carries_out(_kind)(_reading)
