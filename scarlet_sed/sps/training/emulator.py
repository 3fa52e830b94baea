"""From a source of rows to a weight file: its networks, one after the other, in as many sittings as it takes."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from scarlet_sed.errors import DataError
from scarlet_sed.sps.domain import DOMAIN
from scarlet_sed.sps.emulator.network import LineTable, Perceptron
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.weights import basis_arrays, perceptron_arrays, read_emulator, read_header, write_emulator
from scarlet_sed.sps.training import dataset
from scarlet_sed.sps.training.source import PARTS, RowSource
from scarlet_sed.sps.training.train import Recipe, train
from scarlet_sed.typing import HostArray

Progress = Callable[[str], None]


GO_ON_RATE = 5e-4
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
    only: Sequence[str] | None = None,
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
        only: parts to train; the others stay as `start_from` has them. None trains all.
        seed: of the rows; weights and batches have the recipe's own.
        seconds: the sitting ends then.
        progress: called with a line at times.

    Returns:
        the emulator, or None if there is training left to do.

    Raises:
        DataError: if the networks of `start_from` have other inputs or outputs than the source, or it lacks a network
            that is to be kept.
    """
    start, done, records = time.monotonic(), {}, {}
    given = None if start_from is None else _of_same_axes(read_emulator(start_from), source)
    wanted = recipes(steps, hidden)
    for part, fresh in ((part, wanted[part]) for part in source.parts):
        left = seconds - (time.monotonic() - start)
        if left <= 0:
            return None
        begun = _begun(given, start_from, part, fresh)
        if only is not None and part not in only:
            done[part], records[part] = _kept(begun, part)
            continue
        recipe = fresh if begun is None else replace(fresh, learning_rate=GO_ON_RATE)
        recipe = recipe if source.has_slopes else replace(recipe, slope=0.0)
        data = dataset.make(source, part, folder, rows, seed, progress, None if begun is None else begun.shapes)
        left = seconds - (time.monotonic() - start)
        tag = source.tag if begun is None else source.tag + begun.tag
        network, record, finished = train(
            data,
            recipe,
            folder / f"{part}-{rows}-{seed}-{recipe.steps}{tag}.checkpoint",
            start_from=None if begun is None else begun.network,
            seconds=left,
            progress=lambda line, part=part: progress(f"{part} {line}"),
        )
        if not finished:
            return None
        done[part] = (network, data.basis, data.mean)
        records[part] = {"recipe": asdict(recipe), "record": record}
        records[part] |= {} if begun is None else {"before": begun.record}
    arrays = _arrays(source, done)
    header = _header(source, {"rows": rows, "seed": seed, "parts": records, **json.loads(source.provenance)})
    write_emulator(out, arrays, header)
    return read_emulator(out)


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


class _Begun(NamedTuple):
    """A network that a part goes on from, its basis, a tag of it, and the record of its training."""

    network: Perceptron
    shapes: dataset.Shapes
    tag: str
    record: dict[str, Any]


def _begun(emulator: NeuralEmulator | None, path: Path | None, part: str, recipe: Recipe) -> _Begun | None:
    """What a part goes on from; nothing if there is no network, or one of other layers."""
    network = None if emulator is None else getattr(emulator, part)
    if emulator is None or path is None or network is None or isinstance(network, LineTable):
        return None
    if tuple(len(b) for b in network.perceptron.biases[:-1]) != tuple(recipe.hidden):
        return None
    basis = network.spread[None] if part == "lines" else network.basis
    shapes = dataset.Shapes(np.asarray(basis), np.asarray(network.mean))
    record = read_header(path)["training"]["parts"][part]
    return _Begun(network.perceptron, shapes, f"-{emulator.name[:12]}", record)


def _kept(begun: _Begun | None, part: str) -> tuple[tuple[Perceptron, HostArray, HostArray], dict[str, Any]]:
    """A part that is not trained, as it goes into the weight file."""
    if begun is None:
        raise DataError(
            f"there is no network of the part {part!r} to keep",
            fix="train it, or give a weight file with the same layers to start from",
        )
    return (begun.network, *begun.shapes), begun.record


def _arrays(source: RowSource, parts: dict[str, tuple[Perceptron, HostArray, HostArray]]) -> dict[str, HostArray]:
    arrays: dict[str, HostArray] = {}
    for part, (network, basis, mean) in parts.items():
        arrays |= perceptron_arrays(part, network)
        if part == "lines":
            arrays |= {"lines/spread": basis[0].astype(np.float32), "lines/mean": mean.astype(np.float32)}
        else:
            arrays |= basis_arrays(part, basis, mean)
    if source.line_table is not None:
        arrays["lines/table"] = np.asarray(source.line_table, np.float32)
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
