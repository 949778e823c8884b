"""A process from its start to its first picture: ``python -m benchmarks.first_picture CHECKPOINT …``.

Prints one JSON line with the moments, by the clock on the wall, at which it had imported, loaded and painted.
"""

from __future__ import annotations

import argparse
import json
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--settings", type=json.loads, default={}, help="further fields of EngineConfig, as JSON")
    options = parser.parse_args()

    from engine import Engine, EngineConfig, GenerationRequest

    settings = {"checkpoint": options.checkpoint, "device": options.device, "dtype": options.dtype, **options.settings}
    config = EngineConfig(**settings)
    request = GenerationRequest(width=options.size, height=options.size, steps=options.steps)
    engine_type = Engine  # torch is imported here
    moments = {"imported": time.time()}
    with engine_type(config) as engine:
        moments["loaded"] = time.time()
        engine.generate(request)
        moments["painted"] = time.time()
        print(json.dumps(moments), flush=True)


if __name__ == "__main__":
    main()
