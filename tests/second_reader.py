#!/usr/bin/env python3
"""A second reader of .quench files, written from formats/container/FORMAT.md and formats/entropy/STREAMS.md alone.

    second_reader.py [--names] FILE...      print sums of all that the files decode to
    second_reader.py --compare SUMS FILE... compare with what was printed before; exit 1 where a line differs

It is slow and plain, shares nothing with the C++ reader, and prints the lines that container_dump in
tests/formats/container prints: where the two differ, one of them or one of the pages is wrong. --names reads the graph,
too, for the tensors' names and shapes, and checks that they fit the tensors.
"""
import struct
import sys
from array import array
from collections import defaultdict


class Refused(Exception):
    """The file is corrupt, or has what this reader does not know."""


def need(condition, what):
    if not condition:
        raise Refused(what)


def clamp(value, low, high):
    return low if value < low else high if value > high else value


def ceil_div(a, b):
    return (a + b - 1) // b


CRC_TABLE = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    CRC_TABLE.append(number)


def crc32c(data):
    crc, table = 0xFFFFFFFF, CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


class Cursor:
    def __init__(self, data):
        self.data, self.position = data, 0

    def left(self):
        return len(self.data) - self.position

    def take(self, size):
        need(size <= self.left(), "bytes are missing")
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.number(1)
            value |= (byte & 127) << shift
            if byte < 128:
                need((byte or shift == 0) and value < 1 << 64, "a varint is too long")
                return value
        raise Refused("a varint is too long")

    def signed_varint(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)


# STREAMS.md 1: binary decisions.

HALF = 32768


