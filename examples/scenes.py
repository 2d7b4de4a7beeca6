#!/usr/bin/env python3
"""Draws three scenes that look somewhat like photographs, for where none may be shown: a shore, spheres, a wall.

    scenes.py OUT

Writes OUT/shore.png, OUT/spheres.png and OUT/wall.png, 384 x 256 pixels each, always the same ones. Needs NumPy.
"""
import os
import struct
import sys
import zlib

import numpy as np

WIDTH, HEIGHT, FINER = 384, 256, 2  # each pixel is the mean of FINER x FINER points
LETTERS = {"Q": "01110 10001 10001 10001 10101 10010 01101", "U": "10001 10001 10001 10001 10001 10001 01110",
           "E": "11111 10000 10000 11110 10000 10000 11111", "N": "10001 11001 10101 10101 10011 10001 10001",
           "C": "01110 10001 10000 10000 10000 10001 01110", "H": "10001 10001 10001 11111 10001 10001 10001"}


def grid():
    """x to the right and y down, from -1.5 to 1.5 and from -1 to 1."""
    y, x = np.mgrid[0:HEIGHT * FINER, 0:WIDTH * FINER]
    return (x + 0.5) / (HEIGHT * FINER) * 2 - 1.5, (y + 0.5) / (HEIGHT * FINER) * 2 - 1


def noise(x, y, seed, octaves=7, roughness=0.55):
    """Value noise of several scales, about -1 to 1, at the points (x, y)."""
    table = np.random.default_rng(seed).uniform(-1, 1, (256, 256))
    total, strength = np.zeros_like(x), 1.0
    for octave in range(octaves):
        u, v = x * 2**octave + 17 * octave, y * 2**octave + 31 * octave
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        s, t = u - i, v - j
        s, t = s * s * (3 - 2 * s), t * t * (3 - 2 * t)
        corner = lambda a, b: table[(j + b) % 256, (i + a) % 256]
        total += strength * ((1 - t) * ((1 - s) * corner(0, 0) + s * corner(1, 0)) +
                             t * ((1 - s) * corner(0, 1) + s * corner(1, 1)))
        strength *= roughness
    return total


def mixed(low, high, share):
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(low) * (1 - share) + np.asarray(high) * share


def shore():
    x, y = grid()

    def land(x, y):
        color = mixed((0.95, 0.78, 0.6), (0.35, 0.55, 0.85), -y)  # the sky
        clouds = noise(2 * x, 5 * y, 1)
        color = mixed(color, (1, 0.97, 0.93), np.clip(1.2 * clouds, 0, 1) * np.clip(-1.5 * y, 0, 1))
        for distance, seed in ((1.0, 2), (0.6, 3), (0.25, 4)):
            ridge = -0.15 - 0.35 * distance - 0.3 * noise(2.5 * x, np.full_like(x, seed * 7.3), seed, 8)
            rock = noise(9 * x, 9 * y, seed + 10, 6, 0.75)
            stone = mixed((0.12, 0.16, 0.1), (0.5, 0.45, 0.38), 0.5 + 0.6 * rock)
            stone = mixed(stone, (0.93, 0.95, 1), 4 * (-0.3 - y) + rock)  # snow
            hazy = mixed(stone, (0.75, 0.72, 0.72), np.full_like(x, 0.75 * distance))
            color = np.where((y > ridge)[..., None], hazy, color)
        return color

    level = 0.15
    depth = np.clip(y - level, 1e-6, None)
    ripple = 0.05 * noise(3 * x / (depth + 0.3), 6 / (depth + 0.06), 6, 4)
    water = 0.75 * land(x + ripple, level - depth + 2 * ripple * (0.2 + depth)) + np.array((0, 0.03, 0.06))
    stones = noise(22 * x, 22 * y, 8, 4, 0.6)
    beach = mixed((0.28, 0.24, 0.2), (0.72, 0.64, 0.52), 0.5 + 0.7 * stones)
    color = np.where((y > level)[..., None], water, land(x, y))
    return np.where((y > 0.78 + 0.15 * noise(1.5 * x, 0 * x, 9, 5))[..., None], beach, color)


