"""The package's exact synthesis against bagpipes: like for like, then as each of them is.

usage: python against_bagpipes.py [--galaxies 1000] [--resolution 4000] [--grid FILE] [--source FOLDER]

Delayed exponentials with Calzetti dust and nebulae; bagpipes' dust emission is set to zero (the package has none).
"Like for like" gives the package the mass that bagpipes puts in each of its age bins (as a `Dirichlet` history),
spectra averaged in those bins, and the ends of Calzetti's curve as bagpipes has them; and gives bagpipes the package's
distances, speed of light and pivots. "Same bins" lets the package integrate the history itself.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from against_reference import GRID, package
from draws import BANDS, DIRICHLET, Draws, make
from measures import PEER_PYTHON, Skipped, load, mmag, percentiles, relative, run, seen, summary
from numpy.typing import NDArray
from reference_parts import SPEED_OF_LIGHT, Curve, age_of_universe, sphere

SEED = 1366
THEIR_LIGHT_SPEED = 2.9979e18
"""Angstrom per second in bagpipes' conversion to microjansky."""
IAU_SUN = 3.828e33
LIKE = ("--age-bins", "--published-dust")
OF_WEIGHTS = MASS, LINES = "surviving mass", "lines above 1e-3 of the brightest, after dust"
"""What follows from the mass in bins of age."""
YOUNGEST = 0.015
"""Gyr; bagpipes has one bin from 8.9 to 11.2 Myr, half of it behind birth clouds whatever the history does in it."""
RED = 22000.0
"""Rest-frame Angstrom where the package's tail of Calzetti's curve begins."""


def options(parser: argparse.ArgumentParser) -> None:
    """Command line that validate.py shares."""
    parser.add_argument("--galaxies", type=int, default=1000, help="draws against bagpipes (default: 1000)")
    parser.add_argument("--resolution", type=float, default=4000.0, help="of bagpipes' sampling (default: 4000)")


