"""From a source of rows to a weight file: four networks, one after the other, in as many sittings as it takes."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scarlet_sed.errors import DataError
from scarlet_sed.sps.domain import DOMAIN
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.weights import basis_arrays, perceptron_arrays, read_weights, write_weights
from scarlet_sed.sps.training import dataset
from scarlet_sed.sps.training.source import PARTS, RowSource
from scarlet_sed.sps.training.train import Recipe, train
from scarlet_sed.typing import HostArray

Progress = Callable[[str], None]


GO_ON_RATE = 1e-3
"""The first learning rate of networks that training goes on from."""


def recipes(steps: int, hidden: tuple[int, ...] = (256, 256, 256, 256)) -> dict[str, Recipe]:
    """The recipe of each part for a number of steps and the hidden layers of the networks of spectra.

    The network of lines has one layer less. Its share of the work is small, so it gets as many steps.
    """
    spectra = {part: Recipe(hidden=hidden, steps=steps) for part in PARTS}
    lines = replace(spectra["lines"], hidden=hidden[: max(len(hidden) - 1, 1)])
    return {**spectra, "lines": lines}


def train_emulator(
    source: RowSource,
    folder: Path,
    out: Path,
    *,
    rows: int = 1_200_000,
    steps: int = 200_000,
    seed: int = 0,
    hidden: tuple[int, ...] = (256, 256, 256, 256),
    start_from: Path | None = None,
    seconds: float = 3300.0,
    progress: Progress = lambda _: None,
) -> NeuralEmulator | None:
    """Train what is not yet trained, for at most some seconds, and write the weights once all parts are done.

    Args:
        source: what the networks learn: `Exact` of a grid, or a `SpectraTable`.
        folder: for rows and checkpoints; run again with the same folder to go on.
        out: the weight file.
        rows: populations per part; fewer where the source has fewer.
        steps: of the optimiser.
        hidden: layers of the networks of spectra.
        start_from: a weight file whose networks training goes on from, where they have the same layers.
        seed: of the rows; weights and batches have the recipe's own.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the emulator, or None if there is training left to do.

    Raises:
        DataError: if the networks of `start_from` have other inputs or outputs than the source.
    """
    start, done, records = time.monotonic(), {}, {}
    begun = None if start_from is None else _of_same_axes(read_weights(start_from), source)
    for part, fresh in recipes(steps, hidden).items():
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return None
        network, shapes, tag = _begun(begun, part, fresh)
        recipe = fresh if network is None else replace(fresh, learning_rate=GO_ON_RATE)
        recipe = recipe if source.has_slopes else replace(recipe, slope=0.0)
        data = dataset.make(source, part, folder, rows, seed, progress, shapes)
        left = seconds - (time.monotonic() - start)
        network, record, finished = train(
            data,
            recipe,
            folder / f"{part}-{rows}-{seed}-{recipe.steps}{source.tag}{tag}.checkpoint",
            start_from=network,
            seconds=left,
            progress=lambda line, part=part: progress(f"{part} {line}"),
        )
        if not finished:
            return None
        done[part] = (network, data)
        records[part] = {"recipe": asdict(recipe), "record": record, "start": tag}
    arrays = _arrays(source, {part: (network, data.basis, data.mean) for part, (network, data) in done.items()})
    header = _header(source, {"rows": rows, "seed": seed, "parts": records, **json.loads(source.provenance)})
    write_weights(out, arrays, header)
    return read_weights(out)


def _of_same_axes(emulator: NeuralEmulator, source: RowSource) -> NeuralEmulator:
    """The emulator, if what goes into its networks and comes out of them is what the source has."""
    same = {
        "nodes": all(
            a.shape == b.shape and np.allclose(a, b, rtol=1e-5)
            for a, b in zip(jax.tree.leaves(emulator.features), jax.tree.leaves(source.features), strict=True)
        ),
        "cells": (emulator.log_start, emulator.cells) == (source.log_start, source.cells),
        "lines": emulator.line_names == source.line_names,
    }
    if not all(same.values()):
        raise DataError(
            f"the networks to go on from have other {' and '.join(k for k, v in same.items() if not v)} than the rows",
            fix="train from the beginning, without --start-from",
        )
    return emulator


def _begun(
    emulator: NeuralEmulator | None, part: str, recipe: Recipe
) -> tuple[Perceptron | None, dataset.Shapes | None, str]:
    """The network that a part goes on from with its basis, and a tag of it; nothing if its layers are others."""
    if emulator is None:
        return None, None, ""
    network = getattr(emulator, part)
    sizes = tuple(len(b) for b in network.perceptron.biases[:-1])
    if sizes != tuple(recipe.hidden):
        return None, None, ""
    basis = network.spread[None] if part == "lines" else network.basis
    shapes = dataset.Shapes(np.asarray(basis), np.asarray(network.mean))
    return network.perceptron, shapes, f"-{emulator.name[:12]}"


def _arrays(source: RowSource, parts: dict[str, tuple[Perceptron, HostArray, HostArray]]) -> dict[str, HostArray]:
    arrays: dict[str, HostArray] = {}
    for part in PARTS:
        network, basis, mean = parts[part]
        arrays |= perceptron_arrays(part, network)
        if part == "lines":
            arrays |= {"lines/spread": basis[0].astype(np.float32), "lines/mean": mean.astype(np.float32)}
        else:
            arrays |= basis_arrays(part, basis, mean)
    for name in ("old_ages", "young_ages", "metallicity", "log_ionization"):
        arrays[f"features/{name}"] = np.asarray(getattr(source.features, name), np.float32)
    return arrays


def _header(source: RowSource, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "log_start": source.log_start,
        "cells": source.cells,
        "line_names": list(source.line_names),
        "line_wavelength": list(source.line_wavelength),
        "domain": {name: list(getattr(source.domain, name)) for name in DOMAIN},
        "training": record,
    }