def spheres():
    x, y = grid()
    ray = np.stack([x, 0.35 - y * 0.9 - 0.45, np.full_like(x, 2.2)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    eye, light = np.array((0, 1.1, -3.2)), np.array((-0.55, 0.75, -0.4))
    light /= np.linalg.norm(light)
    balls = [((-0.9, 0.55, 0.2), 0.55, (0.75, 0.15, 0.12)), ((0.35, 0.7, 0.9), 0.7, (0.15, 0.4, 0.6)),
             ((0.75, 0.32, -0.5), 0.32, (0.85, 0.7, 0.2)), ((-0.1, 0.25, -0.7), 0.25, (0.9, 0.9, 0.88))]

    def hit(origin, direction, center, radius):
        offset = origin - np.asarray(center)
        b = (offset * direction).sum(-1)
        root = b * b - (offset * offset).sum(-1) + radius * radius
        return np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), np.inf)

    far = np.where(ray[..., 1] < -1e-3, -eye[1] / np.minimum(ray[..., 1], -1e-3), np.inf)
    place = eye + ray * np.minimum(far, 30)[..., None]
    rings = np.hypot(place[..., 0] * 3 + 9, place[..., 2] * 0.35 + 0.3 * noise(place[..., 0], place[..., 2], 3))
    grain = 0.5 + 0.5 * np.sin(14 * rings + 2 * noise(9 * place[..., 0], 2 * place[..., 2], 5))
    boards = np.minimum(1, 12 * np.abs((place[..., 0] * 1.1) % 1 - 0.5) / 0.5 * 0.3 + 0.4)
    color = mixed((0.36, 0.2, 0.1), (0.68, 0.46, 0.27), grain) * boards[..., None]
    shade = np.ones_like(x)
    for center, radius, _ in balls:
        along = np.linalg.norm(np.cross(place - np.asarray(center), light), axis=-1)
        shade *= np.clip((along / radius - 0.75) / 0.5, 0.25, 1)
    wall = mixed((0.55, 0.55, 0.5), (0.82, 0.8, 0.74), 0.5 + 0.25 * noise(4 * x, 4 * y, 7))
    color = np.where(np.isfinite(far)[..., None] & (far < 7)[..., None], color * shade[..., None], wall)
    near = np.minimum(far, 7)
    for k, (center, radius, paint) in enumerate(balls):
        t = hit(eye, ray, center, radius)
        point = eye + ray * np.where(np.isfinite(t), t, 0)[..., None]
        normal = (point - np.asarray(center)) / radius
        lit = np.clip((normal * light).sum(-1), 0, 1)
        mirror = ray - 2 * (ray * normal).sum(-1)[..., None] * normal
        gloss = np.clip((mirror * light).sum(-1), 0, 1)**60
        angle = np.arctan2(normal[..., 0], normal[..., 2])
        mottled = 0.85 + 0.25 * noise(6 * angle + 3 * k, 6 * normal[..., 1], 20 + k, 6, 0.7)
        if k % 2 == 1:
            mottled = mottled * np.where(np.sin(12 * angle) * np.sin(14 * normal[..., 1]) > 0, 1, 0.45)
        surface = np.asarray(paint) * (mottled * (0.22 + 0.85 * lit))[..., None] + 0.8 * gloss[..., None]
        color = np.where((t < near)[..., None], surface, color)
        near = np.minimum(near, t)
    return color


def wall():
    x, y = grid()
    rows = np.floor(y / 0.16)
    across = x / 0.36 + 0.5 * (rows % 2)
    brick = np.floor(across)
    from_edge = lambda u: np.minimum(u % 1, 1 - u % 1)
    edge = np.minimum(0.16 * from_edge(y / 0.16), 0.36 * from_edge(across)) + 0.006 * noise(20 * x, 20 * y, 2)
    tint = noise(brick * 3.7 + 0.5, rows * 5.3 + 0.5, 4, 1)
    clay = mixed((0.42, 0.17, 0.11), (0.72, 0.4, 0.28), 0.5 + 0.5 * tint + 0.35 * noise(14 * x, 14 * y, 5, 6, 0.8))
    mortar = mixed((0.55, 0.52, 0.48), (0.75, 0.72, 0.68), 0.5 + 0.6 * noise(25 * x, 25 * y, 6, 4, 0.8))
    color = mixed(mortar, clay, (edge - 0.012) / 0.006)
    size = 0.062  # of a letter's dot
    for k, letter in enumerate("QUENCH"):
        dots = np.array([[int(c) for c in row] for row in LETTERS[letter].split()])
        i, j = np.floor((x + 1.1 - k * 6 * size) / size).astype(int), np.floor((y + 0.21) / size).astype(int)
        inside = (i >= 0) & (i < 5) & (j >= 0) & (j < 7)
        painted = inside & (dots[np.clip(j, 0, 6), np.clip(i, 0, 4)] == 1)
        worn = np.clip(0.9 + 0.5 * noise(16 * x, 16 * y, 8, 6, 0.8), 0, 1)
        color = mixed(color, (0.93, 0.92, 0.86), np.where(painted, worn, 0))
    return color * (1.05 - 0.25 * (x + y) / 2.5)[..., None]


def write_png(path, color):
    points = np.clip(color, 0, 1)**(1 / 1.1)
    means = points.reshape(HEIGHT, FINER, WIDTH, FINER, 3).mean((1, 3))
    grain = np.random.default_rng(0).normal(0, 1.2, means.shape)
    pixels = np.clip(np.rint(255 * means + grain), 0, 255).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunks)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: scenes.py OUT")
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, draw in ("shore", shore), ("spheres", spheres), ("wall", wall):
        write_png(os.path.join(sys.argv[1], name + ".png"), draw())


main()
