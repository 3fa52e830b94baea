"""Tables and pictures of what the comparisons found, as markdown."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import sections
from draws import BANDS
from measures import FOLDER, HEADINGS, REDSHIFTS, cells

sys.path.insert(0, str(FOLDER.parent / "ours"))
from table import markdown

FIGURES = FOLDER / "figures"
BLUER = "bluer bands with over 1e-3 of the brightest"
RELATIVE = ("quantity", *HEADINGS[1:])
GOALS = {"reference": (99, 0.5), "like": ((50, 1.5), (90, 3.0), (99, 8.0))}


def rows(found: dict[str, list[float]], scale: float = 1.0) -> list[list[str]]:
    """One line a name."""
    return [[name, *cells([scale * v for v in values])] for name, values in found.items()]


def percent(found: dict[str, list[float]]) -> list[list[str]]:
    """Relative differences in parts per million or per cent, as suits them."""
    lines = []
    for name, values in found.items():
        big = bool(values) and values[2] > 1e-4
        unit, scale = ("%", 100) if big else ("1e-6", 1e6)
        lines.append([f"{name} ({unit})", *cells([scale * v for v in values])])
    return lines


def reference_section(found: dict[str, Any]) -> list[str]:
    """The package against direct quadrature."""
    magnitudes = found["magnitudes"]
    goal = "met" if magnitudes["all"][2] <= GOALS["reference"][1] else "missed"
    return [
        "## Exact synthesis against direct quadrature",
        f"{found['draws']} draws (half delayed exponentials, half Dirichlet or Continuity; half Calzetti, half Salim), "
        f"{magnitudes['count']} fluxes whose band lies at rest > 1250 A. |dm| in mmag; median with sign "
        f"{magnitudes['median']:+.4f}. The reference shares no code with the package ([reference.py](reference.py)). "
        f"Goal: 0.5 mmag at 99 %, {goal}.",
        markdown(
            HEADINGS,
            [
                ["all", *cells(magnitudes["all"])],
                ["bluer bands (> 1e-3 of the brightest)", *cells(found["bluer_bands"])],
            ],
        ),
        "![by band and redshift](figures/reference.png)",
        "Pieces switched off on both sides:",
        markdown(("left out", *HEADINGS[1:]), rows(found["switched"])),
        "The throughput of a line as the package has it, against the tabulated curve, in per cent of its peak "
        "([line_response.py](line_response.py)); lines are read off tables of the curves at steps of 75 km/s:",
        markdown(
            ("band", "worst", "rms"),
            [[name, f"{v['worst']:.2f}", f"{v['rms']:.3f}"] for name, v in found["line_throughput"].items()],
        ),
        "What the package's conventions change (reference against itself):",
        markdown(("convention", *HEADINGS[1:]), rows(found["conventions"])),
        "Other quantities, relative differences:",
        markdown(RELATIVE, percent(found["derived"])),
        "By band:",
        markdown(HEADINGS, rows(magnitudes["by_band"])),
        "The largest differences:",
        markdown(
            ("mmag", "band", "redshift", "A_V"),
            [[f"{dm:+.2f}", band, f"{z:.3f}", f"{av:.2f}"] for dm, band, z, av in found["worst"]],
        ),
    ]


def bagpipes_section(found: dict[str, Any]) -> list[str]:
    """The package against bagpipes."""
    like = found["like"]["all"]
    met = all(like[k] <= goal for k, (_, goal) in enumerate(GOALS["like"]))
    constants = [[name, f"{v['median']:+.3f}", f"{v['max']:.3f}"] for name, v in found["constants"].items()]
    timing = [[name, f"{value:.3g}"] for name, value in found["timing"].items()]
    return [
        "## Against bagpipes 1.3.6",
        f"{found['draws']} delayed exponentials with Calzetti dust and nebulae, {found['like']['count']} fluxes at "
        f"rest > 1250 A, no dust emission, bagpipes sampled at R = {found['resolution']:g}. |dm| in mmag. Like for "
        "like: the package has bagpipes' age bins and the mass in them, and "
        "bagpipes' ends of Calzetti's curve; bagpipes has the package's distances and c. Goal there: 1.5 / 3 / 8 at "
        f"50 / 90 / 99 %, {'met' if met else 'missed'} "
        f"(median with sign {found['like']['median']:+.3f}).",
        markdown(("comparison", *HEADINGS[1:]), rows(found["all"])),
        "The native difference by kind (onsets: 8.9 to 11.2 Myr is one bin of bagpipes, cut at 10 Myr):",
        markdown(("galaxies and bands", *HEADINGS[1:]), rows(found["native_by_kind"])),
        "![by band and redshift](figures/bagpipes.png)",
        "What bagpipes' constants change, in mmag (taken out above):",
        markdown(("constant", "median", "largest"), constants),
        "Other quantities, relative differences, like for like (where the masses in bins are bagpipes' own):",
        markdown(RELATIVE, percent(found["derived"]["like for like"])),
        "and natively:",
        markdown(RELATIVE, percent(found["derived"]["native"])),
        "Milliseconds for one model in 19 bands (bagpipes with its dust emission), on a machine under load:",
        markdown(("model", "ms, or ratio"), timing),
    ]


def dsps_section(found: dict[str, Any]) -> list[str]:
    """The package's sums against DSPS."""
    lines = [
        [f"{name}; ages refined {parts} times", *cells(values)]
        for name, levels in found["histories"].items()
        for parts, values in levels.items()
    ]
    return [
        "## Sums over stars against DSPS",
        "Stars only, solar metallicity, five redshifts, the same file in DSPS's schema on both sides; |dm| in mmag. "
        "DSPS gives all mass to the spectrum nearest in log age, the package is linear in age; refined ages close the "
        "gap.",
        markdown(("history", *HEADINGS[1:]), lines),
    ]


