#!/usr/bin/env python3
"""How alike the masks of two segmentations are: the mean over the samples of intersection over union.

    quench eval m.quench --against m.onnx --data pictures/ --metric 'python3 mask_iou.py {original} {compressed} output'

The third argument is the output's name, the fourth (default 0.5) the value from which on a pixel belongs to the mask.
Where neither mask has a pixel, they are the same: 1.
"""
import glob
import os
import sys

import numpy

original, compressed, output = sys.argv[1:4]
threshold = float(sys.argv[4]) if len(sys.argv) > 4 else 0.5
overlaps = []
for path in sorted(glob.glob(os.path.join(original, output, "*.npy"))):
    before = numpy.load(path) >= threshold
    after = numpy.load(os.path.join(compressed, output, os.path.basename(path))) >= threshold
    union = numpy.logical_or(before, after).sum()
    overlaps.append(numpy.logical_and(before, after).sum() / union if union else 1.0)
if not overlaps:
    sys.exit(f"{original}: there is no output '{output}'")
print(f"least {min(overlaps):.4f} of {len(overlaps)}")
print(sum(overlaps) / len(overlaps))
