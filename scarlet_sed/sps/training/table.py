"""Training rows from a table of spectra that another code of synthesis made (FSPS, Prospector, bagpipes, CIGALE, ...).

The file and its units are described in `table_file`; `table_write` draws the populations that one should hold, and
writes it.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import final

import equinox as eqx
import h5py
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scarlet_sed.errors import DataError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED, cell_averages
from scarlet_sed.sps.domain import Domain
from scarlet_sed.sps.emulator.features import Features
from scarlet_sed.sps.engine import NJY_HZ_PER_SUN, line_unit
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.sps.histories.constant import Constant
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.sps.training import draws
from scarlet_sed.sps.training.source import FAINT_LINE, PARTS, Rows, RowSource, old_features, young_features
from scarlet_sed.sps.training.table_checks import check_table, window
from scarlet_sed.sps.training.table_file import Columns, Nodes, opened, read_contents
from scarlet_sed.typing import Array, HostArray

_BLOCK = 256
"""Spectra that are rebinned at a time."""


@final
class SpectraTable(RowSource):
    """The rows of a table; they carry no slopes.

    The domain in metallicity and ionisation is what all its parts cover; its times cover the emulator's, or it is
    refused. Lines outside the cells are left out.

    Args (made by `SpectraTable.open`):
        path: the file.
        wavelength: (w,) Angstrom, of the points that the cells take.
        points: which of the file's they are.
        lines: which of the file's lines are kept.
        groups: the populations.
    """

    features: Features
    wavelength: HostArray
    groups: dict[str, Columns]
    path: str = eqx.field(static=True)
    points: slice = eqx.field(static=True)
    lines: tuple[int, ...] = eqx.field(static=True)
    log_start: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    line_names: tuple[str, ...] = eqx.field(static=True)
    line_wavelength: tuple[float, ...] = eqx.field(static=True)
    domain: Domain = eqx.field(static=True)
    provenance: str = eqx.field(static=True)
    tag: str = eqx.field(static=True)
    has_slopes: bool = eqx.field(static=True)
    line_table: None = eqx.field(static=True)

    @staticmethod
    def open(path: str | Path) -> "SpectraTable":
        """Read and check a table.

        Raises:
            FileFormatError: if the file is missing, truncated, no table, or lacks a dataset of the right shape.
            DataError: if its numbers are no spectra of populations, or leave times out that an emulator must know.
        """
        contents = read_contents(path)
        check_table(path, contents)
        first, last, points = window(contents.wavelength)
        edges = np.exp((np.array([first, last + 1]) - 0.5) * LOG_STEP)
        kept = np.flatnonzero((contents.line_wavelength > edges[0]) & (contents.line_wavelength < edges[1]))
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        rows = {group: len(columns.first) for group, columns in contents.groups.items()}
        record = {**contents.provenance, "file": Path(path).name, "sha256": digest, "rows": rows}
        return SpectraTable(
            features=_features(contents.nodes),
            wavelength=contents.wavelength[points],
            groups=contents.groups,
            path=str(path),
            points=points,
            lines=tuple(int(i) for i in kept),
            log_start=first,
            cells=last - first + 1,
            line_names=tuple(contents.line_names[i] for i in kept),
            line_wavelength=tuple(float(contents.line_wavelength[i]) for i in kept),
            domain=_domain(contents.groups),
            provenance=json.dumps({"table": record}),
            tag=f"-table{digest[:8]}",
            has_slopes=False,
            line_table=None,
        )

    def chunks(self, part: str, rng: np.random.Generator, count: int, size: int = 4096) -> Iterator[Rows]:
        columns = self.groups["young" if part == "lines" else part]
        order = rng.permutation(len(columns.first))[:count]
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            own = (as_float(column[chosen]) for column in columns[:-1])
            features = np.asarray(_described(self.features, part, *own))
            if not np.all(np.isfinite(features)):
                bad = chosen[np.argmin(np.isfinite(features).all(axis=1))]
                raise DataError(f"row {bad} of {part} of the table has no finite features", fix="leave the row out")
            with opened(self.path) as file:
                light = self._lines(file, chosen) if part == "lines" else self._spectra(file, part, chosen)
            slopes = (np.zeros_like(features), np.zeros_like(light), np.zeros(len(chosen), np.float32))
            living = columns.living[chosen].astype(np.float32)
            yield Rows(features, light, living, np.ones_like(living), *slopes)

    def _spectra(self, file: h5py.File, part: str, chosen: NDArray[np.integer]) -> HostArray:
        """(n, cell) ln nJy at 10 Mpc per solar mass of the part."""
        light = np.empty((len(chosen), self.cells), np.float32)
        for start in range(0, len(chosen), _BLOCK):
            flux = _read(file[f"{part}/flux"], chosen[start : start + _BLOCK], self.points)
            averages = cell_averages(self.wavelength, flux, self.log_start, self.log_start + self.cells - 1)
            light[start : start + _BLOCK] = np.log(averages * (NJY_HZ_PER_SUN / LIGHT_SPEED))
        return light

    def _lines(self, file: h5py.File, chosen: NDArray[np.integer]) -> HostArray:
        """(n, line) ln of nJy at 10 Mpc per unit of ln(wavelength), per solar mass of the young part."""
        whole = _read(file["young/lines"], chosen, slice(None))
        light = whole[:, list(self.lines)] * line_unit(np.array(self.line_wavelength))
        return np.log(light + FAINT_LINE * light.mean(axis=1, keepdims=True)).astype(np.float32)


def _read(dataset: h5py.Dataset, rows: NDArray[np.integer], columns: slice) -> HostArray:
    """Rows in this order, read in that of the file."""
    found: HostArray = np.empty((len(rows), len(range(dataset.shape[1])[columns])))
    for at in np.argsort(rows):
        found[at] = dataset[rows[at], columns]
    return found


@eqx.filter_jit
def _described(features: Features, part: str, *columns: Array) -> Array:
    """(n, feature) what the network of a part sees of each row; (n,) columns in the order of `Columns`."""

    def row(kind: Array, first: Array, second: Array, log_metallicity: Array, log_ionization: Array) -> Array:
        histories = (DelayedTau(first, second), Constant(first, second))
        if part in ("delayed", "constant"):
            history = histories[PARTS.index(part)]
            return old_features(features, history, first, second, log_metallicity)[0]
        delayed, constant = (young_features(features, h, log_metallicity, log_ionization)[0] for h in histories)
        return jnp.where(kind == 0, delayed, constant)

    return jax.vmap(row)(*columns)


def _features(nodes: Nodes) -> Features:
    split = int(np.argmin(np.abs(nodes.age - YOUNG)))
    age = nodes.age.copy()
    age[split] = YOUNG
    axes = (age[split:], age[: split + 1], nodes.metallicity, nodes.log_ionization)
    return Features(*(as_float(axis) for axis in axes))


def _domain(groups: dict[str, Columns]) -> Domain:
    metals = [columns.log_metallicity for columns in groups.values()]
    ionization = groups["young"].log_ionization
    return Domain(
        (float(max(m.min() for m in metals)), float(min(m.max() for m in metals))),
        (float(ionization.min()), float(ionization.max())),
        draws.AGE,
    )
