"""The file of a table: spectra of populations from any code of synthesis, for networks to be trained on.

One HDF5 file (schema 1) of three groups of populations, each with its light *per solar mass formed in that part*: to
make a row, take a star-formation history, add up the light of its stars on one side of 10 Myr alone, and divide by the
mass that they had when they formed. There is no dust and no intergalactic gas in it, and no redshift.

    wavelength            (w,) Angstrom at rest (in vacuum), increasing, from 912 or bluer; flux is linear between
    line_wavelength       (l,) Angstrom at rest;  line_names (l,) text, such as "H 1 6562.80"
    nodes/age             (a,) Gyr, increasing from 0, one of them 0.01, to 14 or more
    nodes/metallicity     (z,) Z / Zsun, increasing
    nodes/log_ionization  (u,) log10 U, increasing

    delayed/first, second     (n,) Gyr since onset (> 0.01), and tau, of SFR ~ t exp(-t / tau), t the time since onset
    constant/first, second    (n,) Gyr since a constant rate began, and since it stopped (0.01 or more)
    young/kind                (n,) 0 for a delayed exponential, 1 for a constant rate between two ages below 0.01 Gyr
    young/first, second       (n,) Gyr, of that kind
    young/log_ionization      (n,) log10 U
    young/lines               (n, l) Lsun per solar mass formed in the part, not negative

and in each of the three groups, `delayed` and `constant` (stars older than 10 Myr) and `young` (stars younger than 10
Myr with their nebular continuum, without lines):

    log_metallicity       (n,) log10 Z / Zsun
    flux                  (n, w) Lsun / Angstrom per solar mass formed in the part, positive
    living                (n,) solar masses left per solar mass formed in the part (what counts as left is your choice)

Attributes: `format` = "scarlet_sed table", `schema` = 1, and, if wanted, `provenance`, JSON text that goes into the
weight file. Lsun is the IAU's 3.828e33 erg/s. Nodes are where the networks are told how much mass there is (ages), or
how far between two nodes a population lies: the metallicities and ionisations that the code interpolates between serve
best. Rows are read one at a time, so `flux` is best stored without compression; their order does not matter.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.typing import HostArray

FORMAT, SCHEMA = "scarlet_sed table", 1
_FIX = "write it with `write_table`, or as the docstring of scarlet_sed.sps.training.table_file says"

AXES = {
    "wavelength": "Angstrom",
    "line_wavelength": "Angstrom",
    "nodes/age": "Gyr",
    "nodes/metallicity": "Z/Zsun",
    "nodes/log_ionization": "log10(U)",
}
"""Datasets of one dimension and their units."""

_COLUMNS = {"first": "Gyr", "second": "Gyr", "log_metallicity": "log10(Z/Zsun)", "living": "Msun per Msun formed"}
_YOUNG_COLUMNS = {"kind": "0 delayed exponential, 1 constant rate", "log_ionization": "log10(U)"}
_FLUX = {"flux": "Lsun/Angstrom per Msun formed"}
COLUMNS = {
    "delayed": _COLUMNS | _FLUX,
    "constant": _COLUMNS | _FLUX,
    "young": _COLUMNS | _YOUNG_COLUMNS | _FLUX | {"lines": "Lsun per Msun formed"},
}
"""Datasets of each group and their units."""


class Nodes(NamedTuple):
    """The axes on which networks are told about populations: (z,) Z / Zsun, (u,) log10 U and (a,) Gyr."""

    metallicity: HostArray
    log_ionization: HostArray
    age: HostArray


class Columns(NamedTuple):
    """The numbers of one group, a row each; what old stars do not have is zero.

    Args:
        kind: (n,) 0 or 1.
        first, second: (n,) Gyr.
        log_metallicity, log_ionization: (n,).
        living: (n,) solar masses left per solar mass formed.
    """

    kind: HostArray
    first: HostArray
    second: HostArray
    log_metallicity: HostArray
    log_ionization: HostArray
    living: HostArray


class Contents(NamedTuple):
    """All of a table but its spectra and lines."""

    wavelength: HostArray
    line_wavelength: HostArray
    line_names: tuple[str, ...]
    nodes: Nodes
    groups: dict[str, Columns]
    provenance: dict[str, Any]


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """The file, to read from; what HDF5 cannot read is a `FileFormatError`."""
    if not Path(path).is_file():
        raise FileFormatError(f"there is no table {str(path)!r}", fix="check the path")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise FileFormatError(f"cannot read the table {str(path)!r} ({error})", fix="copy or write it again") from error


def read_contents(path: str | Path) -> Contents:
    """Everything but spectra and lines, whose shapes are checked.

    Raises:
        FileFormatError: if the file is missing, truncated, no table, or a dataset is missing or has another shape.
    """
    with opened(path) as file:
        if file.attrs.get("format") != FORMAT or int(file.attrs.get("schema", -1)) != SCHEMA:
            raise FileFormatError(f"{str(path)!r} is not a {FORMAT} of schema {SCHEMA}", fix=_FIX)
        axes = {name: _numbers(file, name, (None,)) for name in AXES}
        names = _dataset(file, "line_names", (axes["line_wavelength"].size,))[()]
        sizes = {"flux": axes["wavelength"].size, "lines": axes["line_wavelength"].size}
        groups = {group: _group(file, group, sizes) for group in COLUMNS}
        try:
            provenance = dict(json.loads(str(file.attrs.get("provenance", "{}"))))
        except ValueError as error:
            raise FileFormatError(f"the provenance of {str(path)!r} is no JSON mapping ({error})", fix=_FIX) from error
    return Contents(
        axes["wavelength"],
        axes["line_wavelength"],
        tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names),
        Nodes(axes["nodes/metallicity"], axes["nodes/log_ionization"], axes["nodes/age"]),
        groups,
        provenance,
    )


def _group(file: h5py.File, group: str, sizes: dict[str, int]) -> Columns:
    rows = _dataset(file, f"{group}/first", (None,)).shape
    found = {}
    for name in COLUMNS[group]:
        if name in sizes:
            _dataset(file, f"{group}/{name}", (*rows, sizes[name]))
        else:
            found[name] = _numbers(file, f"{group}/{name}", rows)
    return Columns(*(found.get(name, np.zeros(rows)) for name in Columns._fields))


def _numbers(file: h5py.File, name: str, shape: tuple[int | None, ...]) -> HostArray:
    return np.asarray(_dataset(file, name, shape)[()], np.float64)


def _dataset(file: h5py.File, name: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
    """A dataset of this shape (None: any length), of numbers unless it holds names."""
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise FileFormatError(f"the table {file.filename!r} lacks the dataset {name}", fix=_FIX)
    fits = len(found.shape) == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
    if not fits:
        wanted = tuple("any" if n is None else n for n in shape)
        raise FileFormatError(f"{name} of the table {file.filename!r} has shape {found.shape}, not {wanted}", fix=_FIX)
    if (found.dtype.kind in "iuf") == (name == "line_names"):
        raise FileFormatError(f"{name} of the table {file.filename!r} holds {found.dtype}", fix=_FIX)
    return found
