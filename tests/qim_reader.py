#!/usr/bin/env python3
"""A second reader of .qim files, written from formats/image/QIM.md and what that names of STREAMS.md alone.

    qim_reader.py PRIOR FILE INDICES OPACITIES     exit 1 unless FILE decodes to what has these CRCs, in hexadecimal

PRIOR holds the codec's prior. The CRCs are of all tiles' indices, one after the other, and of their opacities. It is slow and
plain, and shares nothing with the reader in C++.
"""
import sys

from second_reader import Cursor, RangeDecoder, Refused, ceil_div, clamp, contexts_of, crc32c, need

SIDE = 128

UPPER = []
power = 1 << 32
for _ in range(2816):
    UPPER.append((1 << 48) // ((1 << 32) + power))
    power = power * 4278222805 >> 32


def squash(x):
    x = clamp(x, -2815, 2815)
    return UPPER[x] if x >= 0 else 65536 - UPPER[-x]


LOGITS = [0] * 4096
logit = 0
for step in range(2048, 4096):
    while squash(logit) < 16 * step + 8:
        logit += 1
    LOGITS[step], LOGITS[4095 - step] = logit, -logit


def log(x, k):
    top = x.bit_length() - 1
    return (top << k) + ((x << k >> top) % (1 << k))


class Estimate:
    def __init__(self, logit):
        self.p, self.n = clamp(squash(logit), 32, 65503), 3

    def update(self, bit):
        self.p += ((65503 if bit else 32) - self.p) * (131072 // (2 * self.n + 3)) >> 16
        self.n = min(self.n + 1, 255)


class Tile:
    def __init__(self, data, prior, channels, levels, zero, height, width):
        self.range, self.prior = RangeDecoder(data), prior
        self.channels, self.levels, self.zero, self.height, self.width = channels, levels, zero, height, width
        self.levels_of, self.distances_of = ([[[0] * width for _ in range(height)] for _ in range(channels)]
                                             for _ in range(2))
        self.weights = [[8192] * 10 for _ in range(levels - 1)]
        self.shared = {}

    def at(self, planes, channel, y, x):
        inside = channel >= 0 and 0 <= y < self.height and 0 <= x < self.width
        return planes[channel][y][x] if inside else 0

    def sum(self, which, channel, y, x):
        total = 0
        for j in range(channel):
            s, r = self.at(self.levels_of, j, y, x), self.at(self.distances_of, j, y, x)
            total += self.w[13 + 5 * j + which] * (abs(r) if which < 2 else s)
        return (total + 32768) % 65536 - 32768

    def contexts(self, k, y, x):
        around = [(k, y + dy, x + dx) for dy, dx in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0))]
        n, r = ([self.at(planes, *place) for place in around] for planes in (self.levels_of, self.distances_of))
        left, right, up, down = (k, y, x - 1), (k, y, x + 1), (k, y - 1, x), (k, y + 1, x)
        m = self.w[0] + self.sum(0, k, y, x) + sum(self.sum(1, *place) for place in (left, right, up, down))
        m += sum(self.w[1 + i] * abs(r[i]) for i in range(6))
        p = self.sum(2, k, y, x) + self.sum(3, *right) - self.sum(3, *left) + self.sum(4, *down) - self.sum(4, *up)
        p += sum(self.w[7 + i] * n[i] for i in range(6))
        m, p = max(m, 0) << 10 - self.shifts[0], p * (1 << 10 - self.shifts[1])
        center = clamp(p + 512 >> 10, -self.zero, self.levels - 1 - self.zero) if self.predicted else 0
        v = p - 1024 * center
        f = min(log(m + 16, 2) - 16, 39)
        a, g = min(f // 2, 15), min(log(abs(v) + 64, 1) - 12, 11)

        def c(value, most):
            return clamp(value, -most, most) + most

        s = [self.at(self.distances_of, k - i, y, x) for i in (1, 2, 3, 4)]
        return center, a, (0, (11 - g if v < 0 else 11 + g) * 16 + a, c(v + 128 >> 8, 31), f, c(s[0], 3) * 7 + c(s[1], 3),
                   c(s[2], 3) * 7 + c(s[3], 3),
                   ((c(r[0], 1) * 3 + c(r[1], 1)) * 3 + c(r[2], 1)) * 3 + c(r[3], 1))

    def decide(self, activity, values, node):
        q = (self.probabilities[activity * (self.levels - 1) + node] - 128) * 16
        used = []
        for number, value in enumerate(values):
            used.append(self.own.setdefault((number, value, node), None) or Estimate(q))
            self.own[number, value, node] = used[-1]
        place = (clamp(q + 2048 >> 8, 0, 15), activity, node)
        used.append(self.shared.get(place) or Estimate(q))
        self.shared[place] = used[-1]
        inputs = [LOGITS[estimate.p >> 4] for estimate in used] + [q, 256]
        weights = self.weights[node]
        p = squash(clamp(sum(w * v for w, v in zip(weights, inputs)) >> 16, -2815, 2815))
        bit = self.range.decide(p)
        error = 65536 * bit - p
        for i, v in enumerate(inputs):
            weights[i] = clamp(weights[i] + (v * error * 6 >> 18), -(1 << 20), 1 << 20)
        for estimate in used:
            estimate.update(bit)
        return bit

    def symbol(self, center, activity, values):
        above, below = self.levels - 1 - self.zero - center, self.zero + center
        if self.decide(activity, values, 0):
            return center
        up = self.decide(activity, values, 1) if above > 0 and below > 0 else above > 0
        nodes_above, nodes_below = self.levels - 2 - self.zero, self.zero - 1
        first = 2 if 0 < self.zero < self.levels - 1 else 1
        first, nodes = (first, nodes_above) if up else (first + max(nodes_above, 0), nodes_below)
        distance = 1
        while distance < (above if up else below) and not self.decide(activity, values, first + min(distance, nodes) - 1):
            distance += 1
        return center + distance if up else center - distance

    def decode(self):
        out = bytearray()
        rows = len(self.prior) // self.channels // (self.levels - 1)
        for k in range(self.channels):
            part = self.prior[k * rows * (self.levels - 1) :]
            self.probabilities, rest = part, part[16 * (self.levels - 1) :]
            self.shifts = [min(rest[0], 10), min(rest[1], 10)]
            self.predicted = rest[2] % 2 == 1 and self.levels - 2 - self.zero > 0 and self.zero > 1
            self.w = [byte - 128 for byte in rest[3 : 16 + 5 * k]]
            self.own = {}
            for y in range(self.height):
                for x in range(self.width):
                    center, activity, values = self.contexts(k, y, x)
                    level = self.symbol(center, activity, values)
                    self.levels_of[k][y][x] = level
                    self.distances_of[k][y][x] = clamp(level - center, -127, 127)
                    out.append(level + self.zero)
        self.range.finish()
        return bytes(out)


def opacities(data, height, width):
    decoder = RangeDecoder(data)
    is_left, is_above, lists = contexts_of(32768, 0), contexts_of(32768, 0), [contexts_of(32768, 0) for _ in range(4)]
    plane = [[255] * width for _ in range(height)]

    def pixel(y, x):
        return plane[y][x] if 0 <= y and 0 <= x < width else 255

    for y in range(height):
        for x in range(width):
            left, above, corner, right = pixel(y, x - 1), pixel(y - 1, x), pixel(y - 1, x - 1), pixel(y - 1, x + 1)
            shape = (4 * (left == above) + 2 * (above == corner) + (above == right)) * 3
            shape += 0 if left == 0 else 1 if left == 255 else 2
            steep = abs(left - corner) + abs(above - corner)
            slope = sum(step <= steep for step in (4, 16, 64))
            if decoder.steady(is_left[shape]):
                plane[y][x] = left
            elif above != left and decoder.steady(is_above[shape]):
                plane[y][x] = above
            else:
                plane[y][x] = (clamp(left + above - corner, 0, 255) + decoder.tree(decoder.steady, lists[slope], 256)) % 256
    decoder.finish()
    return b"".join(bytes(row) for row in plane)


def read(file, prior):
    need(file[:4] == b"\x89QIM" and file[4] == 1 and file[5] < 4, "no .qim file of this version")
    need(int.from_bytes(file[-4:], "little") == crc32c(file[:-4]), "the checksum")
    cursor = Cursor(file[:-4])
    cursor.take(5)
    flags, width, height = cursor.number(1), cursor.varint(), cursor.varint()
    cursor.take(2)
    numbers = cursor.take(3)
    channels, levels, zero = numbers[0] + 1, numbers[1], numbers[2]
    need(cursor.number(4) == crc32c(numbers + prior), "another codec")
    rows, columns = ceil_div(height, 8), ceil_div(width, 8)
    tiles = [(top, left, min(SIDE, rows - top), min(SIDE, columns - left))
             for top in range(0, rows, SIDE) for left in range(0, columns, SIDE)]
    lengths = [cursor.varint() for _ in range(len(tiles) * (2 if flags & 2 else 1))]
    streams = [cursor.take(length) for length in lengths]
    need(cursor.left() == 0, "bytes are left over")
    indices = b"".join(Tile(data, prior, channels, levels, zero, tile[2], tile[3]).decode()
                       for data, tile in zip(streams, tiles))
    alpha = b"".join(opacities(data, min(8 * tile[2], height - 8 * tile[0]), min(8 * tile[3], width - 8 * tile[1]))
                     for data, tile in zip(streams[len(tiles) :], tiles))
    return indices, alpha


def main():
    prior, file = (open(path, "rb").read() for path in sys.argv[1:3])
    try:
        indices, alpha = read(file, prior)
    except Refused as error:
        sys.exit(f"{sys.argv[2]}: {error}")
    found = [f"{crc32c(part):08x}" for part in (indices, alpha)]
    print(f"{len(indices)} indices {found[0]}, {len(alpha)} opacities {found[1]}")
    if found != sys.argv[3:5]:
        sys.exit(f"{sys.argv[2]}: decodes to something else")


main()
