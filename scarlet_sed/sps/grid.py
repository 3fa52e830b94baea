"""A grid of simple stellar populations and the nebulae that they light, in one HDF5 file.

The file (schema 1) holds, with units as attributes:

    log_start            attribute: index of the first cell; cell j is centred at exp((log_start + j) * LOG_STEP) A
    log_metallicity      (z,) log10 Z / Zsun, increasing
    age                  (a,) Gyr, increasing from 0
    stars                (z, a, cell) Lsun / Hz per solar mass formed, mean over each cell
    living_mass          (z, a) solar masses left per solar mass formed (what counts as left: attribute)
    nebular/log_ionization      (u,) log10 U, increasing
    nebular/age_edges           (n + 1,) Gyr, from 0 to 0.01
    nebular/continuum           (z, u, n, cell) Lsun / Hz per solar mass formed, mean over each bin of age
    nebular/lines               (z, u, n, line) Lsun per solar mass formed
    nebular/line_wavelength     (line,) Angstrom;  nebular/line_name (line,)
    dust/q_pah (q,) percent, dust/u_min (m,), dust/minimum, dust/range (q, m, cell): Draine & Li (2007) spectra per Hz
                                of one Lsun in all, for one radiation field and for the power law up to 1e6 (optional)

and attributes that say where the numbers come from, with SHA-256 of the source files. Lsun is the IAU's 3.828e33 erg/s.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import equinox as eqx
import h5py
import jax
import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED
from scarlet_sed.shared import Shared
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.typing import Array, HostArray

SCHEMA = 1


class Nebular(eqx.Module):
    """Light of the gas that young stars ionise, per solar mass formed in a bin of age.

    Args:
        log_ionization: (u,) log10 U.
        age_edges: (n + 1,) Gyr, from 0 to 0.01.
        continuum: (z, u, n, cell) Lsun/Hz.
        lines: (z, u, n, line) Lsun.
    """

    log_ionization: Array
    age_edges: Array
    continuum: Array
    lines: Array


@final
class DustTemplates(Shared):
    """Draine & Li (2007) emission: spectra of one Lsun in all, what lies beyond the last cell included.

    Args:
        q_pah: (q,) percent of the dust mass in PAHs.
        u_min: (m,) the least radiation field, in units of that near the Sun.
        minimum: (q, m, cell) 1/Hz for dust at u_min.
        range: (q, m, cell) 1/Hz for dust between u_min and 1e6.
        log_start: index of the first cell, the first of the grid in which any of them shines.
    """

    q_pah: Array
    u_min: Array
    minimum: Array
    range: Array
    log_start: int = eqx.field(static=True)

    @staticmethod
    def from_arrays(content: Mapping[str, Any], log_start: int) -> "DustTemplates":
        """Templates from host arrays named as in a grid file, whose first cell has this index."""
        tables = [np.asarray(content[f"dust/{name}"]) for name in ("minimum", "range")]
        dark = np.logical_and.reduce([np.all(table == 0, axis=(0, 1)) for table in tables])
        first = 0 if dark.all() else int(np.argmin(dark))
        minimum, power_law = (as_float(table[..., first:] * SCALE) for table in tables)
        q_pah, u_min = (as_float(content[f"dust/{name}"]) for name in ("q_pah", "u_min"))
        return DustTemplates(q_pah, u_min, minimum, power_law, log_start + first)

    def check(self, owner: str) -> None:
        """Raise `FileFormatError` where the arrays make no templates; traced ones pass."""
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            return
        q_pah, u_min, *tables = (np.asarray(a, np.float64) for a in (self.q_pah, self.u_min, self.minimum, self.range))
        shape = (q_pah.size, u_min.size)
        _require(min(shape) >= 2 and all(t.shape[:2] == shape for t in tables), owner, "dust templates on other axes")
        rising = np.all(np.diff(q_pah) > 0) and np.all(np.diff(u_min) > 0) and u_min[0] > 0
        _require(rising, owner, "axes of dust templates that do not rise")
        hertz = LIGHT_SPEED / np.exp((self.log_start + np.arange(tables[0].shape[-1])) * LOG_STEP)
        for table in tables:
            _require(np.all(np.isfinite(table)) and np.all(table >= 0), owner, "dust templates that are no spectra")
            whole = table @ hertz * (LOG_STEP / SCALE)
            _require(np.all(whole < 1 + 1e-3), owner, "dust templates of more than one Lsun")


@final
class Grid(eqx.Module):
    """Simple stellar populations on ages and metallicities, as the module's docstring lists them.

    Spectra are multiplied by 1e15 in memory, so that float32 keeps them away from its small end.
    """

    log_metallicity: Array
    age: Array
    stars: Array
    living_mass: Array
    nebular: Nebular | None
    dust: DustTemplates | None
    line_wavelength: tuple[float, ...] = eqx.field(static=True)
    line_names: tuple[str, ...] = eqx.field(static=True)
    log_start: int = eqx.field(static=True)
    provenance: str = eqx.field(static=True)

    @property
    def cells(self) -> int:
        """The number of wavelength cells."""
        return int(self.stars.shape[-1])

    @property
    def wavelength(self) -> HostArray:
        """(cell,) Angstrom, the centres of the cells."""
        return np.exp((self.log_start + np.arange(self.cells)) * LOG_STEP)

    @staticmethod
    def open(path: str | Path) -> "Grid":
        """Read a grid that `scarlet-sed grid build` or `write_grid` wrote.

        Raises:
            FileFormatError: if the file is missing, no grid, of another schema, or its numbers make no grid.
        """
        path = Path(path)
        if not path.is_file():
            raise FileFormatError(
                f"there is no grid file {str(path)!r}", fix="make it with `scarlet-sed grid build`, or check the path"
            )
        try:
            with h5py.File(path, "r") as file:
                content = {name: file[name][()] for name in _names(file)}
                attributes = dict(file.attrs)
        except (OSError, KeyError) as error:
            raise FileFormatError(f"cannot read the grid file {str(path)!r} ({error})", fix="build it again") from error
        of_this_schema = int(attributes.get("schema", -1)) == SCHEMA
        same_cells = np.isclose(float(attributes.get("log_step", LOG_STEP)), LOG_STEP, rtol=1e-9)
        if attributes.get("format") != "scarlet_sed grid" or not (of_this_schema and same_cells):
            raise FileFormatError(
                f"{str(path)!r} is not a grid of schema {SCHEMA}", fix="build it with `scarlet-sed grid build`"
            )
        return Grid.from_arrays(content, int(attributes["log_start"]), str(attributes["provenance"]), str(path))

    @staticmethod
    def from_arrays(content: Mapping[str, Any], log_start: int, provenance: str, owner: str = "the grid") -> "Grid":
        """A grid from host arrays named as in the file.

        Raises:
            FileFormatError: if one is missing, has another shape, is not finite, or is negative.
        """
        check_content(content, owner)
        nebular = dust = None
        if "nebular/lines" in content:
            nebular = Nebular(
                as_float(content["nebular/log_ionization"]),
                as_float(content["nebular/age_edges"]),
                as_float(content["nebular/continuum"] * SCALE),
                as_float(content["nebular/lines"]),
            )
        if "dust/q_pah" in content:
            dust = DustTemplates.from_arrays(content, log_start)
        wavelengths = content.get("nebular/line_wavelength", np.zeros(0))
        names_ = [n.decode() if isinstance(n, bytes) else str(n) for n in content.get("nebular/line_name", [])]
        return Grid(
            log_metallicity=as_float(content["log_metallicity"]),
            age=as_float(content["age"]),
            stars=as_float(content["stars"] * SCALE),
            living_mass=as_float(content["living_mass"]),
            nebular=nebular,
            dust=dust,
            line_wavelength=tuple(float(w) for w in wavelengths),
            line_names=tuple(names_),
            log_start=log_start,
            provenance=provenance,
        )


SCALE = 1e15
"""Of spectra in memory against those in the file."""


def _names(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def check_content(content: Mapping[str, Any], owner: str) -> None:
    """Raise `FileFormatError` where arrays do not make a grid."""
    wanted = {"log_metallicity": 1, "age": 1, "stars": 3, "living_mass": 2}
    if "nebular/lines" in content:
        wanted |= {"nebular/log_ionization": 1, "nebular/age_edges": 1, "nebular/continuum": 4, "nebular/lines": 4}
    for name, dimensions in wanted.items():
        if name not in content or np.ndim(content[name]) != dimensions:
            raise FileFormatError(f"{owner} lacks {name} with {dimensions} dimensions", fix="build the grid again")
        if not np.all(np.isfinite(content[name])):
            raise FileFormatError(f"{name} of {owner} is not finite", fix="build the grid again")
    z, a, cells = content["stars"].shape
    _require(content["log_metallicity"].shape == (z,) and content["age"].shape == (a,), owner, "axes of other lengths")
    _require(content["living_mass"].shape == (z, a), owner, "a living mass of another shape")
    _require(
        content["age"][0] == 0 and bool(np.all(np.diff(content["age"]) > 0)), owner, "ages that do not rise from 0"
    )
    _require(bool(np.any(np.isclose(content["age"], YOUNG, rtol=1e-6))), owner, f"no spectrum at {YOUNG} Gyr")
    _require(bool(np.all(np.diff(content["log_metallicity"]) > 0)), owner, "metallicities that do not rise")
    _require(bool(np.all(content["stars"] >= 0)), owner, "negative light")
    if "nebular/lines" in content:
        u, n = content["nebular/log_ionization"].size, content["nebular/age_edges"].size - 1
        lines = len(content["nebular/line_wavelength"])
        _require(content["nebular/continuum"].shape == (z, u, n, cells), owner, "a nebular continuum of another shape")
        _require(content["nebular/lines"].shape == (z, u, n, lines), owner, "lines of another shape")


def _require(condition: Any, owner: str, problem: str) -> None:
    if not condition:
        raise FileFormatError(f"{owner} has {problem}", fix="build it again with `scarlet-sed grid build`")


def write_grid(path: str | Path, content: Mapping[str, Any], log_start: int, provenance: Mapping[str, Any]) -> None:
    """Write a grid file, to a temporary name first.

    Args:
        path: the file.
        content: arrays named and shaped as the module's docstring lists them.
        log_start: index of the first cell.
        provenance: what the numbers are and where they come from.
    """
    check_content(content, str(path))
    if "dust/q_pah" in content:
        DustTemplates.from_arrays(content, log_start).check(str(path))
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in content.items():
            values = np.asarray(array)
            kind = values.astype("S") if values.dtype.kind in "US" else values.astype(_kept(name))
            packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.ndim >= 3 else {}
            data = file.create_dataset(name, data=kind, **packed)
            data.attrs["unit"] = UNITS.get(name, "")
        file.attrs.update(
            {"format": "scarlet_sed grid", "schema": SCHEMA, "log_start": log_start, "log_step": LOG_STEP}
        )
        file.attrs["provenance"] = json.dumps(dict(provenance), indent=1, sort_keys=True)


def _kept(name: str) -> type:
    return np.float32 if name in ("stars", "nebular/continuum", "dust/minimum", "dust/range") else np.float64


UNITS = {
    "log_metallicity": "log10(Z/Zsun)",
    "age": "Gyr",
    "stars": "Lsun/Hz per Msun formed",
    "living_mass": "Msun per Msun formed",
    "nebular/age_edges": "Gyr",
    "nebular/continuum": "Lsun/Hz per Msun formed",
    "nebular/lines": "Lsun per Msun formed",
    "nebular/line_wavelength": "Angstrom",
    "dust/q_pah": "percent",
    "dust/minimum": "1/Hz",
    "dust/range": "1/Hz",
}
