#!/usr/bin/env python3
"""Prints the commands of a page: its ```sh blocks, one after the other, as a script that stops at the first failure.

    tests/readme.py README.md | bash
"""
import re
import sys

with open(sys.argv[1], encoding="utf-8") as page:
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read(), re.M | re.S)
print("set -euxo pipefail\n" + "\n".join(blocks))