def compare(count: int, resolution: float, grid: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report, and arrays for pictures."""
    if not PEER_PYTHON.exists():
        raise Skipped(f"no environment at {PEER_PYTHON}: run benchmarks/population_env.sh")
    if not grid.is_file():
        raise Skipped(f"no grid at {grid}: make it with `scarlet-sed grid build`")
    curves = [Curve(name) for name in BANDS]
    draws = make(count, SEED, bagpipes=True)
    inside = seen(np.stack([curve.bounds for curve in curves]), draws.redshift)
    pivots = np.array([curve.pivot for curve in curves])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, curve in zip(BANDS, curves, strict=True):
            np.savetxt(folder / f"{name}.txt", np.column_stack([curve.wavelength, curve.through]))
        fine = theirs(draws, folder, "--resolution", resolution)
        coarse = theirs(draws, folder)
        timed = theirs(draws.take(slice(0, 300)), folder, "--time")
        native = package(draws, folder, grid, "--time")
        weighed = draws._replace(family=np.full(count, DIRICHLET), fractions=fine["weights"])
        like = package(weighed, folder, grid, *LIKE)
        same_bins = package(draws, folder, grid, *LIKE)
        binned = package(draws, folder, grid, "--age-bins")
    aligned, scales = same_constants(fine, draws, pivots)
    coarse_aligned = same_constants(coarse, draws, pivots)[0]
    differences = {
        "like for like": mmag(like["fluxes"], aligned),
        "same bins, own integral of the history": mmag(same_bins["fluxes"], aligned),
        "native": mmag(native["fluxes"], aligned),
        "bagpipes' sampling of the history (ours against ours)": mmag(same_bins["fluxes"], like["fluxes"]),
        "age bins alone (ours against ours)": mmag(native["fluxes"], binned["fluxes"]),
        "ends of Calzetti's curve (ours against ours)": mmag(binned["fluxes"], same_bins["fluxes"]),
        "bagpipes' default sampling against its fine one": mmag(coarse["fluxes"], fine["fluxes"]),
        "native against bagpipes' default sampling": mmag(native["fluxes"], coarse_aligned),
    }
    red = pivots[None] / (1 + draws.redshift[:, None]) > RED
    report = {
        "draws": count,
        "seed": SEED,
        "resolution": resolution,
        "like": summary(differences["like for like"], inside, draws.redshift),
        "all": {name: percentiles(dm[inside]) for name, dm in differences.items()},
        "native_by_kind": by_kind(differences["native"], draws, inside, red),
        "native": summary(differences["native"], inside, draws.redshift),
        "constants": {name: spread(scale[inside]) for name, scale in scales.items()},
        "derived": {
            "like for like": {name: v for name, v in derived(like, fine, draws).items() if name in OF_WEIGHTS},
            "native": derived(native, fine, draws),
        },
        "timing": timing(timed, fine, native),
    }
    pictures = {"like": differences["like for like"], "native": differences["native"], "inside": inside}
    return report, pictures | {"redshift": draws.redshift}


def by_kind(dm: Any, draws: Draws, inside: Any, red: Any) -> dict[str, list[float]]:
    """Percentiles for galaxies of different onsets and tau."""
    onset = draws.age_fraction * np.array([age_of_universe(float(z)) for z in draws.redshift])
    young = (onset < YOUNGEST)[:, None]
    sharp = (draws.tau < 0.01 * onset)[:, None]
    return {
        "pivot above 2.2 micron at rest": percentiles(dm[inside & red]),
        "below 2.2 micron": percentiles(dm[inside & ~red]),
        f"below 2.2 micron, onset within {1e3 * YOUNGEST:g} Myr": percentiles(dm[inside & ~red & young]),
        "below 2.2 micron, older, tau below 1 % of the onset": percentiles(dm[inside & ~red & ~young & sharp]),
        "below 2.2 micron, all others": percentiles(dm[inside & ~red & ~young & ~sharp]),
    }


def theirs(draws: Draws, folder: Path, *arguments: object) -> dict[str, Any]:
    """bagpipes' answers."""
    draws.save(folder / "draws.npz")
    out = folder / "bagpipes.npz"
    run("run_bagpipes.py", folder / "draws.npz", out, "--filters", folder, *arguments, python=PEER_PYTHON)
    return load(out)


def same_constants(found: dict[str, Any], draws: Draws, pivots: Any) -> tuple[Any, dict[str, Any]]:
    """Their fluxes with our constants, and what each constant does in mmag."""
    exact = np.array([sphere(float(z)) for z in draws.redshift])
    megaparsec = (3.086e24 / 3.0856775814913673e24) ** 2
    size = found["fluxes"].shape
    factors = {
        "parsec": np.full(size, megaparsec),
        "distances interpolated in steps of 0.01 in redshift": np.broadcast_to(
            (found["sphere"] / exact / megaparsec)[:, None], size
        ),
        "speed of light": np.full(size, THEIR_LIGHT_SPEED / (SPEED_OF_LIGHT * 1e10)),
        "pivot wavelengths": np.broadcast_to((pivots / found["pivots"]) ** 2, size),
    }
    aligned = found["fluxes"] * np.prod(list(factors.values()), axis=0)
    return aligned, {name: 2500 * np.log10(factor) for name, factor in factors.items()}


def spread(values: Any) -> dict[str, float]:
    """Median, and largest, of a correction in mmag."""
    return {"median": float(np.median(values)), "max": float(np.max(np.abs(values)))}


def derived(ours: dict[str, Any], found: dict[str, Any], draws: Draws) -> dict[str, list[float]]:
    """Relative differences of masses, rates, ages and lines (bagpipes' observed fluxes turned into luminosities)."""
    # our lines are those of the grid, a subset of theirs
    at: NDArray[np.integer] = np.array([np.argmin(np.abs(found["line_wave"] - w)) for w in ours["line_wave"]])
    lines = found["lines"][:, at] * found["sphere"][:, None] / IAU_SUN
    lit = (found["sfr100"] > 1e-6)[:, None] & (lines > 1e-3 * lines.max(axis=1, keepdims=True))
    return {
        MASS: percentiles(10 ** (ours["surviving"] - found["surviving"]) - 1),
        "SFR over 100 Myr": relative(ours["sfr100"], found["sfr100"], 1e-6),
        "mass-weighted age": relative(ours["mean_age"], found["mean_age"]),
        LINES: relative(ours["dimmed_lines"], lines, np.where(lit, 0.0, np.inf)),
    }


def timing(default: dict[str, Any], fine: dict[str, Any], ours: dict[str, Any]) -> dict[str, float]:
    """Milliseconds a model with 19 bands, and the load that it was taken under."""
    theirs_ms = 1e3 * float(np.median(default["seconds"]))
    single, batched = 1e3 * float(ours["seconds_single"]), 1e3 * float(ours["seconds_batched"])
    return {
        "bagpipes, default sampling": theirs_ms,
        "bagpipes, fine sampling": 1e3 * float(np.median(fine["seconds"])),
        "exact synthesis, one at a time": single,
        "exact synthesis, batch of 64": batched,
        "ratio, one at a time": theirs_ms / single,
        "ratio, batch of 64": theirs_ms / batched,
        "load": float(max(default["load_1min"], ours["load_1min"])),
    }


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    parser.add_argument("--grid", type=Path, default=GRID)
    given = parser.parse_args()
    try:
        print(compare(given.galaxies, given.resolution, given.grid)[0])
    except Skipped as reason:
        print(f"skipped: {reason}")


if __name__ == "__main__":
    main()