class RangeDecoder:
    def __init__(self, data):
        self.data, self.taken = data, 8
        self.padded = data + bytes(64)
        self.range = (1 << 64) - 1
        self.code = int.from_bytes(self.padded[:8], "big")

    def renormalize(self):
        if self.range < 1 << 32:
            self.range <<= 32
            word = self.padded[self.taken : self.taken + 4]
            self.code = self.code << 32 | int.from_bytes(word + bytes(4 - len(word)), "big")
            self.taken += 4

    def decide(self, probability):
        bound = (self.range >> 16) * probability
        if self.code < bound:
            self.range, bit = bound, 1
        else:
            self.code -= bound
            self.range, bit = self.range - bound, 0
        if self.range < 1 << 32:
            self.renormalize()
        return bit

    def raw(self, count):
        if count == 0:
            return 0
        unit, last = self.range >> count, (1 << count) - 1
        value = min(self.code // unit, last)
        self.code -= value * unit
        self.range = self.range - value * unit if value == last else unit
        self.renormalize()
        return value

    def adaptive(self, context):
        fast, slow = context
        bit = self.decide(fast + slow >> 1)
        if bit:
            context[0], context[1] = fast + (65535 - fast >> 6), slow + (65535 - slow >> 9)
        else:
            context[0], context[1] = fast - (fast >> 6), slow - (slow >> 9)
        return bit

    def quick(self, context):
        bit = self.decide(context[0])
        update_quick(context, bit)
        return bit

    def steady(self, context):
        bit = self.decide(context[0])
        context[0] += ((65504 if bit else 32) - context[0]) * (131072 // (2 * context[1] + 3)) >> 16
        context[1] = min(context[1] + 1, 200)
        return bit

    def tree(self, decision, contexts, leaves):
        node = 1
        while node < leaves:
            node = 2 * node + decision(contexts[node])
        return node - leaves

    def finish(self):
        least = self.taken - 8
        need(least <= len(self.data) <= self.taken, "the range coder's bytes are too few or too many")
        need(len(self.data) == least or self.data[-1] != 0, "the range coder's bytes end in a zero")
        value = int.from_bytes((self.data + bytes(8))[least : least + 8], "big")
        need(self.code < self.range, "the range coder's end")
        if value:
            zeros = 0
            while value % (1 << zeros + 8) == 0:
                zeros += 8
            unit = 1 << zeros + 8
            need(self.code < 1 << zeros, "the range coder's end")
            need(value % unit > self.code and unit - value % unit >= self.range - self.code, "the range coder's end")


def update_quick(context, bit):
    probability, count = context
    rate = 131072 // (2 * count + 3) if count < 15 else 2730
    context[0] = probability + (((65472 if bit else 64) - probability) * rate >> 16) & ~15
    context[1] = min(count + 1, 15)


def contexts_of(*start):
    """Contexts by any name, each made when it is first used."""
    return defaultdict(lambda: list(start))


def lists_of(*start):
    return defaultdict(lambda: contexts_of(*start))


# STREAMS.md 2: bytes.


def decode_bytes(coded, size):
    need(coded, "bytes without a mode")
    mode, rest = coded[0], coded[1:]
    if mode == 0:
        need(len(rest) == size, "stored bytes are too few or too many")
        return rest
    need(mode <= 3, "an unknown mode of bytes")
    decoder, out = RangeDecoder(rest), bytearray()
    if mode == 1:
        contexts = contexts_of(HALF, 0)
        while len(out) < size:
            out.append(decoder.tree(decoder.steady, contexts, 256))
    elif mode == 2:
        lists = lists_of(HALF, 0)
        while len(out) < size:
            out.append(decoder.tree(decoder.quick, lists[out[-1] if out else 0], 256))
    else:
        decode_matches(decoder, out, size)
    decoder.finish()
    return bytes(out)


def decode_matches(decoder, out, size):
    is_match, is_repeat, repeat, is_long = (contexts_of(HALF, 0) for _ in range(4))
    exponent, mantissa, low_distance = (contexts_of(HALF, 0) for _ in range(3))
    short_length, slots, literal0, literal1 = (lists_of(HALF, 0) for _ in range(4))
    quick, history, distances = decoder.quick, 0, [0, 0, 0, 0]
    while len(out) < size:
        if not quick(is_match[history]):
            list0, list1, node = literal0[history % 3], literal1[out[-1] if out else 0], 1
            while node < 256:
                context0, context1 = list0[node], list1[node]
                bit = decoder.decide((context1 if context1[1] >= 2 else context0)[0])
                update_quick(context0, bit)
                update_quick(context1, bit)
                node = 2 * node + bit
            out.append(node - 256)
            history = history * 3 % 9
            continue
        repeats, where = quick(is_repeat[history]), 0
        while repeats and where < 3 and quick(repeat[history, where]):
            where += 1
        if not quick(is_long[repeats]):
            length = 2 + decoder.tree(quick, short_length[repeats], 16)
        else:
            bits, value = 0, 1
            while bits < 15 and quick(exponent[repeats, bits]):
                bits += 1
            if bits:
                value = 2 + quick(mantissa[repeats, bits])
                value = value << bits - 1 | decoder.raw(bits - 1)
            length = 17 + value
        if repeats:
            distance = distances.pop(where)
        else:
            distance = decoder.tree(quick, slots[min(length - 2, 3)], 64)
            if distance >= 4:
                slot, bits, rest = distance, distance // 2 - 1, 0
                if bits > 2:
                    upper = max(bits - 18, 0)
                    rest = decoder.raw(upper)
                    rest = rest << bits - 2 - upper | decoder.raw(bits - 2 - upper)
                for i in range(min(bits, 2)):
                    rest = rest << 1 | quick(low_distance[slot, i])
                distance = (2 + slot % 2 << bits) + rest
            distances.pop()
        distances.insert(0, distance)
        need(distance < len(out) and length <= size - len(out), "a match reaches beyond the bytes")
        for _ in range(length):
            out.append(out[-distance - 1])
        history = (history * 3 + 1 + repeats) % 9


# STREAMS.md 3: index streams.

LONGEST = 262144


def chunks_of(rows, channels, inner):
    """The first symbol, rows, channels and inner of each chunk."""
    if channels * inner <= LONGEST:
        step = LONGEST // (channels * inner)
        return [(r * channels * inner, min(step, rows - r), channels, inner) for r in range(0, rows, step)]
    if inner <= LONGEST:
        step = LONGEST // inner
        return [((r * channels + c) * inner, 1, min(step, channels - c), inner)
                for r in range(rows) for c in range(0, channels, step)]
    return [(r * inner + i, 1, 1, min(LONGEST, inner - i))
            for r in range(rows * channels) for i in range(0, inner, LONGEST)]


def split(stream, count):
    """The bytes of each chunk, by the ends before them."""
    if count == 1:
        return [stream]
    cursor = Cursor(stream)
    ends = [cursor.number(8) for _ in range(count)]
    need(ends == sorted(ends) and ends[-1] == cursor.left(), "the ends of chunks contradict themselves")
    return [cursor.take(end - begin) for begin, end in zip([0] + ends, ends)]


DOWN_COLUMNS, ALONG_ROWS = 1, 2
NEXT_STATE = ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5))


def follow_trellis(symbols, rows, channels, inner, trellis):
    """The indices of a chunk of symbols."""
    width, indices = channels * inner, []
    states = [0] * width
    for i, symbol in enumerate(symbols):
        if trellis == ALONG_ROWS and i % width == 0:
            states[0] = 0
        column = i % width if trellis == DOWN_COLUMNS else 0
        indices.append(2 * symbol + states[column] % 2)
        states[column] = NEXT_STATE[states[column]][symbol % 2]
    return indices


def decode_indices(model, stream, layout, alphabet, zero, trellis):
    if trellis:
        need(alphabet % 2 == 0 and zero % 2 == 0, "an odd codebook with a trellis")
        alphabet, zero = alphabet // 2, zero // 2
    indices, chunks = array("H", bytes(2 * layout[0] * layout[1] * layout[2])), chunks_of(*layout)
    for (first, *shape), data in zip(chunks, split(stream, len(chunks))):
        if alphabet == 1:
            need(not data, "a stream of a single symbol has bytes")
            levels = [-zero] * (shape[0] * shape[1] * shape[2])
        else:
            levels = model.decode(data, *shape, zero)
        need(min(levels) >= -zero and max(levels) < alphabet - zero, "an index lies outside the alphabet")
        symbols = [level + zero for level in levels]
        decoded = follow_trellis(symbols, *shape, trellis) if trellis else symbols
        indices[first : first + len(decoded)] = array("H", decoded)
    return indices


