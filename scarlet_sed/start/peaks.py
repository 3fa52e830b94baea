"""Peaks and their territories: a watershed that keeps a peak only where it stands out by enough.

A peak's persistence is its height above the saddle that joins it to a higher peak. Noise makes peaks of low
persistence in sigma; clumps of a bright galaxy make peaks of low persistence *relative to the light they sit on*.
Asking for both keeps galaxies whole and neighbours apart, with two numbers that mean something.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scarlet_sed.typing import HostArray


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks and the pixels that belong to them.

    Args:
        x: (n,) column of each peak.
        y: (n,) row.
        height: (n,) value there.
        labels: (h, w) 0 outside, else 1 + index of the peak whose territory the pixel is.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    height: HostArray
    labels: NDArray[np.int32]


class _Forest:
    """Union-find over peaks, numbered in the order in which they appear: from the highest down."""

    def __init__(self) -> None:
        self.root: list[int] = []
        self.seed: list[int] = []

    def plant(self, pixel: int) -> int:
        self.root.append(len(self.root))
        self.seed.append(pixel)
        return len(self.root) - 1

    def find(self, peak: int) -> int:
        while self.root[peak] != peak:
            self.root[peak] = self.root[self.root[peak]]
            peak = self.root[peak]
        return peak


def find_peaks(
    image: HostArray,
    floor: float,
    sigma: float | HostArray,
    significance: float,
    contrast: float,
    seeds: Sequence[tuple[int, int]] | None = None,
) -> Peaks:
    """Peaks of an image above `floor` with their territories, the highest first.

    Args:
        image: (h, w).
        floor: pixels at or below it belong to nobody.
        sigma: noise of the image, a number or (h, w).
        significance: smallest height above the saddle, in sigma.
        contrast: smallest height above the saddle, as a fraction of the saddle's own height, for peaks of equal
            height; it grows to three times that for a peak far below its neighbour, as clumps are.
        seeds: (x, y) of peaks that are all kept, and no others; labels then count them in this order.
    """
    stride = image.shape[1] + 2
    flat = np.pad(image.astype(np.float64), 1, constant_values=-np.inf).ravel()
    noise = np.pad(np.broadcast_to(np.asarray(sigma, dtype=float), image.shape), 1, constant_values=1.0).ravel()
    steps = (-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1)
    order = np.flatnonzero(flat > floor)
    order = order[np.argsort(-flat[order], kind="stable")]
    planted = {} if seeds is None else {(y + 1) * stride + x + 1: number for number, (x, y) in enumerate(seeds)}
    forest = _Forest()
    owner: dict[int, int] = {}  # plain Python numbers: an array's element costs ten times a dict's
    fixed: set[int] = set()
    for pixel in order.tolist():
        around = [pixel + step for step in steps if pixel + step in owner]
        if pixel in planted or not around:
            owner[pixel] = forest.plant(pixel)
            if pixel in planted:
                fixed.add(owner[pixel])
        else:
            owner[pixel] = owner[max(around, key=flat.__getitem__)]
        labels = {owner[other] for other in around}
        labels.add(owner[pixel])
        if len(labels) == 1:
            continue
        touching = {forest.find(label) for label in labels}
        if len(touching) == 1:
            continue
        _merge(forest, sorted(touching), fixed, planted, flat, noise, pixel, significance, contrast)
    return _collected(forest, owner, flat, image.shape, planted, None if seeds is None else fixed)


def _merge(
    forest: _Forest,
    touching: list[int],
    fixed: set[int],
    planted: dict[int, int],
    flat: HostArray,
    noise: HostArray,
    saddle: int,
    significance: float,
    contrast: float,
) -> None:
    """Let peaks that meet at a saddle, and do not stand out above it, become part of the highest one."""
    if planted:
        # a tree without a seed joins whichever tree it meets; trees with seeds stay apart
        seeded = [peak for peak in touching if peak in fixed]
        target = seeded[0] if seeded else touching[0]
        for peak in touching:
            if peak != target and peak not in fixed:
                forest.root[peak] = target
        return
    highest = touching[0]
    level = max(float(flat[saddle]), 0.0)
    for peak in touching[1:]:
        height = float(flat[forest.seed[peak]])
        rise = height - float(flat[saddle])
        ratio = height / float(flat[forest.seed[highest]])
        enough = contrast * (3.0 - 2.0 * ratio) * level
        if rise < significance * noise[forest.seed[peak]] or rise < enough:
            forest.root[peak] = highest


def _collected(
    forest: _Forest,
    owner: dict[int, int],
    flat: HostArray,
    shape: tuple[int, ...],
    planted: dict[int, int],
    fixed: set[int] | None,
) -> Peaks:
    stride = shape[1] + 2
    roots = [forest.find(peak) for peak in range(len(forest.root))]
    kept = sorted(set(roots) if fixed is None else fixed)
    # seeds keep their own number: one below the floor has no territory
    number = {peak: 1 + (index if fixed is None else planted[forest.seed[peak]]) for index, peak in enumerate(kept)}
    table = np.array([number.get(root, 0) for root in roots] + [0], dtype=np.int32)
    labels = np.zeros(flat.size, dtype=np.int32)
    labels[list(owner)] = table[list(owner.values())]
    labels = labels.reshape(shape[0] + 2, stride)[1:-1, 1:-1]
    pixels = np.array([forest.seed[peak] for peak in kept], dtype=np.int64)
    return Peaks(pixels % stride - 1, pixels // stride - 1, flat[pixels], labels)
