#!/usr/bin/env python3
"""compressor/cli/README.md has every option that --help has, and no other.

    page_test.py QUENCH [--without-training]

A command's options are those in the tables below its heading and below the headings that its text links to; where it has
commands of its own, they are those of all of these.
"""
import os
import re
import subprocess
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../compressor/cli/README.md")


def help_of(quench, *command):
    return subprocess.run([quench, *command, "--help"], check=True, capture_output=True, text=True).stdout


def options_in_help(text):
    """`-o,--output OUT REQUIRED   the file`: the names that begin a line, without those of every command."""
    options = set()
    for names in re.findall(r"^  (-[-\w,]*)", text, re.M):
        options |= set(names.split(","))
    return options - {"-h", "--help"}


def commands_in_help(text):
    return re.findall(r"^  (\w+)  ", text.partition("Subcommands:")[2], re.M)


def options_of(quench, command, left_out):
    text = help_of(quench, command)
    return options_in_help(text).union(*(options_in_help(help_of(quench, command, own))
                                         for own in commands_in_help(text) if f"{command}-{own}" not in left_out))


def sections_of(page):
    parts = re.split(r"^## (.+)\n", page, flags=re.M)
    return {heading.lower().replace(" ", "-"): text for heading, text in zip(parts[1::2], parts[2::2])}


def options_in(text):
    """`-o`, `--output OUT` in the first cell of a table's row."""
    options = set()
    for cell in re.findall(r"^\| (`.*?) \| ", text, re.M):
        options |= set(re.findall(r"`(-[-\w]*)", cell))
    return options


def main():
    quench = sys.argv[1]
    left_out = ("tune", "train", "codec-train") if "--without-training" in sys.argv[2:] else ()
    with open(PAGE, encoding="utf-8") as file:
        sections = sections_of(file.read())
    commands = commands_in_help(help_of(quench))
    errors = []
    for command in commands:
        if command in left_out:
            print(f"not looked at, as LibTorch is not here: {command}")
            continue
        if command not in sections:
            errors.append(f"{command}: has no section")
            continue
        text = sections[command]
        told = options_in(text)
        for link in re.findall(r"\]\(#([-\w]+)\)", text):
            told |= options_in(sections[link]) if link not in left_out else set()
        real = options_of(quench, command, left_out)
        errors += [f"{command}: {option} is in --help and not on the page" for option in sorted(real - told)]
        errors += [f"{command}: {option} is on the page and not in --help" for option in sorted(told - real)]
    print("\n".join(errors) or f"{len(commands)} commands as the page says")
    return 1 if errors else 0


sys.exit(main())
