"""One model of all pixels, or fluxes first and physics after? Both on the same blends, whose truth is known.

usage: python benchmarks/amortized/joint.py [--blends 200] [--draws 2000]

The blends are those of the calibration of free redshifts (`benchmarks/calibration/run.py --kinds redshifts`): two
populations in 32 pixels squared and seven bands, drawn from their priors. Three ways to their physics, under one prior:
    joint: the posterior of the scene, from the pixels: the means of those trials,
    deblended: a free flux for each band and galaxy in the same shapes, then a posterior of each galaxy's fluxes,
    apertures: fluxes in circles around the galaxies on images matched to the widest PSF, made total by what a galaxy
        of the prior's middle shape has outside, then the same posterior.
The posterior of fluxes is exact: draws of the one that ships, weighted by likelihood and prior. A galaxy is blended by
how much light its neighbour has in its circle for each of its own, in the median band. Blends are kept as they are
done; run again to go on. Prints tables and writes benchmarks/results/amortized_joint.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import results

import scarlet_sed as ss
from scarlet_sed.amortized.bins import summed
from scarlet_sed.amortized.posterior import effective
from scarlet_sed.files import atomic
from scarlet_sed.infer.calibration.trial import Trial
from scarlet_sed.infer.simulate import simulate
from scarlet_sed.instrument.geometry import PixelGrid
from scarlet_sed.instrument.matching import Matched, match_psfs
from scarlet_sed.start.fluxes import linear_fluxes
from scarlet_sed.typing import Array, HostArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "calibration"))
import itertools

from archive import everything
from begin import free_fluxes
from kinds import COLOUR, colour, faint, shipped, total
from scenes import observation

ARMS = ("joint", "deblended", "apertures")
RADIUS = 0.2
"""Of the circles, arcsec; the galaxies are about 0.35 apart."""
DEGREES = (0.0, 0.1, 0.3, np.inf)
"""Edges of the classes of blending."""
REDDEST = 7.5
"""Magnitudes of colour that draws have at the most: where a band holds no light at all it has no end."""
OFF = {"redshift": 0.15, "log_mass": 0.5, "colour": 0.3}
"""Errors that make an outlier: of the redshift as a share of 1 + z, in dex, in magnitudes."""


def circle(grid: PixelGrid, place: HostArray) -> np.ndarray:
    """(height, width) label 0 within `RADIUS` of a place (east and north, arcsec), -1 elsewhere."""
    y, x = np.indices(grid.shape)
    away = grid.offsets(x, y, None) - place
    return np.where(np.hypot(away[..., 0], away[..., 1]) < RADIUS, 0, -1)


def in_circle(matched: Matched, place: HostArray) -> tuple[HostArray, HostArray]:
    """(band,) nJy in a circle around a place, and the errors."""
    flux, error = summed(matched, circle(matched.grid, place))
    return flux[0], error[0]


@cache
def share_inside(name: str) -> float:
    """Share of its light that a circle holds of a galaxy with the shape of the priors' middle."""
    scene, _ = faint()
    matched = match_psfs(observation().with_data(ss.render_sources(scene, observation())[name]))
    inside, _ = in_circle(matched, scene.values[f"{name}.position"])
    return float(np.median(inside / total(scene, name, observation().filters)))


@eqx.filter_jit
def _of_draws(posterior: ss.AmortizedPosterior, values: dict[str, Array], filters: Any) -> Array:
    """(draw, band) nJy."""
    return jax.vmap(lambda own: posterior.described.model.fluxes(own, own["redshift"], filters))(values)


