"""Percentiles of differences in magnitude, and the subprocesses that the comparisons run one after the other."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from draws import BANDS
from numpy.typing import NDArray

Values = NDArray[np.floating]

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PEER_PYTHON = ROOT / ".venv-peers-sed" / "bin" / "python"
BLUEST_REST = 1250.0
LEVELS = (50, 90, 99, 99.9, 100)
HEADINGS = ("bands", "50 %", "90 %", "99 %", "99.9 %", "max")
"""Of |dm| in mmag."""
REDSHIFTS = (0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0)


class Skipped(Exception):
    """An input or an environment is missing; the message says which."""


def run(script: str, *arguments: object, python: Path | None = None, cache: Path | None = None) -> None:
    """Run a script of this folder in a process of its own; `cache` keeps JAX's compiled programs between runs."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "JAX_PLATFORMS": "cpu"}
    if cache is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    command = [str(python or sys.executable), str(FOLDER / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr.strip()[-2000:]}")


def load(path: Path) -> dict[str, Any]:
    """The arrays of an npz file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def seen(bounds: Values, redshift: Values) -> NDArray[np.bool_]:
    """(draw, band) whether all but 0.1 % of a band's transmission lies redder than 1250 A at rest."""
    return bounds[None, :, 0] / (1 + redshift[:, None]) > BLUEST_REST


def mmag(ours: Values, theirs: Values) -> Values:
    """-2500 log10 of the ratio of fluxes; NaN where one of them is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((ours > 0) & (theirs > 0), ours / theirs, np.nan)
        return -2500 * np.log10(ratio)


def percentiles(difference: Values) -> list[float]:
    """|difference| at `LEVELS`."""
    finite = np.abs(difference[np.isfinite(difference)])
    return [float(v) for v in np.percentile(finite, LEVELS)] if finite.size else []


def summary(difference: Values, inside: NDArray[np.bool_], redshift: Values) -> dict[str, Any]:
    """Percentiles in all, by band and by redshift, and the median with its sign."""
    chosen = difference[inside]
    bins = list(itertools.pairwise(REDSHIFTS))
    within = [inside & ((redshift > low) & (redshift <= high))[:, None] for low, high in bins]
    return {
        "count": int(inside.sum()),
        "not_finite": int(np.sum(~np.isfinite(chosen))),
        "median": float(np.nanmedian(chosen)),
        "all": percentiles(chosen),
        "by_band": {name: percentiles(difference[inside[:, b], b]) for b, name in enumerate(BANDS)},
        "by_redshift": {
            f"{low:g}-{high:g}": percentiles(difference[mask]) for (low, high), mask in zip(bins, within, strict=True)
        },
    }


def cells(values: list[float]) -> list[str]:
    """Percentiles as text."""
    return [f"{v:.3f}" if v < 1 else f"{v:.3g}" for v in values] or ["-"] * len(LEVELS)


def relative(ours: Values, theirs: Values, floor: Values | float = 0.0) -> list[float]:
    """Percentiles of |ours / theirs - 1| where theirs exceeds a floor."""
    good = theirs > floor
    return percentiles(ours[good] / theirs[good] - 1)
