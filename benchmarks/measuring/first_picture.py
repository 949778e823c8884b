"""Makes one picture in a process of its own and says when it had imported, loaded and made it.

Started as a file in the folder of a checkout, whose engine it uses: ``python first_picture.py CHECKPOINT …``. Prints
one JSON line with the moments by the wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

sys.path[0] = os.getcwd()  # the checkout comes before an installed engine


def main() -> None:
    """Run the command line."""
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
