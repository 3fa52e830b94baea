"""Where the numbers and pictures of these benchmarks go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from scarlet_sed.io.outputs import write_json

RESULTS = Path(__file__).resolve().parents[1] / "results"
FIGURES = Path(__file__).parent / "figures"


def write(name: str, found: Mapping[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json; returns its path."""
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", found)
    return RESULTS / f"{name}.json"


def draw(name: str, figure: Figure) -> None:
    """Write figures/NAME.png."""
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=110)
