"""Runs ``python -m models.starter``: trains the starter checkpoint, or goes on where the last run stopped."""

import argparse
import sys
from pathlib import Path

import torch

from models.starter.plan import plan_for
from models.starter.train import train

HERE = Path(__file__).resolve().parent
INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.starter", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop cleanly after so long, to be resumed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, help="state, sample grids, progress")
    parser.add_argument("--out", type=Path, help="the checkpoint, once all stages are done")
    parser.add_argument("--tiny", action="store_true", help="a few steps of tiny networks, to see that all works")
    options = parser.parse_args()
    options.folder = options.folder or Path("runs/starter-tiny" if options.tiny else "runs/starter")
    options.out = options.out or (options.folder if options.tiny else HERE.parent) / "starter.safetensors"
    device = torch.device(options.device)
    plan = plan_for(device, options.tiny)
    print(f"Training on {device} takes {plan.cost}. State and grids: {options.folder}/", flush=True)
    try:
        done = train(plan, options.folder, options.out, device, options.minutes)
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here, but for the last minute.", flush=True)
        return INTERRUPTED
    print("All stages are done." if done else "Time is up; the same command goes on from here.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
