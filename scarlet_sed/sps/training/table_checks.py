"""Whether the numbers of a table are what they should be: axes, times, spectra, and how far its populations reach."""

from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import DataError
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import nearest_cell
from scarlet_sed.sps.emulator.neural import SHORTEST, TAU
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.sps.sources import BLUEST
from scarlet_sed.sps.training.draws import AGE
from scarlet_sed.sps.training.source import LEAST, REDDEST
from scarlet_sed.sps.training.table_file import COLUMNS, Columns, Contents, opened
from scarlet_sed.typing import HostArray

FEWEST = 100
"""Rows of a part: a tenth of them is held back."""

NEAR = 1.05
"""How far beyond the times of a table its networks are trusted, as a factor: random times do not quite reach ends."""

_SINGLE = 1e-6
"""Relative: 10 Myr in single precision is 10 Myr."""

_LUMINOSITY = (1e-4, 1e5)
"""Solar luminosities per solar mass formed: generous bounds on what stars of any age give in all."""

_BLOCK = 1024


def window(wavelength: HostArray) -> tuple[int, int, slice]:
    """The first and last cell that points at these Angstrom cover wholly, and the points that they take."""
    ends = np.log(wavelength[[0, -1]]) / LOG_STEP + np.array([0.5, -0.5])
    first = max(nearest_cell(BLUEST), int(np.ceil(ends[0] - 1e-6)))
    last = min(nearest_cell(REDDEST), int(np.floor(ends[1] + 1e-6)))
    low, high = np.searchsorted(wavelength, np.exp((np.array([first, last + 1]) - 0.5) * LOG_STEP))
    return first, last, slice(max(int(low) - 1, 0), int(high) + 1)


def check_table(path: str | Path, contents: Contents) -> None:
    """Raise `DataError` where the numbers of a table are not what they should be.

    Every spectrum is read, block by block.
    """
    _check_axes(contents)
    for group, columns in contents.groups.items():
        _check_columns(group, columns)
    _check_reach(contents)
    with opened(path) as file:
        for group in COLUMNS:
            _check_light(file, group, contents.wavelength)


def _fail(problem: str, fix: str) -> None:
    raise DataError(f"the table has {problem}", fix=fix)


def _every(good: Any, what: str, fix: str) -> None:
    """Raise for the first row that is not good."""
    bad = np.flatnonzero(~np.asarray(good))
    if bad.size:
        _fail(f"{what} in row {bad[0]} (and {bad.size - 1} others)", fix)


def _check_axes(contents: Contents) -> None:
    axes = {"wavelength": contents.wavelength, "line_wavelength": contents.line_wavelength}
    axes |= {f"nodes/{name}": values for name, values in contents.nodes._asdict().items()}
    for name, values in axes.items():
        if values.size == 0 or not np.all(np.isfinite(values)):
            _fail(f"no finite numbers in {name}", f"give {name} at least one, all finite")
        if name != "line_wavelength" and not np.all(np.diff(values) > 0):
            _fail(f"values of {name} that do not increase", f"sort {name}, and what depends on it, without doubles")
        if name != "nodes/log_ionization" and (values[0] < 0 or (name != "nodes/age" and values[0] == 0)):
            _fail(f"values of {name} that are not positive", "give wavelengths in Angstrom, metallicities as Z / Zsun")
    wavelength, age = contents.wavelength, contents.nodes.age
    if wavelength.size < 2 or window(wavelength)[0] > nearest_cell(BLUEST) + 1:
        _fail(f"wavelengths from {wavelength[0]:g} Angstrom", f"give spectra that reach from {BLUEST:g} Angstrom")
    first, last, _ = window(wavelength)
    if wavelength[-1] < 2 * BLUEST:
        _fail(f"wavelengths to {wavelength[-1]:g} Angstrom", f"give spectra to {2 * BLUEST:g}, better {REDDEST:g}")
    edges = np.exp((np.array([first, last + 1]) - 0.5) * LOG_STEP)
    if not np.any((contents.line_wavelength > edges[0]) & (contents.line_wavelength < edges[1])):
        _fail("no line within its wavelengths", "give at least one line, its wavelength in Angstrom")
    if age[0] != 0 or age[-1] < AGE[1] * (1 - _SINGLE) or not np.any(np.isclose(age, YOUNG, rtol=_SINGLE, atol=0)):
        _fail("other nodes/age", f"give ages from 0 to {AGE[1]:g} Gyr or more, {YOUNG:g} among them")