def skipped_section(title: str, reason: str) -> list[str]:
    """A comparison that could not be made."""
    return [f"## {title}", f"Skipped: {reason}."]


def pictures(name: str, curves: dict[str, Any], arrays: dict[str, Any]) -> None:
    """|dm| by band and by redshift at 50 and 99 %, one colour a comparison."""
    FIGURES.mkdir(exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True, layout="constrained")
    inside, redshift = arrays["inside"], np.broadcast_to(arrays["redshift"][:, None], arrays["inside"].shape)
    edges = np.geomspace(*REDSHIFTS[:: len(REDSHIFTS) - 1], 13)
    for color, (label, dm) in zip(("C0", "C1"), curves.items(), strict=False):
        size = np.where(inside & np.isfinite(dm), np.abs(dm), np.nan)
        for level, style in ((50, ":"), (99, "-")):
            by_band = [np.nanpercentile(column, level) for column in size.T]
            left.semilogy(by_band, style, color=color, marker="." if level == 99 else None)
            parts = [size[(redshift > a) & (redshift <= b)] for a, b in pairwise(edges)]
            middle = np.sqrt(edges[1:] * edges[:-1])
            right.loglog(
                middle, [np.nanpercentile(p, level) for p in parts], style, color=color, label=f"{label}, {level} %"
            )
    left.set_xticks(range(len(BANDS)), [n.rsplit("_", 1)[1].upper() for n in BANDS], rotation=90, fontsize=7)
    left.set_ylabel("|dm| [mmag]")
    right.set_xlabel("redshift")
    figure.legend(loc="outside upper center", ncols=4, fontsize=7)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(FIGURES / f"{name}.png", dpi=100)
    plt.close(figure)


def write(path: Path, head: str, parts: list[str]) -> None:
    """Write the report, keeping what other scripts wrote into it."""
    others = sections.kept(path.read_text(encoding="utf-8") if path.exists() else "")
    whole = ["# Stellar populations: how right the numbers are", head, *parts, *others]
    path.write_text("\n\n".join(whole) + "\n", encoding="utf-8")
    print(f"written: {path}")