def physics(source: ss.Source, flux: HostArray, error: HostArray, draws: int) -> dict[str, Any]:
    """Means and deviations of what the fluxes of a galaxy say under its priors, and how many draws count.

    Args:
        source: with priors.
        flux, error: (band,) nJy.
        draws: of the posterior that ships, to be weighted.
    """
    posterior, filters = shipped(), observation().filters
    there = [(place, band) for place, band in enumerate(posterior.filters.places_in(filters)) if band >= 0]
    assert len(there) == len(filters)
    known, sigma = (np.full((1, len(posterior.filters)), np.nan) for _ in range(2))
    for place, band in there:
        known[0, place], sigma[0, place] = flux[band], error[band]
    found = posterior.sample(known, sigma, draws=draws)
    weights = posterior.log_weights(found, known, sigma)[0]
    own = {path: jnp.asarray(value[0]) for path, value in found.values.items()}
    z = own["redshift"]
    for prior, value, before in (
        (source.redshift.prior, z, posterior.redshift),
        (source.light.spectrum.log_mass.prior, own["log_mass"], posterior.described.model.priors["log_mass"]),
    ):
        inside = np.asarray(prior.support(value))
        within = jnp.where(inside, value, value[np.argmax(inside)])
        ratio = prior.log_prob(within) - before.log_prob(within)
        weights = weights + np.where(inside, ratio, -np.inf)
    light = np.asarray(_of_draws(posterior, own, filters), np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        red = np.clip(np.nan_to_num(colour(filters, light), nan=REDDEST), -REDDEST, REDDEST)
    numbers = {"redshift": z, "log_mass": own["log_mass"], "colour": red}
    share = np.exp(weights - weights.max())
    share /= share.sum()
    row: dict[str, Any] = {"effective": float(effective(weights[None])[0])}
    for name, each in numbers.items():
        plain = np.asarray(each, np.float64)
        mean = float(np.sum(share * plain))
        row[name] = [mean, float(np.sqrt(np.sum(share * (plain - mean) ** 2)))]
    return row


def blend(seed: int, draws: int) -> dict[str, Any]:
    """One blend: how far its galaxies blend, and what the ways by fluxes find."""
    scene, blank = faint()
    made = simulate(scene, blank, seed)
    shapes = free_fluxes(scene, made.observations[0])
    fitted = shapes.observations[0]
    linear = linear_fluxes(shapes.scene, fitted)
    alone = ss.render_sources(made.scene, observation())
    apart = {name: match_psfs(observation().with_data(image)) for name, image in alone.items()}
    matched = match_psfs(fitted)
    found: dict[str, Any] = {"seed": seed}
    for name, source in scene.sources.items():
        place = np.asarray(scene.values[f"{name}.position"], float)
        light = {other: in_circle(image, place)[0] for other, image in apart.items()}
        flux, error = (each / share_inside(name) for each in in_circle(matched, place))
        found[name] = {
            "blended": float(np.median(sum(v for other, v in light.items() if other != name) / light[name])),
            "apertures": physics(source, flux, error, draws),
            "deblended": physics(source, linear.flux[name], linear.error[name], draws),
        }
    return found


def of_trial(trial: Trial, name: str) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Means and deviations of the joint posterior of a galaxy, and the truth."""
    places = {
        "redshift": f"{name}.redshift",
        "log_mass": f"{name}.spectrum.log_mass",
        "colour": f"{name}.{'-'.join(COLOUR)}",
    }
    rows = {what: trial.names.index(path) for what, path in places.items()}
    return (
        {what: [trial.mean[row], trial.deviation[row]] for what, row in rows.items()},
        {what: trial.truth[row] for what, row in rows.items()},
    )


def judged(what: str, rows: list[dict[str, Any]], arm: str) -> dict[str, float]:
    """Bias, scatter, outliers and the share of truths within a deviation."""
    mean, deviation = np.array([row[arm][what] for row in rows], float).T
    truth = np.array([row["truth"][what] for row in rows])
    off = (mean - truth) / (1 + truth if what == "redshift" else 1.0)
    middle = float(np.median(off))
    return {
        "bias": middle,
        "scatter": float(1.4826 * np.median(np.abs(off - middle))),
        "rms": float(np.sqrt(np.mean(off**2))),
        "outliers": float(np.mean(np.abs(off) > OFF[what])),
        "within": float(np.mean(np.abs(mean - truth) < deviation)),
        "width": float(np.median(deviation)),
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blends", type=int, default=200)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--keep", type=Path, default=Path("build/amortized/joint"))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    there = everything("redshifts")
    if there is None:
        raise SystemExit("there are no trials: run benchmarks/calibration/run.py --kinds redshifts first")
    done = {trial.seed: trial for trial in there.trials}
    rows = []
    for seed in sorted(done)[: options.blends]:
        path = options.keep / f"{seed:03d}.json"
        if not path.exists():
            row = blend(seed, options.draws)
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(row))
        row = json.loads(path.read_text())
        for name in ("one", "two"):
            joint, truth = of_trial(done[seed], name)
            rows.append({**row[name], "joint": joint, "truth": truth, "rhat": done[seed].rhat})
        print(seed, {name: round(row[name]["blended"], 2) for name in ("one", "two")}, flush=True)
    found: dict[str, Any] = {"galaxies": len(rows), "load": os.getloadavg(), "classes": {}}
    for low, high in [(0.0, np.inf), *itertools.pairwise(DEGREES)]:
        some = [row for row in rows if low <= row["blended"] < high]
        if not some:
            continue
        table = {what: {arm: judged(what, some, arm) for arm in ARMS} for what in OFF}
        found["classes"][f"{low:g}-{high:g}"] = {"galaxies": len(some), **table}
        print(f"\nneighbour's light over own {low:g} to {high:g}: {len(some)} galaxies")
        print(f"{'':>10}{'':>11}" + "".join(f"{key:>10}" for key in next(iter(table["redshift"].values()))))
        for what, arms in table.items():
            for arm, numbers in arms.items():
                print(f"{what:>10}{arm:>11}" + "".join(f"{value:10.3f}" for value in numbers.values()))
    few = np.mean([row[arm]["effective"] < 50 for row in rows for arm in ("deblended", "apertures")])
    found["few_draws"], found["not_mixed"] = float(few), float(np.mean([row["rhat"] > 1.1 for row in rows]))
    print(f"\nfewer than 50 effective draws of fluxes: {few:.1%}; joint with R-hat above 1.1: {found['not_mixed']:.1%}")
    results.write("amortized_joint", found)


if __name__ == "__main__":
    main()
