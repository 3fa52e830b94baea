"""From a grid to a weight file: rows, four networks, one after the other, in as many sittings as it takes."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from scarlet_sed.sps.domain import DOMAIN
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.weights import basis_arrays, perceptron_arrays, read_weights, write_weights
from scarlet_sed.sps.exact import ExactSynthesis
from scarlet_sed.sps.grid import Grid
from scarlet_sed.sps.training import dataset, draws
from scarlet_sed.sps.training.targets import PARTS, Exact
from scarlet_sed.sps.training.train import Recipe, train
from scarlet_sed.typing import HostArray

Progress = Callable[[str], None]


def recipes(steps: int, hidden: tuple[int, ...] = (256, 256, 256, 256)) -> dict[str, Recipe]:
    """The recipe of each part for a number of steps and the hidden layers of the networks of spectra."""
    spectra = {part: Recipe(hidden=hidden, steps=steps) for part in PARTS if part != "lines"}
    few = tuple(min(size, 128) for size in hidden[:3])
    return {**spectra, "lines": Recipe(hidden=few, steps=max(steps // 3, 1), batch=1024)}


def train_emulator(
    grid: Grid,
    folder: Path,
    out: Path,
    *,
    rows: int = 1_200_000,
    steps: int = 200_000,
    seed: int = 0,
    hidden: tuple[int, ...] = (256, 256, 256, 256),
    seconds: float = 3300.0,
    progress: Progress = lambda _: None,
) -> NeuralEmulator | None:
    """Train what is not yet trained, for at most some seconds, and write the weights once all parts are done.

    Args:
        grid: what the networks learn.
        folder: for rows and checkpoints; run again with the same folder to go on.
        out: the weight file.
        rows: populations per part.
        steps: of the optimiser.
        hidden: layers of the networks of spectra.
        seed: of the rows; weights and batches have the recipe's own.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the emulator, or None if there is training left to do.
    """
    exact = Exact(ExactSynthesis(grid))
    start, done, records = time.monotonic(), {}, {}
    for part, recipe in recipes(steps, hidden).items():
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return None
        data = dataset.make(exact, part, folder, rows, seed, progress)
        left = seconds - (time.monotonic() - start)
        network, record, finished = train(
            data,
            recipe,
            folder / f"{part}-{rows}-{seed}-{recipe.steps}.checkpoint",
            seconds=left,
            progress=lambda line, part=part: progress(f"{part} {line}"),
        )
        if not finished:
            return None
        done[part] = (network, data)
        records[part] = {"recipe": asdict(recipe), "record": record}
    arrays = _arrays(exact, {part: (network, data.basis, data.mean) for part, (network, data) in done.items()})
    header = _header(exact, {"rows": rows, "seed": seed, "parts": records, "grid": json.loads(grid.provenance)})
    write_weights(out, arrays, header)
    return read_weights(out)


def _arrays(exact: Exact, parts: dict[str, tuple[Perceptron, HostArray, HostArray]]) -> dict[str, HostArray]:
    arrays: dict[str, HostArray] = {}
    for part in PARTS:
        network, basis, mean = parts[part]
        arrays |= perceptron_arrays(part, network)
        if part == "lines":
            arrays |= {"lines/spread": basis[0].astype(np.float32), "lines/mean": mean.astype(np.float32)}
        else:
            arrays |= basis_arrays(part, basis, mean)
    for name in ("old_ages", "young_ages", "metallicity", "log_ionization"):
        arrays[f"features/{name}"] = np.asarray(getattr(exact.features, name), np.float32)
    return arrays


def _header(exact: Exact, record: dict[str, Any]) -> dict[str, Any]:
    engine = exact.engine
    names = [engine.line_names[i] for i in exact.line_index]
    wavelengths = [engine.line_wavelength[i] for i in exact.line_index]
    domain = replace(engine.domain, age=draws.AGE)
    return {
        "log_start": engine.log_start,
        "cells": exact.cells,
        "line_names": names,
        "line_wavelength": wavelengths,
        "domain": {name: list(getattr(domain, name)) for name in DOMAIN},
        "training": record,
    }
