"""Blends of two galaxies taken apart with several priors on their images: which finds shapes, fluxes and colours?

usage: python benchmarks/priors/deblend.py [--blends 216] [--kinds none sparse smooth normal flow] [--structured]
                                           [--off 0] [--keep build/deblend]

Galaxies are of the recipe that the priors were learnt from, with other seeds; `--structured` draws more of arms, clumps
and tails than they have seen. `--off 2` misplaces both centres by two pixels, which are then fitted. Each blend is kept
as it is done; run again to go on. Prints a table and writes benchmarks/results/priors_deblend*.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import blends
import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.files import atomic
from scarlet_sed.priors.procedural import GALAXIES

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results"
STRUCTURED = GALAXIES._replace(
    kinds=(0.05, 0.35, 0.4, 0.05, 0.15), arms=(1.0, (0.5, 0.95), (0.1, 0.7)), clumps=((4, 16), (0.3, 0.7), (0.08, 0.2))
)
SHAPE = (blends.STAMP, blends.STAMP)


def priors() -> dict[str, Any]:
    """By name; widths of sparsity are tuned by `--kinds sparse-0.3 ...` on blends of other seeds."""
    return {
        "none": ss.image_simplex,
        "smooth": ss.SmoothImage(SHAPE, 0.5),
        "normal": ss.GaussianImagePrior.load("galaxies_32"),
        "flow": ss.FlowPrior.load("galaxies_32"),
    }


def of_kind(kind: str, known: dict[str, Any]) -> Any:
    if kind.startswith("sparse-"):
        return ss.SparsityPrior(SHAPE, float(kind.removeprefix("sparse-")))
    return known[kind]


def start(prior: Any) -> ss.Pixels:
    """A round galaxy, or what the prior has in the middle."""
    if hasattr(prior, "mean") and not isinstance(prior, (ss.SmoothImage, ss.SparsityPrior)):
        return ss.Pixels(ss.Parameter(np.asarray(prior.mean), prior), blends.SCALE)
    y, x = np.mgrid[: blends.STAMP, : blends.STAMP] - (blends.STAMP - 1) / 2
    return ss.Pixels.from_image(np.exp(-0.5 * (x**2 + y**2) / 2.5**2), blends.SCALE, prior)


def measure(made: blends.Blend, prior: Any, off: float, seed: int) -> dict[str, Any]:
    """One blend, fitted."""
    rng = np.random.default_rng([1, seed])
    level = np.asarray(made.data.data).sum(axis=(1, 2)).clip(30) / 2
    angles = rng.uniform(0, 2 * np.pi, 2)
    places = made.places + off * blends.SCALE * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    galaxies = {
        name: blends.source(
            place,
            ss.Parameter(level, dist.HalfNormal(np.full(len(blends.BANDS), 30 * level.max()))),
            start(prior),
            free=off * blends.SCALE if off else None,
        )
        for name, place in zip("ab", places, strict=True)
    }
    begun = time.perf_counter()
    fitted = ss.fit(ss.Scene(galaxies, ss.Frame.covering(made.data)), made.data, progress=False, uncertainties=False)
    return {
        "seconds": time.perf_counter() - begun,
        "status": fitted.status.name,
        "steps": fitted.steps,
        "chi2": float(np.mean(list(fitted.chi2["five"].values()))),
        "errors": [errors._asdict() for errors in blends.errors(fitted.scene, made)],
    }


def summary(kind: str, signal: float, rows: list[dict[str, Any]], plain: list[dict[str, Any]]) -> list[str]:
    """One line of the table: medians over galaxies; `plain` are the same blends with the normal prior."""
    errors = {
        name: np.array([each[name] for row in rows for each in row["errors"]])
        for name in ("shape", "similarity", "flux", "colour")
    }
    normal = np.array([each["shape"] for row in plain for each in row["errors"]])
    better = f"{np.mean(errors['shape'] < normal):.0%}" if len(normal) == len(errors["shape"]) else ""
    return [
        kind,
        f"{signal:.0f}",
        str(errors["shape"].size),
        f"{np.median(errors['shape']):.3f}",
        f"{np.median(errors['similarity']):.3f}",
        f"{np.median(errors['flux']):+.3f}",
        f"{np.median(np.abs(errors['flux'])):.3f}",
        f"{np.median(np.abs(errors['colour'])):.3f}",
        "" if kind == "normal" else better,
        f"{max(row['chi2'] for row in rows):.3f}",
        f"{np.median([row['seconds'] for row in rows]):.2f}",
    ]


HEAD = ("prior", "S/N", "galaxies", "L2", "similarity", "flux bias", "|flux|", "|colour|", "nearer", "chi2, worst", "s")


def main() -> int:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blends", type=int, default=216)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=["none", "sparse-1", "smooth", "normal", "flow"])
    parser.add_argument("--structured", action="store_true")
    parser.add_argument("--off", type=float, default=0.0)
    parser.add_argument("--keep", type=Path, default=Path("build/deblend"))
    options = parser.parse_args()
    name = ("_structured" if options.structured else "") + (f"_off{options.off:g}" if options.off else "")
    folder = options.keep / (name or "_plain")
    folder.mkdir(parents=True, exist_ok=True)
    known = priors()
    rows: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in options.kinds}
    for seed in range(options.first, options.first + options.blends):
        made: blends.Blend | None = None
        for kind in options.kinds:
            path = folder / f"{kind}-{seed:05d}.json"
            if not path.exists():
                made = made or blends.blend(seed, STRUCTURED if options.structured else GALAXIES)
                text = json.dumps(measure(made, of_kind(kind, known), options.off, seed))
                with atomic(path) as temporary:
                    temporary.write_text(text)
            rows[kind][seed] = json.loads(path.read_text())
        if seed % 18 == 17:
            print(f"{seed + 1} blends", flush=True)
    table = []
    for signal in blends.SIGNALS:
        own = [seed for seed in rows[options.kinds[0]] if blends.cells()[seed % len(blends.cells())][0] == signal]
        plain = [rows["normal"][seed] for seed in own] if "normal" in rows else []
        table += [summary(kind, signal, [rows[kind][seed] for seed in own], plain) for kind in options.kinds]
    print(markdown(HEAD, table))
    told = {"head": HEAD, "table": table, "blends": options.blends, "load_1min": os.getloadavg()[0]}
    with atomic(RESULTS / f"priors_deblend{name}.json") as path:
        path.write_text(json.dumps(told, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
