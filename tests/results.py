#!/usr/bin/env python3
"""What compress makes: bytes and fidelity of a few models for every quality, coder and dimension, as tests/results.csv.

    tests/results.py QUENCH WRITE_SMALL_MODEL [--update]

Compares with the file and prints what differs, or writes the file anew. Bytes are the same for any number of threads;
but the last bits of a calibration may differ from one kind of processor to another, so that up to a thousandth of the
bytes, and 0.1 dB, are forgiven. `output SNR` is what eval says of the same seeded inputs.
"""
import csv
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
FILE = os.path.join(ROOT, "tests", "results.csv")
MODELS = os.path.join(ROOT, "examples", "models")
COLUMNS = ("model", "quality", "coder", "dimension", "bytes", "output_snr_db")

QUALITIES = ("lossless", "transparent", "balanced", "small")
CODERS = ("arithmetic", "rans", "huffman")
DIMENSIONS = (1, 2, 4, 8)


def combinations():
    """(model, quality, coder, dimension): all of them for the small one, single steps from the default for the others."""
    for coder in CODERS:
        yield "small-16", "lossless", coder, 1
        for quality in QUALITIES[1:]:
            for dimension in DIMENSIONS[:2]:
                yield "small-16", quality, coder, dimension
    for dimension in DIMENSIONS[2:]:
        yield "small-16", "transparent", "arithmetic", dimension
    for quality in QUALITIES:
        yield "resnet20-shapes", quality, "arithmetic", 1
    for coder in CODERS[1:]:
        yield "resnet20-shapes", "transparent", coder, 1
    for quality in ("transparent", "small"):
        yield "resnet32-cifar10", quality, "arithmetic", 1


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def measure(quench, file, model):
    """Bytes of `file`, and the decibels of its outputs against the model's; the same to the bit is `exact`."""
    report = json.loads(run(quench, "eval", file, "--against", model, "--json"))
    return str(os.path.getsize(file)), "exact" if report["identical"] else f"{report['snr_db']:.1f}"


def results(quench, write_small_model, folder):
    small = os.path.join(folder, "small-16.onnx")
    run(write_small_model, small, "16")
    out = os.path.join(folder, "out.quench")
    for name, quality, coder, dimension in combinations():
        model = small if name == "small-16" else os.path.join(MODELS, name + ".onnx")
        run(quench, "compress", model, "-o", out, "--quality", quality, "--coder", coder, "--dimension", str(dimension))
        yield (name, quality, coder, str(dimension), *measure(quench, out, model))
    bundled = os.path.join(MODELS, "resnet32-cifar10.quench")
    yield ("resnet32-cifar10.quench", "tuned", "", "", *measure(quench, bundled, bundled.replace(".quench", ".onnx")))


def is_close(was, now):
    if was[-1] == now[-1] == "exact" or "exact" not in (was[-1], now[-1]):
        same_snr = was[-1] == now[-1] or abs(float(was[-1]) - float(now[-1])) < 0.15
        return same_snr and abs(int(was[-2]) - int(now[-2])) <= int(was[-2]) / 1000
    return False


def compare(was, now):
    """Prints each row that differs; true if one differs by more than a processor explains."""
    key = len(COLUMNS) - 2
    before, after = ({row[:key]: row for row in rows} for rows in (was, now))
    fails = False
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        fails = fails or old is None or new is None or not is_close(old, new)
        print(" ".join(filter(None, name)) + ": " +
              " -> ".join(", ".join((row[-2] + " bytes", row[-1] + " dB")) if row else "none" for row in (old, new)))
    return fails


def main():
    quench, write_small_model = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        now = list(results(quench, write_small_model, folder))
    was = []
    if os.path.exists(FILE):
        with open(FILE, encoding="utf-8", newline="") as file:
            was = [tuple(row) for row in csv.reader(file)][1:]
    fails = compare(was, now)
    if "--update" in sys.argv[3:]:
        with open(FILE, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *now])
        return 0
    if fails:
        print("tests/results.csv says otherwise; if that is wanted: RESULTS=update tests/run.sh results")
    return 1 if fails else 0


sys.exit(main())
