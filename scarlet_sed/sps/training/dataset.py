"""The rows that a network trains on: made once from their source, kept in a folder, remade from the seed."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scarlet_sed.files import atomic
from scarlet_sed.sps.training.source import PARTS, RowSource
from scarlet_sed.typing import HostArray

COMPONENTS = 80
_BASIS_ROWS = 40_000
_SMOOTH = 100
"""Cells: a medium band. Errors that average out over it hardly change photometry."""


class Dataset(NamedTuple):
    """Rows of one part, as the network sees them.

    Args:
        features: (n, feature).
        targets: (n, output): coefficients in units of their spread, then living mass; or standardised ln line fluxes.
        basis: (component, cell) scaled by the spreads; for lines (1, line), the spreads.
        mean: (cell,) or (line,).
        metric: (output, m): the loss is the mean square of error @ metric, in natural-logarithmic flux.
        weight: (n, output) or (1, 1): lines count by their share of the light.
        feature_slope: (n, feature) change of the features along one direction of the parameters.
        target_slope: (n, output) change of the targets along it.
    """

    features: HostArray
    targets: HostArray
    basis: HostArray
    mean: HostArray
    metric: HostArray
    weight: HostArray
    feature_slope: HostArray
    target_slope: HostArray


class Shapes(NamedTuple):
    """What turns ln flux into targets: (component, cell) basis and (cell,) mean; of lines, (1, line) and (line,)."""

    basis: HostArray
    mean: HostArray


def make(
    source: RowSource,
    part: str,
    folder: Path,
    rows: int,
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
    shapes: Shapes | None = None,
) -> Dataset:
    """The dataset of a part, from the folder if it is there already with these settings.

    Args:
        source: a grid's synthesis, or a table.
        part: one of `PARTS`.
        folder: where datasets are kept.
        rows: how many; fewer where the source has fewer.
        seed: of the draws.
        progress: called with a line at times.
        shapes: those of a network that training goes on from; None finds them.
    """
    path = folder / f"{part}-{rows}-{seed}{source.tag}{'' if shapes is None else '-' + _short_hash(shapes)}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            return Dataset(*(stored[name] for name in Dataset._fields))
    maker = _lines if part == "lines" else _spectra
    data = maker(source, part, rows, [seed, PARTS.index(part)], progress, shapes)
    with atomic(path) as temporary:
        np.savez(temporary, **data._asdict())
    return data


def _short_hash(shapes: Shapes) -> str:
    return hashlib.sha256(b"".join(np.asarray(a, np.float32).tobytes() for a in shapes)).hexdigest()[:8]


def _spectra(
    source: RowSource, part: str, rows: int, seed: list[int], progress: Callable[[str], None], shapes: Shapes | None
) -> Dataset:
    if shapes is None:
        first = np.concatenate(
            [c.light for c in source.chunks(part, np.random.default_rng([*seed, 0]), min(_BASIS_ROWS, rows))]
        )
        average = first.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread, directions = _principal(first - average)
        shapes = Shapes(directions * spread[:, None], average)
    basis, mean = shapes
    # components are orthogonal: their coefficients, each in units of its spread
    projection = (basis / np.square(basis).sum(axis=1, keepdims=True)).T.astype(np.float32)
    columns: list[tuple[HostArray, ...]] = []
    done = 0
    for chunk in source.chunks(part, np.random.default_rng([*seed, 1]), rows):
        targets = np.concatenate([(chunk.light - mean) @ projection, chunk.living[:, None]], axis=1)
        slopes = np.concatenate([chunk.light_slope @ projection, chunk.living_slope[:, None]], axis=1)
        columns.append((chunk.features, targets, chunk.feature_slope, slopes))
        done += len(chunk.weight)
        progress(f"{part}: {done} rows")
    features, targets, feature_slope, target_slope = (np.concatenate(c) for c in zip(*columns, strict=True))
    metric = np.zeros((len(basis) + 1, len(basis) + 1))
    metric[:-1, :-1] = _metric(basis)
    metric[-1, -1] = 1.0 / targets[:, -1].mean()
    found = (features, targets, basis, mean, metric, np.ones((1, 1)), feature_slope, target_slope)
    return Dataset(*(a.astype(np.float32) for a in found))


def _principal(centred: HostArray) -> tuple[HostArray, HostArray]:
    """(component,) spreads and (component, cell) directions of the largest variance."""
    rows, cells = centred.shape
    if rows < cells:
        _, values, directions = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
        count = min(COMPONENTS, rows - 1)
        return values[:count] / np.sqrt(rows), directions[:count]
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / rows)
    order = np.argsort(values)[::-1][:COMPONENTS]
    return np.sqrt(values[order]), vectors[:, order].T


def _metric(basis: HostArray) -> HostArray:
    """(component, component) root of the quadratic form that errors of the coefficients are measured with.

    A fifth of it is the mean square of the error in every cell, the rest that of its running mean over `_SMOOTH` cells.
    """
    running = np.cumsum(np.pad(basis, ((0, 0), (1, 0))), axis=1)
    smooth = (running[:, _SMOOTH:] - running[:, :-_SMOOTH]) / _SMOOTH
    form = 0.2 * basis @ basis.T / basis.shape[1] + 0.8 * smooth @ smooth.T / smooth.shape[1]
    values, vectors = np.linalg.eigh(form)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _lines(
    source: RowSource, part: str, rows: int, seed: list[int], progress: Callable[[str], None], shapes: Shapes | None
) -> Dataset:
    chunks = list(source.chunks(part, np.random.default_rng([*seed, 1]), rows, 16384))
    light = np.concatenate([chunk.light for chunk in chunks])
    progress(f"{part}: {len(light)} rows")
    mean, spread = (light.mean(axis=0), light.std(axis=0)) if shapes is None else (shapes.mean, shapes.basis[0])
    # faint lines count less: by the root of their flux against the mean of all, down to a thousandth
    share = np.exp(np.minimum(light - np.log(np.exp(light).mean(axis=1, keepdims=True)), 0.0))
    return Dataset(
        np.concatenate([chunk.features for chunk in chunks]),
        ((light - mean) / spread).astype(np.float32),
        spread[None],
        mean,
        np.diag(spread).astype(np.float32),
        np.maximum(np.sqrt(share), 0.03).astype(np.float32),
        np.concatenate([chunk.feature_slope for chunk in chunks]),
        (np.concatenate([chunk.light_slope for chunk in chunks]) / spread).astype(np.float32),
    )
