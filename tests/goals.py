#!/usr/bin/env python3
"""How near compress's goals (--min-snr, --max-drop, --min-agreement) come to the smallest file that meets them.

    tests/goals.py [--root FOLDER] [--only PART] [--steps N] LIST

A line of the text file LIST is a model, its samples, options of `quench` and a goal; paths are relative to --root or
else to the list's folder:

    resnet20.onnx | cifar10:cifar10 | --mean 0.485,0.456,0.406 | --max-drop 0.5

The smallest file is the least of the goal's own and of those that meet it among N (default 10) that `--bits` makes,
from 10 % below the goal's to its size; all are measured on the same held-out samples. Built with `cmake --build --preset
dev --target quench`.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
QUENCH = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build", "dev")), "compressor", "cli", "quench")
FARTHEST = 0.10  # below the goal's file that the sweep looks


def compress(model, options):
    with tempfile.TemporaryDirectory() as folder:
        command = [QUENCH, "compress", model, "-o", os.path.join(folder, "x.quench"), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


def meets(report, goal, limit):
    report = report["eval"]
    if goal == "--min-snr":
        return report["snr_db"] >= limit
    if goal == "--min-agreement":
        return 100 * report["agreement"] >= limit
    return 100 * (report["against"]["top1"] - report["top1"]) <= limit


def measure(model, options, goal, limit, steps):
    own = compress(model, [*options, goal, limit])
    assert meets(own, goal, float(limit)), "the file does not meet its goal"
    least = own["output_bytes"]
    for step in range(steps):
        bits = own["bits_per_weight"] * (1 - FARTHEST * (steps - step) / steps)
        try:
            other = compress(model, [*options, "--bits", f"{bits:.4f}"])
        except RuntimeError:  # cannot be made as small
            continue
        if meets(other, goal, float(limit)):
            least = min(least, other["output_bytes"])
    return own["output_bytes"], least


def place(folder, spec):
    """`cifar10:x` keeps what is in front of the path."""
    front, path = re.fullmatch(r"([a-z0-9-]+:)?(.*)", spec).groups()
    return (front or "") + os.path.join(folder, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", metavar="LIST")
    parser.add_argument("--root", metavar="FOLDER", help="of the paths in the list")
    parser.add_argument("--only", default="", help="models whose path has this in it")
    parser.add_argument("--steps", type=int, default=10, help="of the sweep")
    arguments = parser.parse_args()
    folder = arguments.root or os.path.dirname(os.path.abspath(arguments.list))
    print(f"{'model':34} {'goal':24} {'bytes':>9} {'smallest':>9} {'above':>7}")
    worst = 0
    with open(arguments.list) as file:
        for line in file:
            if not line.strip() or line.startswith("#") or arguments.only not in line.split("|")[0]:
                continue
            model, samples, options, (goal, limit) = (part.split() for part in line.split("|"))
            data = [argument for spec in samples for argument in ("--data", place(folder, spec))]
            own, least = measure(os.path.join(folder, model[0]), data + options, goal, limit, arguments.steps)
            above = 100 * (own / least - 1)
            worst = max(worst, above)
            print(f"{model[0]:34} {goal + ' ' + limit:24} {own:9} {least:9} {above:5.1f} %", flush=True)
    print(f"at most {worst:.1f} % above the smallest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