def kernel_of(channels, inner):
    """K, W and the channels that go with them."""
    if inner > 64:
        return 1, 1, channels * inner
    return inner, next((w for w in range(2, 9) if w * w == inner), inner), channels


def shift_of(channels):
    shift = 0
    while channels - 1 >> shift >= 4096:
        shift += 1
    return shift


class Huffman:
    def __init__(self, body):
        tokens, first = struct.unpack("<Hh", body[:4])
        need(2 <= tokens <= 1024 and -512 <= first <= 0, "tokens out of range")
        decoder, lists, length = RangeDecoder(body[4:]), lists_of(HALF, HALF), 0
        lengths = []
        for _ in range(tokens):
            length = decoder.tree(decoder.adaptive, lists[length], 16)
            need(length <= 12, "a code is too long")
            lengths.append(length)
        decoder.finish()
        need(sum(4096 >> length for length in lengths if length) == 4096 and length, "codes are not complete")
        self.levels, code = {}, 0  # by length and code; None is the escape
        for length in range(1, 13):
            for token in range(tokens):
                if lengths[token] == length:
                    self.levels[length, code] = first + token if token < tokens - 1 else None
                    code += 1
            code <<= 1

    def decode(self, data, rows, channels, inner, _):
        count = rows * channels * inner
        runs, cursor = 4 if count >= 512 else 1, Cursor(data)
        sizes, levels = [cursor.varint() for _ in range(runs - 1)], []
        for run in range(runs):
            data = cursor.take(sizes[run] if run < runs - 1 else cursor.left())
            bits, position = int.from_bytes(data, "little"), 0
            for _ in range(ceil_div(count * run, runs), ceil_div(count * (run + 1), runs)):
                length = code = 0
                while (length, code) not in self.levels:
                    code, length, position = code << 1 | bits >> position & 1, length + 1, position + 1
                level = self.levels[length, code]
                if level is None:
                    width = bits >> position & 31
                    need(width <= 17, "an escape is too wide")
                    value = bits >> position + 5 & (1 << width) - 1
                    level, position = value >> 1 ^ -(value & 1), position + 5 + width
                levels.append(level)
            need(len(data) == ceil_div(position, 8) and bits >> position == 0, "bits are left over")
        return levels


