"""Blends of two galaxies sampled with a learnt prior on both images: do the intervals hold the truth?

usage: python benchmarks/priors/coverage.py [--blends 20] [--first 500] [--kinds normal flow] [--own]
                                            [--warmup 200] [--draws 200] [--keep build/coverage]

Fluxes of five bands and both images are free, 2,056 numbers. Looked at are the total flux of each galaxy in each band,
and its light in every pixel among the brightest ones with 90 % of it, through a Gaussian of one pixel. Galaxies are of
the recipe that the prior was learnt from, so that what is wrong may be the prior; with `--own` they are the prior's own
draws, so that it may not. Each blend is kept as it is done; run again to go on. Prints a table and writes
benchmarks/results/priors_coverage*.json.
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
import jax
import kinds
import numpy as np
from deblend import keep, kept, start
from scipy.ndimage import gaussian_filter

import scarlet_sed as ss
from scarlet_sed.infer.sampling.maps import brightest
from scarlet_sed.io.outputs import write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from jobs import RESULTS
from table import markdown

LEVELS = (0.68, 0.95)
HELD = 0.9


def measure(made: blends.Blend, prior: Any, warmup: int, draws: int, seed: int) -> dict[str, Any]:
    """One blend, sampled from its fit."""
    begun = time.perf_counter()
    fitted = ss.fit(start(made, prior, made.places), made.data, progress=False, uncertainties=False)
    middle = time.perf_counter()
    posterior = ss.sample(fitted, warmup=warmup, draws=draws, seed=seed, progress=False)
    found: dict[str, list[Any]] = {name: [] for name in ("flux", "pixels")}
    for number, name in enumerate("ab"):
        fluxes = posterior.draws[f"{name}.spectrum.flux"].reshape(-1, len(blends.BANDS))
        found["flux"].append(told(fluxes, made.fluxes[number]))
        images = posterior.draws[f"{name}.morphology.image"].reshape(-1, blends.STAMP, blends.STAMP)
        inside = brightest(made.images[number], HELD)
        seen = gaussian_filter(images, (0, 1, 1))[:, inside]
        found["pixels"].append(told(seen, gaussian_filter(made.images[number], 1)[inside]))
    return {
        "signal": made.signal,
        "fit_s": middle - begun,
        "sample_s": time.perf_counter() - middle,
        "status": posterior.status.name,
        "rhat": float(max(np.max(posterior.diagnosis.rhat[f"{name}.spectrum.flux"]) for name in "ab")),
        "leapfrogs": float(np.mean(posterior.statistics["leapfrogs"])),
        "divergences": float(np.mean(posterior.statistics["diverging"])),
        **found,
    }


def told(draws: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Share of (n,) numbers whose truth each level's interval of (draw, n) holds, and their errors."""
    away = (truth - draws.mean(axis=0)) / draws.std(axis=0)
    inside = []
    for level in LEVELS:
        low, high = np.quantile(draws, (0.5 - level / 2, 0.5 + level / 2), axis=0)
        inside.append(float(np.mean((low < truth) & (truth < high))))
    return {"inside": inside, "z": float(np.sqrt(np.mean(away**2))), "bias": float(np.mean(away))}


def line(kind: str, signal: float | None, rows: list[dict[str, Any]]) -> list[str]:
    """One row of the table: means over galaxies."""
    own = [row for row in rows if signal in (None, row["signal"])]
    cells = []
    for name in ("flux", "pixels"):
        galaxies = [each for row in own for each in row[name]]
        held = np.mean([each["inside"] for each in galaxies], axis=0)
        cells.append(" / ".join(f"{share:.0%}" for share in held))
        cells.append(f"{np.sqrt(np.mean([each['z'] ** 2 for each in galaxies])):.2f}")
    return [
        kind,
        "all" if signal is None else f"{signal:g}",
        str(len(own)),
        *cells,
        f"{np.median([row['rhat'] for row in own]):.3f} / {max(row['rhat'] for row in own):.3f}",
        f"{np.mean([row['leapfrogs'] for row in own]):.1f}",
        f"{np.mean([row['divergences'] for row in own]):.2%}",
        f"{np.median([row['sample_s'] for row in own]):.0f}",
    ]


def main() -> int:
    """Sample what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blends", type=int, default=20)
    parser.add_argument("--first", type=int, default=500)
    parser.add_argument("--kinds", nargs="+", default=["normal", "flow"])
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--keep", type=Path, default=Path("build/coverage"))
    options = parser.parse_args()
    name = "_own" if options.own else ""
    folder = options.keep / f"{options.warmup}_{options.draws}{name}"
    folder.mkdir(parents=True, exist_ok=True)
    known = kinds.priors()
    table = []
    for kind in options.kinds:
        rows = []
        for seed in range(options.first, options.first + options.blends):
            path = kept(folder, kind, seed)
            if not path.exists():
                own = np.asarray(known[kind].sample(jax.random.key(seed), (2,)), float) if options.own else None
                made = blends.blend(seed, images=own)
                keep(path, measure(made, known[kind], options.warmup, options.draws, seed))
            rows.append(json.loads(path.read_text()))
            print(f"{kind} {seed}: {line(kind, None, rows[-1:])[3:]}", flush=True)
        signals = sorted({row["signal"] for row in rows})
        table += [line(kind, signal, rows) for signal in (*signals, None)]
    head = ("prior", "S/N", "blends", "fluxes in 68 / 95 %", "rms", "pixels in 68 / 95 %", "rms")
    head = (*head, "R-hat of fluxes, median / worst", "leapfrogs", "divergent", "s")
    print(markdown(head, table))
    report = {"head": head, "table": table, "own": options.own, "load_1min": os.getloadavg()[0]}
    write_json(RESULTS / f"priors_coverage{name}.json", report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
