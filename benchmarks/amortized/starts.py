"""Do fits of blends that begin at an amortized posterior's draws get higher, and sooner, than those that do not?

usage: python benchmarks/amortized/starts.py [--posterior jades_delayed] [--blends 50] [--sampled 4]

Blends of two populations of free redshift in 32 pixels squared and seven bands, drawn from their priors. Shapes and
places of all fits are those of a fit with free fluxes, begun at the priors' middles. Spectra begin
    middle: at the middles of the priors, the mass scaled to the light,
    library: where `fit_photometry` ends from its library of spectra and redshifts (what `scarlet-sed fit` does),
    network: where it ends from the draws of the posterior.
What counts: the log-posterior in the end, the steps until it is there, CPU-seconds of start and fit; and of some the
leapfrog steps that the warm-up of NUTS takes. Blends are kept as they are done; run again to go on. Prints a table and
writes benchmarks/results/amortized_starts.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import results

import scarlet_sed as ss
from scarlet_sed.files import atomic
from scarlet_sed.infer.simulate import simulate
from scarlet_sed.parameters import resolve
from scarlet_sed.start.fluxes import linear_fluxes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "calibration"))
from begin import free_fluxes, populations
from scenes import redshifts

ARMS = ("middle", "library", "network")
NEAR = 1.0
"""In log-posterior: fits this near to each other are alike."""


def scaled(scene: ss.Scene, observation: ss.Observation) -> dict[str, Any]:
    """Masses at which spectra as they are have the light that is seen."""
    linear = linear_fluxes(scene, observation)
    found = {}
    for name, source in resolve(scene).sources.items():
        now = np.asarray(source.light.spectrum.fluxes(observation.filters, source.redshift))
        weight = 1 / linear.error[name] ** 2
        ratio = np.sum(weight * now * linear.flux[name]) / np.sum(weight * now**2)
        mass = scene.values[f"{name}.spectrum.log_mass"] + np.log10(max(ratio, 1e-2))
        found[f"{name}.spectrum.log_mass"] = np.clip(mass, 5.05, 12.45)
    return found


def blend(posterior: ss.AmortizedPosterior, seed: int, sampled: bool) -> dict[str, Any]:
    """One blend, fitted from all starts."""
    scene, blank = redshifts()
    made = simulate(scene, blank, seed)
    seen = made.observations[0]
    shapes = free_fluxes(scene, seen)
    places = {path: shapes.scene.values[path] for path in shapes.scene.parameters if path in scene.parameters}
    begun = scene.set(places)
    found: dict[str, Any] = {"seed": seed}
    for arm in ARMS:
        start = time.process_time()
        if arm == "middle":
            values = scaled(begun, shapes.observations[0])
        else:
            values = populations(shapes, scene, posterior if arm == "network" else None).values
        between = time.process_time()
        result = ss.fit(begun.set(values), shapes.observations[0], steps=3000, progress=False)
        found[arm] = {
            "log_posterior": float(result.log_posterior),
            "status": result.status.name,
            "steps": result.steps,
            "loss": np.minimum.accumulate(result.loss).tolist(),
            "start_seconds": between - start,
            "fit_seconds": time.process_time() - between,
            "redshift": [float(result.scene.values[f"{name}.redshift"]) for name in scene.sources],
        }
        if sampled and arm != "library":
            drawn = ss.sample(result, chains=2, warmup=150, draws=50, seed=seed, progress=False)
            found[arm]["warmup_leapfrogs"] = int(drawn.warmup_leapfrogs)
    found["truth"] = [float(made.truth[f"{name}.redshift"]) for name in scene.sources]
    return found


def reached(row: dict[str, Any], arm: str, level: float) -> float:
    """Steps until the log-posterior is that high; infinite if it never is."""
    there = np.flatnonzero(-np.array(row[arm]["loss"]) >= level)
    return float(there[0] + 1) if there.size else np.inf


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posterior", default="jades_delayed")
    parser.add_argument("--blends", type=int, default=50)
    parser.add_argument("--sampled", type=int, default=4)
    parser.add_argument("--keep", type=Path, default=Path("build/amortized/starts"))
    options = parser.parse_args()
    posterior = ss.load_amortized(options.posterior)
    options.keep.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(options.blends):
        path = options.keep / f"{seed:03d}.json"
        if not path.exists():
            row = blend(posterior, seed, seed < options.sampled)
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(row))
        rows.append(json.loads(path.read_text()))
        print(
            seed, {arm: (round(rows[-1][arm]["log_posterior"], 1), rows[-1][arm]["steps"]) for arm in ARMS}, flush=True
        )
    top = {arm: np.array([row[arm]["log_posterior"] for row in rows]) for arm in ARMS}
    best = np.max(list(top.values()), axis=0)
    found: dict[str, Any] = {"blends": len(rows), "load": os.getloadavg(), "arms": {}}
    truth = np.array([row["truth"] for row in rows])
    for arm in ARMS:
        until = np.array([reached(row, arm, level - NEAR) for row, level in zip(rows, best, strict=True)])
        z = np.array([row[arm]["redshift"] for row in rows])
        own = [row[arm].get("warmup_leapfrogs") for row in rows if "warmup_leapfrogs" in row[arm]]
        found["arms"][arm] = {
            "at_the_highest": float(np.mean(top[arm] >= best - NEAR)),
            "median_steps_to_the_highest": float(np.median(until)),
            "median_steps": float(np.median([row[arm]["steps"] for row in rows])),
            "start_seconds": float(np.median([row[arm]["start_seconds"] for row in rows])),
            "fit_seconds": float(np.median([row[arm]["fit_seconds"] for row in rows])),
            "redshifts_off": float(np.mean(np.abs(z - truth) > 0.15 * (1 + truth))),
            "warmup_leapfrogs": own,
        }
        print(arm, {k: np.round(v, 3) for k, v in found["arms"][arm].items()})
    for other in ("middle", "library"):
        share = float(np.mean(top["network"] >= top[other] - NEAR))
        found[f"as_high_as_{other}"] = share
        higher = float(np.mean(top["network"] > top[other] + NEAR))
        print(f"network as high as {other} or higher: {share:.2f}; higher {higher:.2f}")
    results.write("amortized_starts", found)


if __name__ == "__main__":
    main()