def bits_of(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


class Rans:
    def __init__(self, body):
        need(body and body[0] < 32, "too many tables")
        self.first, tables = -127 if body[0] & 1 else 0, (body[0] >> 1) + 1
        decoder, lists, widths = RangeDecoder(body[1:]), lists_of(HALF, HALF), lists_of(HALF, HALF)
        self.table_of, before = [], 0
        for _ in range(128):
            before = decoder.tree(decoder.adaptive, lists[before], 16)
            need(before < tables, "a table is missing")
            self.table_of.append(before)
        self.slots = []  # of each table: token, frequency and distance from the token's start, by x
        for _ in range(tables):
            slots, width, frequency = [], 0, 0
            for token in range(256):
                width = decoder.tree(decoder.adaptive, widths[width], 16)
                need(width <= 12, "a frequency is too large")
                frequency = 1 << width - 1 | decoder.raw(width - 1) if width else 0
                slots += [(token, frequency, i) for i in range(frequency)]
            need(len(slots) == 2048 and frequency, "frequencies do not sum to 2048")
            self.slots.append(slots)
        decoder.finish()

    def decode(self, data, rows, channels, inner, zero):
        symbols = rows * channels * inner
        kernel, side, channels = kernel_of(channels, inner)
        wanted = 32 if symbols >= 16384 else 16 if symbols >= 4096 else 8
        segments = clamp(ceil_div(wanted, rows), 1, max(1, channels // 128))
        segment = ceil_div(channels, segments)
        segments = ceil_div(channels, segment)
        lines = rows * segments
        lanes = min(wanted, lines)
        cursor = Cursor(data)
        states = [cursor.number(4) for _ in range(lanes)]
        need(min(states) >= 65536, "a state is too small")
        levels, shift = [0] * symbols, shift_of(segment)
        sums, total, count, seen = [0] * 4096, 0, 0, 0
        short = [0] * lanes
        for block in range(0, lines, lanes):
            here = range(min(lanes, lines - block))
            rowcount, rowsum = 0, [0] * lanes
            width_of = [min(segment, channels - (block + i) % segments * segment) for i in here]
            first_of = [((block + i) // segments * channels + (block + i) % segments * segment) * kernel for i in here]
            for channel in range(segment):
                if kernel > 1 or channel % 8 == 0:
                    mean = (total + 8) * 16 // (count + 8) + 1
                if channel == 0:
                    short = [(mean - 1) * 4] * lanes
                channelsum = [0] * lanes
                active = [i for i in here if channel < width_of[i]]
                near = [[0] * kernel for _ in range(lanes)]
                for p in range(kernel):
                    if p % side == 0:
                        m, n = mean * 8, 8
                        if segments == 1:
                            m += (sums[channel >> shift] + sum(channelsum)) * 16
                            n += (seen * kernel << shift) + p * len(active)
                        m += n // 2
                        scale = bits_of(m) - bits_of(n) - bits_of(mean) - bits_of(rowcount + 8)
                        scale += bits_of(4) + bits_of(1)
                        base = [self.base(rowsum[i] * 16 + mean * 8 + (rowcount + 8) // 2, scale) for i in range(lanes)]
                    has_left, has_upper = p % side != 0, p >= side
                    n = p + 2 + has_left + has_upper
                    escaped, found = [], {}
                    for i in active:
                        left = near[i][p - 1] if has_left else 0
                        upper = near[i][p - side] if has_upper else 0
                        corner = near[i][p - side - 1] if has_left and has_upper else 0
                        if kernel == 1:
                            v = base[i] * 45 + short[i] * 19
                        else:
                            v = base[i] * (45 + 38 // n) + (channelsum[i] + abs(left) + abs(upper)) * (1216 // n)
                        guess = 8 * left + 6 * upper - 3 * corner if kernel > 1 and zero else 0
                        context = clamp((bits_of(v) >> 22) - 272, 0, 15) * 8 + min(abs(guess) + 4 >> 3, 7)
                        token, frequency, distance = self.slots[self.table_of[context]][states[i] % 2048]
                        states[i] = frequency * (states[i] >> 11) + distance
                        if states[i] < 65536:
                            states[i] = states[i] << 16 | cursor.number(2)
                        if token == 255:
                            escaped.append(i)
                        found[i] = -(token + self.first) if guess < 0 else token + self.first
                    for i in escaped:
                        found[i] = cursor.number(2) - zero
                    for i, level in found.items():
                        levels[first_of[i] + channel * kernel + p] = level
                        near[i][p] = clamp(level, -127, 127)
                        size = abs(near[i][p])
                        channelsum[i] += size
                        short[i] += size * 16 - (short[i] >> 2)
                together = sum(channelsum)
                rowsum = [a + b for a, b in zip(rowsum, channelsum)]
                sums[channel >> shift] += together
                total, count, rowcount = total + together, count + len(active) * kernel, rowcount + kernel
            seen += len(here)
        need(cursor.left() == 0 and all(state == 65536 for state in states), "the final state of rANS")
        return levels

    @staticmethod
    def base(row, scale):
        bits = (bits_of(row) + scale) % (1 << 32)
        bits = clamp(bits - (1 << 32) if bits >> 31 else bits, 0x3F800000, 0x48000000)
        return int(struct.unpack("<f", struct.pack("<I", bits))[0])


STEPS = [22, 28, 36, 47, 60, 77, 98, 126, 162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108, 3938,
         4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941,
         53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097,
         65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508]
CONTRARY, ABOVE, TAIL = 128, 256, 3840  # where the lists begin; zero begins at 0


class Arithmetic:
    def __init__(self, body):
        decoder, steps, has_changed = RangeDecoder(body), [], 0
        changed, more, negative = contexts_of(HALF, HALF), contexts_of(HALF, HALF), [HALF, HALF]
        for i in range(4108):
            step = steps[i - 1] if i % 16 else steps[i - 16] if i >= 16 else 32
            has_changed = decoder.adaptive(changed[has_changed])
            if has_changed:
                down, n = decoder.adaptive(negative), 1
                while n < 64 and decoder.adaptive(more[n]):
                    n += 1
                step += -n if down else n
            need(0 <= step < 64, "a step is out of range")
            steps.append(step)
        decoder.finish()
        self.start = [STEPS[step] for step in steps]

    @staticmethod
    def tail(decoder, contexts, number):
        first, exponent = TAIL + 67 * number, 0
        while exponent < 16 and decoder.adaptive(contexts[first + exponent]):
            exponent += 1
        value = 1
        if exponent >= 1:
            bit = decoder.adaptive(contexts[first + 16 + 3 * exponent])
            value = 2 + bit
            if exponent >= 2:
                value = 2 * value + decoder.adaptive(contexts[first + 16 + 3 * exponent + 1 + bit])
                value = value << exponent - 2 | decoder.raw(exponent - 2)
        return value

    def level(self, decoder, contexts, scale, trust, is_signed, likely_negative):
        adaptive, where = decoder.adaptive, trust * 16 + scale
        if adaptive(contexts[where]):
            return 0
        contrary = adaptive(contexts[CONTRARY + where]) if is_signed else 0
        if scale >= 13:
            magnitude = self.tail(decoder, contexts, scale - 12)
        else:
            magnitude, where = 1, ABOVE + (contrary * 8 + trust) * 224 + scale
            while magnitude <= 14 and adaptive(contexts[where + 16 * magnitude - 16]):
                magnitude += 1
            if magnitude == 15:
                magnitude = 14 + self.tail(decoder, contexts, 0)
        return -magnitude if bool(contrary) != likely_negative else magnitude

    def decode(self, data, rows, channels, inner, zero):
        kernel, side, channels = kernel_of(channels, inner)
        is_signed, shift, levels = zero != 0, shift_of(channels), []
        decoder, contexts = RangeDecoder(data), [[start, start] for start in self.start]
        sums, total, seen = [0] * 4096, 0, 0
        distances = (1, side - 1, side, side + 1) if side < kernel else (1, 2, 3, 4)
        places = []
        for p in range(kernel):
            left, upper = p % side != 0, p >= side
            n = p + 2 + left + upper
            places.append((left, upper, 716 + 616 // n, 78848 // n,
                           [8192 * left, 0, 6554 * upper, -3277 * (left and upper)]))
        for _ in range(rows):
            scale_of_all = (total * 256 + 2048) // (seen * channels * kernel + 8) + 8
            inverse = (1 << 24) // scale_of_all
            inverse_channel = (1 << 32) // ((seen * kernel << shift) + 8)
            gain = min(inverse * inverse >> 15, 1 << 24)
            rowsum, rowcount, short = 0, 0, (scale_of_all - 8) * 2
            for channel in range(channels):
                if kernel > 1 or channel % 8 == 0:
                    rowscale = (rowsum * 256 + (scale_of_all - 8) * 8) // (rowcount + 8) + 8
                channelscale = ((sums[channel >> shift] * 256 + (scale_of_all - 8) * 8) * inverse_channel >> 32) + 8
                base = min(rowscale * channelscale * inverse >> 24, 1 << 18)
                kernelsum, near = 0, [0] * 9  # zeros before position 0
                for left, upper, base_weight, sum_weight, k in places:
                    trust = guess = 0
                    if kernel == 1:
                        x = base * 11 + short * 5 // 2 >> 4
                    else:
                        known = kernelsum + (abs(near[-1]) if left else 0) + (abs(near[-side]) if upper else 0)
                        x = base * base_weight + known * sum_weight >> 10
                        if is_signed:
                            taps = [near[-distance] for distance in distances]
                            guess = k[0] * taps[0] + k[1] * taps[1] + k[2] * taps[2] + k[3] * taps[3]
                            trust = min(abs(guess) + 4096 >> 13, 7)
                    n = max(x.bit_length(), 4)
                    scale = clamp(2 * n + (x >> n - 2) % 2 - 11, 0, 15)
                    level = self.level(decoder, contexts, scale, trust, is_signed, guess < 0)
                    levels.append(level)
                    q = clamp(level, -127, 127)
                    kernelsum += abs(q)
                    if kernel == 1:
                        short += abs(q) * 128 - (short >> 2)
                        continue
                    near.append(q)
                    if is_signed:
                        d = clamp((q * 16 - (guess >> 10)) * gain >> 16, -127, 127)
                        for i in range(4):
                            k[i] = (k[i] + d * taps[i] + 32768) % 65536 - 32768
                sums[channel >> shift] += kernelsum
                rowsum, rowcount = rowsum + kernelsum, rowcount + kernel
                if rowcount >= 4096:
                    rowsum, rowcount = rowsum >> 1, rowcount >> 1
            seen, total = seen + 1, sum(sums)
        decoder.finish()
        return levels


CODERS = {1: Huffman, 2: Rans, 3: Arithmetic}

# FORMAT.md.

# By number of TensorProto.DataType: bits of an element, bytes of a unit, whether units are rotated.
TYPES = {1: (32, 4, True), 2: (8, 1, False), 3: (8, 1, False), 4: (16, 2, False), 5: (16, 2, False), 6: (32, 4, False),
         7: (64, 8, False), 9: (8, 1, False), 10: (16, 2, False), 11: (64, 8, True), 12: (32, 4, False),
         13: (64, 8, False), 14: (64, 4, True), 15: (128, 8, True), 16: (16, 2, True), 17: (8, 1, False),
         18: (8, 1, False), 19: (8, 1, False), 20: (8, 1, False), 21: (4, 1, False), 22: (4, 1, False),
         23: (4, 1, False), 24: (8, 1, False), 25: (2, 1, False), 26: (2, 1, False)}
FLOAT32, FLOAT16, FLOAT64, BFLOAT16 = 1, 10, 11, 16
RAW, PLANES, DIFFERENCES, QUANTIZED = range(4)
GRAPH, CODEBOOKS, MODELS, TENSORS, STREAMS, METADATA, SCALES = range(1, 8)
UNITS = 131072


def float32_bytes(values):
    """Doubles rounded to float32, to nearest even; infinite where they are too large."""
    rounded = array("f", values)
    if sys.byteorder == "big":
        rounded.byteswap()
    return rounded.tobytes()


def float32(value):
    return array("f", [value])[0]


def narrow(values, kind):
    """The bytes of float32 values in a declared type."""
    if kind == FLOAT64:
        return struct.pack("<%dd" % len(values), *values)
    if kind == FLOAT16:  # struct refuses what rounds to infinity: 65520 and above
        inside = [v if abs(v) < 65520 else v * float("inf") for v in values]
        return struct.pack("<%de" % len(values), *inside)
    words = struct.unpack("<%dI" % len(values), float32_bytes(values))
    return b"".join((word + 0x7FFF + (word >> 16 & 1) >> 16).to_bytes(2, "little") for word in words)


def widen(data, kind):
    """The same as float32 bytes, from the bytes of a float type."""
    if kind == FLOAT64:
        return float32_bytes(struct.unpack("<%dd" % (len(data) // 8), data))
    halves = struct.unpack("<%dH" % (len(data) // 2), data)
    if kind == BFLOAT16:
        return b"".join((half << 16).to_bytes(4, "little") for half in halves)
    out = []
    for half in halves:
        sign, exponent, mantissa = half >> 15 << 31, half >> 10 & 31, half & 1023
        if exponent == 31:
            out.append(sign | 0x7F800000 | mantissa << 13)
        elif exponent:
            out.append(sign | exponent + 112 << 23 | mantissa << 13)
        else:
            out.append(sign | bits_of(mantissa * 2.0**-24))
    return struct.pack("<%dI" % len(out), *out)


def decode_planes(data, count, width):
    """The planes of a chunk, the most significant first."""
    cursor = Cursor(data)
    forms = cursor.number(2)
    need(forms >> 2 * width == 0, "more planes than the type has")
    forms = [forms >> 2 * p & 3 for p in range(width)]
    need(3 not in forms, "an unknown form of plane")
    sizes = [cursor.varint() if form == 1 else 0 for form in forms]
    planes = []
    for form, size in zip(forms, sizes):
        if form == 0:
            planes.append(cursor.take(count))
        elif form == 1:
            planes.append(decode_bytes(cursor.take(size), count))
        else:
            planes.append(cursor.take(1) * count)
    need(cursor.left() == 0, "planes leave bytes over")
    return planes


def decode_exact(stream, kind, encoding, size):
    """The bytes of a tensor that is not quantized."""
    if encoding == RAW:
        need(len(stream) == size, "the stream's length does not fit the elements")
        return stream
    _, width, rotated = TYPES[kind]
    need(not (rotated and encoding == DIFFERENCES), "differences of units that are rotated")
    counts = [min(UNITS, size // width - first) for first in range(0, size // width, UNITS)]
    out, mask = [], (1 << 8 * width) - 1
    for count, data in zip(counts, split(stream, len(counts))):
        planes = decode_planes(data, count, width)
        units = bytearray(count * width)
        for p, plane in enumerate(planes):
            units[width - 1 - p :: width] = plane
        if rotated or encoding == DIFFERENCES:
            numbers = struct.unpack("<%d%s" % (count, " BH I   Q"[width]), units)
            if rotated:
                numbers = [unit >> 1 | (unit & 1) << 8 * width - 1 for unit in numbers]
            else:
                before = 0
                numbers = [before := before + unit & mask for unit in numbers]
            units = struct.pack("<%d%s" % (count, " BH I   Q"[width]), *numbers)
        out.append(bytes(units))
    return b"".join(out)


def finite(value):
    need(value - value == 0, "a number is not finite")
    return value


class Codebook:
    def __init__(self, cursor):
        form, self.entries, self.zero = cursor.number(1), cursor.varint() + 1, cursor.varint()
        kind, log2 = form & 15, form >> 4
        need(kind <= 2 and log2 <= 3 and (kind or not log2), "an unknown form of codebook")
        need(self.entries <= 65536 and self.zero < self.entries, "a codebook's sizes")
        self.dimension = 1 << log2
        if kind == 0:
            (step,) = struct.unpack("<f", cursor.take(4))
            data = float32_bytes([step * (j - self.zero) for j in range(self.entries)])
        else:
            count, width = self.entries * self.dimension, 4 if kind == 1 else 2
            planes, data = cursor.take(count * width), bytearray(count * width)
            for p in range(width):
                data[width - 1 - p :: width] = planes[p * count : (p + 1) * count]
            data = bytes(data) if kind == 1 else widen(data, FLOAT16)
        self.data, self.centers = data, struct.unpack("<%df" % (len(data) // 4), data)
        for center in self.centers:
            finite(center)


def scale_of(largest, code):
    step = float32(2.0 ** -(code % 16 / 16))
    return float32(float32(largest * step) * 2.0 ** -(code // 16))


class Tensor:
    def decode(self, codebooks, models):
        """Bytes in the declared type; then float32 bytes or None, and indices or None."""
        if self.encoding != QUANTIZED:
            data = decode_exact(self.stream, self.kind, self.encoding, ceil_div(self.elements * TYPES[self.kind][0], 8))
            if self.kind == FLOAT32:
                return data, data, None
            return data, widen(data, self.kind) if self.kind in (FLOAT16, FLOAT64, BFLOAT16) else None, None
        codebook = codebooks[self.codebook]
        layout = self.rows, self.channels, self.inner
        indices = decode_indices(models[self.model], self.stream, layout, codebook.entries, codebook.zero, self.trellis)
        d, centers = codebook.dimension, codebook.centers
        values = [centers[j] for j in indices] if d == 1 else [v for j in indices for v in centers[j * d : j * d + d]]
        del values[self.elements :]
        if self.scales:
            for first in range(0, self.elements, self.scale_inner):
                scale = self.scales[first // self.scale_inner % len(self.scales)]
                end = min(first + self.scale_inner, self.elements)
                values[first:end] = [scale * value for value in values[first:end]]
        singles = float32_bytes(values)
        if self.kind == FLOAT32:
            return singles, singles, indices
        data = narrow(struct.unpack("<%df" % len(values), singles), self.kind)
        return data, widen(data, self.kind), indices


def read_tensors(cursor, count, codebooks, models, streams, scale_codes):
    tensors = [Tensor() for _ in range(count)]
    for tensor in tensors:
        tensor.kind = cursor.number(1)
        need(tensor.kind in TYPES, "an unknown type")
    for tensor in tensors:
        form = cursor.number(1)
        tensor.encoding, tensor.scale_kind, tensor.by_row, tensor.trellis = form & 3, form >> 2 & 3, form >> 4 & 1, form >> 5
        need(tensor.trellis <= ALONG_ROWS and tensor.scale_kind < 3 and not (tensor.by_row and tensor.scale_kind != 2), "an unknown form")
        need(tensor.encoding == QUANTIZED or not tensor.scale_kind, "scales of a tensor that is not quantized")
        need(tensor.encoding == QUANTIZED or not tensor.trellis, "a trellis of a tensor that is not quantized")
        need(tensor.encoding != QUANTIZED or tensor.kind in (FLOAT32, FLOAT16, FLOAT64, BFLOAT16), "quantized integers")
    for tensor in tensors:
        tensor.elements, tensor.scales = cursor.varint(), []
        need(tensor.elements > 0, "no elements")
    quantized = [tensor for tensor in tensors if tensor.encoding == QUANTIZED]
    for field, limit in (("codebook", len(codebooks)), ("model", len(models))):
        number = 0
        for tensor in quantized:
            number += cursor.signed_varint()
            need(0 <= number < limit, "no such " + field)
            setattr(tensor, field, number)
    for field in ("channels", "inner"):
        for tensor in quantized:
            setattr(tensor, field, cursor.varint())
    for tensor in quantized:
        indices, unit = ceil_div(tensor.elements, codebooks[tensor.codebook].dimension), tensor.channels * tensor.inner
        need(unit > 0 and indices % unit == 0, "the layout does not fit the indices")
        tensor.rows = indices // unit
    scaled = [tensor for tensor in quantized if tensor.scale_kind]
    for tensor in scaled:
        (largest,) = struct.unpack("<f", cursor.take(4))
        tensor.scales, tensor.scale_channels, tensor.scale_inner = [finite(largest)], 1, tensor.elements
    explicit = [tensor for tensor in scaled if tensor.scale_kind == 2 and not tensor.by_row]
    for field in ("scale_channels", "scale_inner"):
        for tensor in explicit:
            setattr(tensor, field, cursor.varint())
    for tensor in scaled:
        if tensor.by_row:
            tensor.scale_channels, tensor.scale_inner = tensor.rows, tensor.elements // tensor.rows
        unit = tensor.scale_channels * tensor.scale_inner
        need(unit > 0 and tensor.elements % unit == 0, "the scales do not fit the elements")
    for tensor in tensors:
        tensor.stream = streams.take(cursor.varint())
    codes = scale_codes if scale_codes.left() else cursor
    for tensor in scaled:
        if tensor.scale_kind == 2:
            tensor.scales = [scale_of(tensor.scales[0], code) for code in codes.take(tensor.scale_channels)]
    need(cursor.left() + scale_codes.left() + streams.left() == 0, "tables leave bytes over")
    return tensors


class File:
    def __init__(self, data):
        need(data[:8] == b"\x89QNC\r\n\x1a\n" and len(data) >= 64, "not a .quench file")
        (major, _, sections, size, table_at, table_size, table_crc, tensors, codebooks, centers, scales, zero,
         crc) = struct.unpack("<HHIQQIIIIIIII", data[8:64])
        need(major == 0, "an unknown version")
        need(crc == crc32c(data[:60]) and zero == 0, "the header's sum")
        need(size == len(data) and table_at + table_size == size and sections <= 64, "the header contradicts the file")
        table, found, offset = Cursor(data[table_at:]), {}, 64
        need(crc32c(table.data) == table_crc, "the section table's sum")
        for _ in range(sections):
            kind, flags, stored = table.varint(), table.varint(), table.varint()
            decoded = table.varint() if flags & 2 else stored
            crc, section = table.number(4), data[offset : offset + stored]
            offset += stored
            if not 1 <= kind <= 7 or flags > (7 if kind == GRAPH else 3):
                need(flags % 2 == 0, "an unknown mandatory section")
                continue
            need(kind not in found and not (flags & 2 and kind in (MODELS, STREAMS)), "a section twice, or coded")
            need(crc == crc32c(section), "the sum of section %d" % kind)
            found[kind] = decode_bytes(section, decoded) if flags & 2 else section
        need(table.left() == 0 and offset == table_at, "the section table leaves bytes over")
        self.graph = found.get(GRAPH, b"")
        self.metadata, cursor = {}, Cursor(found.get(METADATA, b""))
        while cursor.left():
            key = cursor.take(cursor.varint())
            self.metadata[key.decode(errors="replace")] = cursor.take(cursor.varint()).decode(errors="replace")
        cursor = Cursor(found.get(CODEBOOKS, b""))
        self.codebooks = [Codebook(cursor) for _ in range(codebooks)]
        need(cursor.left() == 0 and centers == sum(len(c.centers) for c in self.codebooks), "the number of centers")
        self.models, cursor = [], Cursor(found.get(MODELS, b""))
        while cursor.left():
            model = cursor.take(cursor.varint())
            need(model[:1] and model[0] in CODERS, "an unknown coder")
            self.models.append(CODERS[model[0]](model[1:]))
        self.tensors = read_tensors(Cursor(found.get(TENSORS, b"")), tensors, self.codebooks, self.models,
                                    Cursor(found.get(STREAMS, b"")),
                                    Cursor(found.get(SCALES, b"")))
        need(scales == sum(len(tensor.scales) for tensor in self.tensors), "the number of scales")


# FORMAT.md, "Which tensor is which": fields of each message that hold tensors, and what they are.
MESSAGES = {"model": {7: "graph", 20: "training", 25: "function"}, "graph": {1: "node", 5: "tensor", 15: "sparse"},
            "node": {5: "attribute"}, "training": {1: "graph", 2: "graph"}, "function": {7: "node", 11: "attribute"},
            "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
            "sparse": {1: "tensor", 2: "tensor"}}


def fields(data):
    cursor = Cursor(data)
    while cursor.left():
        key = cursor.varint()
        if key & 7 == 0:
            yield key >> 3, cursor.varint()
        else:
            need(key & 7 in (1, 2, 5), "no protocol buffer")
            yield key >> 3, cursor.take(cursor.varint() if key & 7 == 2 else 8 if key & 7 == 1 else 4)


def stripped(data, message="model"):
    """Name, type and dims of each stripped tensor."""
    if message != "tensor":
        for number, value in fields(data):
            if number in MESSAGES[message]:
                yield from stripped(value, MESSAGES[message][number])
        return
    name, kind, dims, count = "", 0, [], 1
    for number, value in fields(data):
        if number == 1:
            packed = Cursor(value) if isinstance(value, bytes) else None
            while packed and packed.left():
                dims.append(packed.varint())
            dims += [] if packed else [value]
        elif number in (4, 5, 6, 7, 9, 10, 11) and value != b"":
            return
        name, kind = value.decode() if number == 8 else name, value if number == 2 else kind
    for dim in dims:
        count *= dim
    if count >= 1:
        yield name, kind, dims, count


def describe(path, with_names):
    """The lines of a file."""
    with open(path, "rb") as stream:
        file = File(stream.read())
    yield path
    yield "graph: %d bytes, %08x" % (len(file.graph), crc32c(file.graph))
    for key in ("tool", "options", "source_bytes", "source_crc32c"):
        if file.metadata.get(key):
            yield "metadata %s: %s" % (key, file.metadata[key])
    for i, codebook in enumerate(file.codebooks):
        yield "codebook %d: %d entries of %d, zero symbol %d, centers %08x" % (
            i, codebook.entries, codebook.dimension, codebook.zero, crc32c(codebook.data))
    names = list(stripped(file.graph)) if with_names else []
    need(not with_names or len(names) == len(file.tensors), "the graph has another number of stripped tensors")
    for i, tensor in enumerate(file.tensors):
        data, singles, indices = tensor.decode(file.codebooks, file.models)
        line = "tensor %d: type %d, %d elements, bytes %08x" % (i, tensor.kind, tensor.elements, crc32c(data))
        if singles is not None:
            line += ", float32 %08x" % crc32c(singles)
        if indices is not None:
            line += ", indices %08x" % crc32c(struct.pack("<%dH" % len(indices), *indices))
        if with_names:
            name, kind, dims, count = names[i]
            need(kind == tensor.kind and count == tensor.elements, "tensor %d is not the graph's %s" % (i, name))
            line += ", %s %s" % (name or "(no name)", dims)
        yield line


def compare(sums, paths):
    with open(sums, encoding="utf-8") as stream:
        expected = [line.rstrip("\n") for line in stream]
    lines = [line for path in paths for line in describe(path, False)]
    wrong = [(a, b) for a, b in zip(expected, lines) if a != b]
    for a, b in wrong:
        print("expected  %s\ndecoded   %s" % (a, b))
    if len(lines) != len(expected):
        print("%d lines where %d are expected" % (len(lines), len(expected)))
    return 1 if wrong or len(lines) != len(expected) else 0


def main(arguments):
    if arguments[:1] == ["--compare"]:
        return compare(arguments[1], arguments[2:])
    with_names = arguments[:1] == ["--names"]
    for path in arguments[with_names:]:
        for line in describe(path, with_names):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