def _check_columns(group: str, columns: Columns) -> None:
    kind, first, second, log_metallicity, log_ionization, living = (c.astype(np.float32) for c in columns)
    if len(first) < FEWEST:
        _fail(f"{len(first)} rows of {group}", f"give at least {FEWEST}; shipped networks were trained on a million")
    finite = [np.isfinite(c) for c in (kind, first, second, log_metallicity, log_ionization, living)]
    _every(np.all(finite, axis=0), f"{group} parameters that are not finite", "leave such rows out")
    _every((kind == 0) | (kind == 1), f"an unknown {group}/kind", "give 0 (delayed exponential) or 1 (constant rate)")
    low, high = YOUNG * (1 - _SINGLE), YOUNG * (1 + _SINGLE)
    if group == "delayed":
        good = (first > YOUNG) & (second > 0)
    elif group == "constant":
        good = (first > second) & (second >= low)
    else:
        good = np.where(kind == 0, (first > 0) & (second > 0), (high >= first) & (first > second) & (second >= 0))
    _every(good, f"{group} times out of order", f"see the times of {group} in the docstring of table_file")
    if group == "young":
        some = (kind == 1) | (young_fraction(first, second) > LEAST)
        _every(some, "no stars below 10 Myr to divide the light of young by", "leave such rows out of young")
    _every((living > 0) & (living < 1.001), f"{group}/living outside 0 to 1", "give the mass left per mass formed")


def young_fraction(onset: HostArray, tau: HostArray) -> HostArray:
    """(n,) fraction of the mass of delayed exponentials of these (n,) times in Gyr that is younger than 10 Myr."""

    def fraction(onset: jax.Array, tau: jax.Array) -> jax.Array:
        return DelayedTau(onset, tau).fraction_younger(YOUNG, jnp.zeros_like(onset))

    # constant rates have no tau, and their fraction is not looked at
    return np.asarray(jax.vmap(fraction)(as_float(onset), as_float(np.maximum(tau, TAU[0]))))


def _check_reach(contents: Contents) -> None:
    """The networks are asked for all times in the emulator's domain, whatever bins a history has."""
    delayed, constant, young = (contents.groups[name] for name in ("delayed", "constant", "young"))
    steady = young.kind == 1
    wanted = (
        ("delayed/first", delayed.first, (YOUNG, AGE[1])),
        ("delayed/second", delayed.second, TAU),
        ("constant/first", constant.first, (YOUNG + SHORTEST, AGE[1])),
        ("constant/second", constant.second, (YOUNG, 0.98 * AGE[1])),
        ("young/first of kind 0", young.first[~steady], (AGE[0], AGE[1])),
        ("young/second of kind 0", young.second[~steady], TAU),
        ("young/first of kind 1", young.first[steady], (AGE[0], YOUNG)),
        ("young/second of kind 1", young.second[steady], (0.0, 0.5 * YOUNG)),
    )
    for name, values, (low, high) in wanted:
        if values.size == 0 or values.min() > low * NEAR or values.max() * NEAR < high:
            reach = f"{values.min():.4g} to {values.max():.4g} Gyr" if values.size else "nothing"
            _fail(
                f"{reach} for {name}, less than an emulator must know",
                f"add rows, so that it reaches from {low:g} to {high:g} Gyr",
            )


def _check_light(file: h5py.File, group: str, wavelength: HostArray) -> None:
    columns = window(wavelength)[2]
    flux, whole = file[f"{group}/flux"], []
    for start in range(0, len(flux), _BLOCK):
        block = flux[start : start + _BLOCK, columns].astype(np.float64)
        good = np.isfinite(block) & (block > 0)
        if not good.all():
            row, column = np.argwhere(~good)[0]
            at = wavelength[columns][column]
            _fail(
                f"{group}/flux = {block[row, column]:g} in row {start + row} at {at:g} Angstrom",
                f"give positive, finite fluxes from {BLUEST:g} to {REDDEST:g} Angstrom; leave rows without mass out",
            )
        whole.append(np.trapezoid(block, wavelength[columns], axis=1))
        if group == "young":
            lines = file["young/lines"][start : start + _BLOCK].astype(np.float64)
            good = np.all(np.isfinite(lines) & (lines >= 0), axis=1) & np.any(lines > 0, axis=1)
            if not good.all():
                _fail(
                    f"young/lines in row {start + np.argmin(good)} that are negative, not finite or all zero",
                    "give line luminosities in Lsun per solar mass formed; a line that is absent is 0",
                )
    luminosity = float(np.median(np.concatenate(whole)))
    if not _LUMINOSITY[0] < luminosity < _LUMINOSITY[1]:
        _fail(
            f"{group}/flux that adds up to {luminosity:.3g} Lsun per solar mass",
            "give Lsun / Angstrom per solar mass formed",
        )
