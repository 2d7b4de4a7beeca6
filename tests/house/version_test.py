#!/usr/bin/env python3
"""The version is told in several places: they must all tell the same."""
import os
import re
import sys

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def find(path, pattern):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        found = re.search(pattern, file.read(), re.M)
    if not found:
        sys.exit(f"{path}: has no line like {pattern}")
    return ".".join(found.groups())


HEADER = "runtime/include/quench/quench.h"
version = find("CMakeLists.txt", r"^project\(quench VERSION (\S+) ")
minor = ".".join(version.split(".")[:2])
told = [
    (HEADER, r"_VERSION_MAJOR (\d+)\n#define QUENCH_VERSION_MINOR (\d+)\n#define QUENCH_VERSION_PATCH (\d+)$", version),
    (HEADER, r'^/\* "([\d.]+)": the version of the library', version),
    ("tests/runtime/session/c_api_test.cc", r'quench_version\(\), "([\d.]+)"', version),
    ("tests/runtime/session/consumer/consumer.c", r'quench_version\(\), "([\d.]+)"', version),
    ("tests/runtime/session/consumer/CMakeLists.txt", r"find_package\(quench ([\d.]+) ", minor),
    (".github/CHANGELOG.md", r"^## ([\d.]+) \(\d{4}-\d\d-\d\d\)$", version),
]
wrong = [f"{path} says {find(path, pattern)}, CMakeLists.txt {version}" for path, pattern, wanted in told
         if find(path, pattern) != wanted]
print("\n".join(wrong) or version)
sys.exit(1 if wrong else 0)
