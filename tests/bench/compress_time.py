#!/usr/bin/env python3
"""What `quench compress` costs, by two builds of it in turns: user and system CPU seconds, peak memory, and bytes.

    compress_time.py [--rounds N] [--threads N] OLD NEW MODEL...

OLD and NEW: `quench` programs; MODEL: .onnx files. Each round runs OLD, then NEW, so that other work on the machine slows
both; the least of the rounds counts (default 1, by default on one thread). The last row is the geometric mean of the
ratios. A program that refuses a model has no figure there.
"""
import argparse
import math
import os
import subprocess
import tempfile


def compress(program, model, threads):
    """CPU seconds, peak memory in MiB and bytes of the file; None where the model is refused."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "x.quench")
        command = [program, "compress", model, "-o", output, "--threads", str(threads)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            return None
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, os.path.getsize(output)


def least(results):
    done = [each for each in results if each]
    return min(done) if done else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    print("| model | CPU s, old | new | new / old | MiB, old | new | bytes, old | new |")
    print("|---|---|---|---|---|---|---|---|")
    logarithms = []
    for model in options.models:
        results = [[], []]
        for _ in range(options.rounds):
            for program, into in zip((options.old, options.new), results):
                into.append(compress(program, model, options.threads))
        old, new = map(least, results)
        if old and new:
            logarithms.append(math.log(new[0] / old[0]))
        share = f"{new[0] / old[0]:.2f}" if old and new else ""
        pairs = [(f"{old[i]:.{d}f}" if old else "", f"{new[i]:.{d}f}" if new else "") for i, d in ((0, 1), (1, 0), (2, 0))]
        seconds, memory, size = pairs
        name = os.path.splitext(os.path.basename(model))[0]
        print("|", " | ".join((name, *seconds, share, *memory, *size)), "|", flush=True)
    if logarithms:
        print(f"| geometric mean of {len(logarithms)} | | | {math.exp(sum(logarithms) / len(logarithms)):.2f} | | | | |")


if __name__ == "__main__":
    main()
