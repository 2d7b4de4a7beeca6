#!/usr/bin/env python3
"""How near compressed models are to the original on real inputs, beside the same models with weights of 8 bits.

    tests/fidelity.py [--data] [--root FOLDER] [--json FILE] [--only PART] [--seeds 1,2,3]
                      [--option=--quality=small ...] LIST...

A LIST is a text file; a line of it is a model, the samples to measure on, those to calibrate on with --data, and options
of `quench` for both; paths are relative to --root or else the file's folder:

    faces.onnx | images/test | images/train | --scale 1 --mean 127 --std 128
    speech/model.onnx | speech/a.npz speech/b.npz | speech/c.npz

or a folder, for all folders in it with a model.onnx and samples real_*.npz: all to measure on, or, with --data, the
second half, while the first calibrates. Built with `cmake --build --preset dev --target quench write_int8_model`.

`from f32`: the ratio, had all weights been float32 in the model. 8 bits: rounded to nearest, a scale for each output channel, of the weights that get a codebook. SNR is that of the worst
output, the mean over the seeds of `compress`, beside the lowest: files that differ in their seed alone differ by 5 dB and
more. A model `holds` if it is as near as with 8 bits, or at 25 dB, and has at most 60 % of their bytes.
"""
import argparse
import glob
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build", "dev"))
QUENCH = os.path.join(BUILD, "compressor", "cli", "quench")
WRITE_INT8 = os.path.join(BUILD, "tests", "compressor", "compress", "write_int8_model")
ENOUGH_DB = 25
SHARE_OF_INT8 = 0.6


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}")
    return done.stdout


def place(folder, spec):
    """`cifar10:x` and `x=y` keep what is in front of the path."""
    front, path = re.fullmatch(r"([a-z0-9-]+:|\w+=(?=.*[/.]))?(.*)", spec).groups()
    return (front or "") + (spec if "=" in spec and not front else os.path.join(folder, path))


def models_of(source, root, calibrates):
    """(name, model, samples to measure on, samples to calibrate on, options)"""
    if os.path.isdir(source):
        for model in sorted(glob.glob(os.path.join(source, "*", "model.onnx"))):
            samples = sorted(glob.glob(os.path.join(os.path.dirname(model), "real_*.npz")))
            half = len(samples) // 2 if calibrates else 0
            if samples:
                yield os.path.basename(os.path.dirname(model)), model, samples[half:], samples[:half], []
        return
    folder = root or os.path.dirname(os.path.abspath(source))
    with open(source) as file:
        for line in file:
            if not line.strip() or line.startswith("#"):
                continue
            parts = [part.split() for part in (line.strip() + "|||").split("|")]
            model = os.path.join(folder, parts[0][0])
            yield (os.path.basename(model), model, [place(folder, spec) for spec in parts[1]],
                   [place(folder, spec) for spec in parts[2]], parts[3])


def snr_of(file, model, samples, options):
    """Decibels of the worst output; infinite where all are equal."""
    data = [argument for spec in samples for argument in ("--data", spec)]
    report = json.loads(run(QUENCH, "eval", file, "--against", model, "--json", *data, *options))
    decibels = [output.get("snr_db") for output in report["outputs"]]
    known = [value for value in decibels if value is not None]
    return min(known) if known else math.inf


def times_smaller_than_in_float32(report):
    """The ratio, had each weight of a shorter type taken 4 bytes in the model."""
    more = sum(max(0, 4 * tensor["elements"] - tensor["bytes_before"]) for tensor in report["tensors"]
               if tensor["type"] in ("float16", "bfloat16", "int8", "uint8"))
    return (report["input_bytes"] + more) / report["output_bytes"]


def measure(name, model, samples, calibrating, options, more, seeds, folder):
    row = {"model": name}
    out, int8 = os.path.join(folder, "out.quench"), os.path.join(folder, "int8.onnx")
    shapes = [o for pair in zip(options, options[1:]) if pair[0] in ("--shape", "--dim") for o in pair]
    data = [argument for spec in calibrating for argument in ("--data", spec)]
    started = time.time()
    reports, row["snrs_db"] = [], []
    for seed in seeds:
        reports.append(json.loads(run(QUENCH, "compress", model, "-o", out, "--json", "--seed", seed, *more,
                                      *(data + options if data else shapes))))
        row["snrs_db"].append(snr_of(out, model, samples, options))
    row["seconds"] = (time.time() - started) / len(seeds)
    for key, name_there in (("bytes", "output_bytes"), ("ratio", "ratio"), ("expected_db", "predicted_snr_db"),
                            ("least_db", "least_snr_db")):
        known = [report[name_there] for report in reports if report.get(name_there) is not None]
        row[key] = statistics.mean(known) if known else None
    row["from_float32"] = statistics.mean(times_smaller_than_in_float32(report) for report in reports)
    row["snr_db"] = statistics.mean(row["snrs_db"])
    row["int8_bytes"] = int(run(WRITE_INT8, model, int8))
    row["int8_db"] = snr_of(int8, model, samples, options)
    row["of_int8"] = row["bytes"] / row["int8_bytes"]
    near = row["snr_db"] >= min(row["int8_db"], ENOUGH_DB)
    row["verdict"] = "holds" if near and row["of_int8"] <= SHARE_OF_INT8 else "large" if near else "far"
    return row


def text(value, digits=1):
    return "-" if value is None else "exact" if value == math.inf else f"{value:.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", nargs="+", metavar="LIST")
    parser.add_argument("--data", action="store_true", help="calibrate on the other samples")
    parser.add_argument("--root", metavar="FOLDER", help="of the paths in lists")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--only", default="", help="models whose name has this in it")
    parser.add_argument("--seeds", default="1", type=lambda text: text.split(","), help="default 1")
    parser.add_argument("--option", action="append", default=[], help="of compress, e.g. --option=--quality=small")
    arguments = parser.parse_args()
    rows = []
    print(f"{'model':24} {'ratio':>6} {'from f32':>8} {'expected':>9} {'SNR':>6} {'lowest':>7} {'int8 SNR':>9} {'of int8':>8} {'s':>6}"
          "  verdict")
    for source in arguments.lists:
        for name, model, samples, calibrating, options in models_of(source, arguments.root, arguments.data):
            if arguments.only not in name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    row = measure(name, model, samples, calibrating if arguments.data else [], options, arguments.option,
                                  arguments.seeds, folder)
                except RuntimeError as error:
                    print(f"{name:24} {error}", flush=True)
                    rows.append({"model": name, "error": str(error)})
                    continue
            rows.append(row)
            print(f"{name:24} {row['ratio']:6.2f} {row['from_float32']:8.2f} {text(row['expected_db']):>9} {text(row['snr_db']):>6} "
                  f"{text(min(row['snrs_db'])):>7} "
                  f"{text(row['int8_db']):>9} {100 * row['of_int8']:6.1f} % {row['seconds']:6.1f}  {row['verdict']}",
                  flush=True)
    good = [row for row in rows if "ratio" in row]
    if good:
        below = [row["model"] for row in good if row["least_db"] is not None and row["snr_db"] < row["least_db"]]
        print(f"{sum(row['verdict'] == 'holds' for row in good)} of {len(rows)} hold; median ratio "
              f"{statistics.median(row['ratio'] for row in good):.2f}, from float32 "
              f"{statistics.median(row['from_float32'] for row in good):.2f}; less than was said to be the least: "
              f"{', '.join(below) or 'none'}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
