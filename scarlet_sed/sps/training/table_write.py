"""Drawing the populations of a table of spectra, and writing it, for networks to be trained on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from scarlet_sed.errors import DataError
from scarlet_sed.files import atomic
from scarlet_sed.sps.emulator.neural import SHORTEST, TAU
from scarlet_sed.sps.histories.base import YOUNG
from scarlet_sed.sps.training.draws import AGE, of_part
from scarlet_sed.sps.training.source import LEAST
from scarlet_sed.sps.training.table_checks import check_table, young_fraction
from scarlet_sed.sps.training.table_file import AXES, COLUMNS, FORMAT, SCHEMA, read_contents
from scarlet_sed.typing import HostArray

NODE_AGES = np.concatenate(
    [[0.0], np.geomspace(1e-3, 1e-2, 10), np.geomspace(1e-2, 1.0, 18)[1:], np.arange(1.25, 14.01, 0.25)]
)
"""Gyr: as dense as those of the networks that ship."""


_ENDS = {
    ("delayed", 0): ((YOUNG * 1.0005, TAU[0]), (AGE[1], TAU[1])),
    ("constant", 0): ((YOUNG + SHORTEST, YOUNG), (AGE[1], 0.98 * AGE[1])),
    ("young", 0): ((AGE[0], TAU[0]), (AGE[1], TAU[1])),
    ("young", 1): ((AGE[0], 0.0), (YOUNG, 0.5 * YOUNG)),
}
"""Gyr: times at the ends of what an emulator must know, by part and kind."""


def random_parameters(
    part: str,
    count: int,
    seed: int,
    *,
    log_metallicity: tuple[float, float],
    log_ionization: tuple[float, float] = (-4.0, 0.0),
) -> dict[str, HostArray]:
    """Populations for a table, named as its datasets: as the grid's networks draw them, and with the ends of all times.

    Args:
        part: "delayed", "constant" or "young"; each of the young has stars below 10 Myr.
        count: how many.
        seed: of the draws.
        log_metallicity, log_ionization: ranges, log10 Z / Zsun and log10 U.

    Returns:
        (n,) `kind` (of young stars), `first` and `second` in Gyr, `log_metallicity` and `log_ionization` (of young).
    """
    rng = np.random.default_rng([seed, list(COLUMNS).index(part)])
    kind, drawn = of_part(part, rng, 4 * count, (log_metallicity, log_ionization))
    some = (kind == 1) | (part != "young") | (young_fraction(drawn.first, drawn.second) > LEAST)
    chosen = np.flatnonzero(some)[:count]
    columns = {"kind": kind, **drawn._asdict()}
    found = {name: column[chosen].astype(np.float64) for name, column in columns.items() if name in COLUMNS[part]}
    for (of, which), ends in _ENDS.items():
        if of == part:
            rows = np.flatnonzero(kind[chosen] == which)[: len(ends)]
            found["first"][rows], found["second"][rows] = np.transpose(ends[: len(rows)])
    return found


class Spectra(NamedTuple):
    """The populations of one group and their light, per solar mass formed in the part; see `table_file`.

    Args:
        first, second: (n,) Gyr.
        log_metallicity: (n,) log10 Z / Zsun.
        flux: (n, w) Lsun / Angstrom.
        living: (n,) solar masses left.
        log_ionization: (n,) log10 U, of young stars only.
        kind: (n,) 0 for a delayed exponential and 1 for a constant rate, of young stars only.
        lines: (n, l) Lsun, of young stars only.
    """

    first: HostArray
    second: HostArray
    log_metallicity: HostArray
    flux: HostArray
    living: HostArray
    log_ionization: HostArray | None = None
    kind: HostArray | None = None
    lines: HostArray | None = None


def write_table(
    path: str | Path,
    *,
    wavelength: HostArray,
    lines: Mapping[str, float],
    metallicity: HostArray,
    log_ionization: HostArray,
    delayed: Spectra,
    constant: Spectra,
    young: Spectra,
    age: HostArray = NODE_AGES,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a table, to a temporary name first, and check it.

    Args:
        path: an HDF5 file.
        wavelength: (w,) Angstrom at rest, increasing, from 912 or bluer.
        lines: names of the lines and their wavelengths in Angstrom.
        metallicity: (z,) nodes, Z / Zsun.
        log_ionization: (u,) nodes, log10 U.
        delayed, constant: stars older than 10 Myr.
        young: stars younger than 10 Myr.
        age: (a,) nodes, Gyr.
        provenance: what the spectra are and where they come from; goes into the weight file.

    Raises:
        FileFormatError: for arrays of shapes that do not belong together.
        DataError: for numbers that are no spectra of populations, or that leave times out.
    """
    at = np.array(list(lines.values()), np.float64)
    axes = dict(zip(AXES, (wavelength, at, age, metallicity, log_ionization), strict=True))
    with atomic(path) as temporary:
        with h5py.File(temporary, "w") as file:
            file.attrs.update({"format": FORMAT, "schema": SCHEMA})
            file.attrs["provenance"] = json.dumps(dict(provenance or {}), indent=1, sort_keys=True)
            file["line_names"] = np.array([name.encode() for name in lines], "S")
            for name, values in axes.items():
                _put(file, name, np.asarray(values, np.float64), AXES[name])
            for group, spectra in (("delayed", delayed), ("constant", constant), ("young", young)):
                for name, unit in COLUMNS[group].items():
                    values = getattr(spectra, name)
                    if values is None:
                        raise DataError(f"the spectra of {group} have no {name}", fix=f"give {name}= ({unit})")
                    kept = np.float32 if name in ("flux", "lines") else np.float64
                    _put(file, f"{group}/{name}", np.asarray(values, kept), unit)
        check_table(temporary, read_contents(temporary))


def _put(file: h5py.File, name: str, values: HostArray, unit: str) -> None:
    file.create_dataset(name, data=values).attrs["unit"] = unit
