#!/usr/bin/env python3
"""Files and folders of this tree that comments and pages name, by their path from the top, exist.

A path stands for itself or, without a suffix, for a file (runtime/kernels/registry). One with a capitalized part is a
placeholder (runtime/kernels/reference/FAMILY.cc).
"""
import os
import re
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TOPS = ("formats", "runtime", "compressor", "tests", "examples")
EXAMPLES = {"runtime/kernels/scale.cc"}
PATH = re.compile(r"(?<![\w./<-])(?:%s)(?:/[\w-]+)+(?:\.\w+)?(?![\w/*{-])" % "|".join(TOPS))


def texts():
    for top in (".github", *TOPS):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".h", ".hpp", ".cc", ".c", ".md", ".sh", ".txt", ".cmake")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)
    yield from ("README.md", "CMakeLists.txt", ".ci/run")


def exists(name):
    full = os.path.join(ROOT, name)
    if os.path.exists(full):
        return True
    folder, stem = os.path.split(full)
    return os.path.isdir(folder) and any(file.startswith(stem + ".") for file in os.listdir(folder))


def main():
    errors = []
    count = 0
    for path in texts():
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                for name in PATH.findall(line):
                    count += 1
                    if name not in EXAMPLES and not re.search("[A-Z]{4}", name.rsplit("/", 1)[1]) and not exists(name):
                        errors.append(f"{path}:{number}: there is no {name}")
    print("\n".join(errors) or f"{count} names")
    return 1 if errors else 0


sys.exit(main())
