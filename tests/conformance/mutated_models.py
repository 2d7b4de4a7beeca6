#!/usr/bin/env python3
"""Mutates ONNX's official models and gives them to compress and unpack: no signal, no hang.

    tests/conformance/mutated_models.py QUENCH TESTDATA [COUNT [SEED]]

TESTDATA is the folder of libonnx-testdata. Each model gets one to three changes: a number becomes one of the edges of
numbers, a bit of a text or a value is turned, a field goes or is there twice. Exits with 1 where a command ends by a
signal, takes more than 10 s, or has an exit code other than 0 and 1; the models are then left in the working folder.
"""
import glob
import os
import random
import subprocess
import sys
import tempfile

NUMBERS = (0, 1, 2, 3, 5, 7, 127, 255, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
           (1 << 64) - 2, (1 << 64) - (1 << 31))


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def parse(data):
    """The fields of a protobuf message: [field, wire type, value], where what could be a message is one; else None."""
    fields, at = [], 0
    try:
        while at < len(data):
            tag, at = varint(data, at)
            kind = tag & 7
            if tag >> 3 == 0 or kind in (3, 4, 6, 7):
                return None
            if kind == 0:
                value, at = varint(data, at)
            else:
                length, at = varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)
                value, at = data[at:at + length], at + length
                if at > len(data):
                    return None
                value = (parse(value) if kind == 2 and len(value) > 1 else None) or value
            fields.append([tag >> 3, kind, value])
    except IndexError:
        return None
    return fields


def write_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def serialize(fields):
    out = b""
    for field, kind, value in fields:
        out += write_varint(field << 3 | kind)
        value = serialize(value) if isinstance(value, list) else value
        out += write_varint(value) if kind == 0 else (write_varint(len(value)) if kind == 2 else b"") + value
    return out


def lists_of(fields):
    yield fields
    for _, _, value in fields:
        if isinstance(value, list):
            yield from lists_of(value)


def mutated(data, chance):
    fields = parse(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.choice([part for part in lists_of(fields) if part])
        number = chance.randrange(len(place))
        kind, value = place[number][1:]
        if chance.randrange(4) == 0:
            chance.choice((place.pop, lambda n, p=place: p.append(p[n])))(number)
        elif kind == 0:
            place[number][2] = chance.choice(NUMBERS)
        elif isinstance(value, bytes) and value:
            value = bytearray(value)
            value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
            place[number][2] = bytes(value)
    return serialize(fields)


def run(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return "takes more than 10 s"
    if done.returncode in (0, 1):
        return None
    return f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[:200]}"


def main():
    quench, testdata = sys.argv[1:3]
    count, seed = (int(text) for text in (sys.argv[3:] + ["30", "1"][len(sys.argv) - 3:])[:2])
    models = sorted(glob.glob(os.path.join(testdata, "**", "model.onnx"), recursive=True))
    chance = random.Random(seed)
    faults = compressed = 0
    with tempfile.TemporaryDirectory() as folder:
        model, small, again = (os.path.join(folder, name) for name in ("m.onnx", "m.quench", "again.onnx"))
        for number in range(count):
            path = chance.choice(models)
            with open(path, "rb") as file:
                data = mutated(file.read(), chance)
            with open(model, "wb") as file:
                file.write(data)
            if os.path.exists(small):
                os.remove(small)
            fault = run(quench, "compress", model, "-o", small, "--threads", "1")
            if os.path.exists(small):
                compressed += 1
                fault = fault or run(quench, "unpack", small, "-o", again)
            if fault:
                faults += 1
                kept = f"fault-{seed}-{number}.onnx"
                with open(kept, "wb") as file:
                    file.write(data)
                print(f"{kept} (from {path}): {fault}")
    print(f"{count} models, {compressed} compressed and unpacked, {faults} faults")
    return 1 if faults or not models else 0


if __name__ == "__main__":
    sys.exit(main())
