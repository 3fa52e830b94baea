"""Is a screen of dust recovered? Mock blends of a galaxy behind a known screen and one without dust, with noise.

usage: python benchmarks/sampling/dusty.py [--mocks 20] [--sampled 2] [--keep build/dusty]

Each mock has 14 NIRCam bands at the depth of JADES. It is fitted with a screen of free depth, size and place, and
without any; A_V is compared pixel by pixel where the stars of the screened galaxy have a signal-to-noise above 5 over
all bands, weighted by their light; its own width is the Laplace approximation's, or the draws' where a mock is also
sampled. Each mock is kept as it is done; run again to go on. Prints a table and writes
benchmarks/results/sampling_dusty.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from populations import NOISE, SCALE, SIDE, nircam, stars

import scarlet_sed as ss
from scarlet_sed.files import atomic
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.parameters import resolve, set_values

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

RESULTS = Path(__file__).resolve().parents[1] / "results"
SEEN = 5.0
"""Signal-to-noise of the screened galaxy's own light in a pixel, over all bands."""
DEPTH = ("dusty.screen.av", "dusty.screen.morphology.radius", "dusty.screen.offset")


def galaxy(light: Any, place: np.ndarray, redshift: float) -> ss.Source:
    return ss.Source(ss.Parameter(place, dist.Normal(place, 0.02)), light, redshift)


def shape(radius: float) -> ss.Sersic:
    return ss.Sersic(
        ss.Parameter(radius, dist.LogNormal(np.log(0.15), 0.4)),
        ss.Parameter(1.2, dist.TruncatedNormal(1.5, 1.0, low=0.3, high=8.0)),
        ss.Parameter(np.array([0.05, 0.05]), ss.EllipticityPrior(0.3)),
    )


def scene(seen: ss.Observation, *, screen: bool) -> ss.Scene:
    """Where a fit starts."""
    behind = stars(8.9, -0.4, 0.4, 0.0, None) * shape(0.18)
    if screen:
        dust = ss.DustScreen(
            ss.Calzetti(),
            ss.Gaussian(ss.Parameter(0.12, dist.LogNormal(np.log(0.12), 0.4))),
            ss.Parameter(0.8, dist.LogNormal(-0.2, 0.7)),
            offset=ss.Parameter(np.zeros(2), dist.Normal(np.zeros(2), 0.05)),
        )
        behind = behind.behind(dust)
    galaxies = {
        "clear": galaxy(stars(8.5, -0.4, 0.3, 0.0, None) * shape(0.14), np.array([0.22, -0.15]), 1.7),
        "dusty": galaxy(behind, np.array([-0.10, 0.05]), 1.2),
    }
    return ss.Scene(galaxies, ss.Frame.covering(seen))


def truth(start: ss.Scene, rng: np.random.Generator) -> dict[str, Any]:
    """What a mock is drawn with: a screen of 0.5 to 2 mag on a galaxy three times as large, off its centre."""
    drawn = {
        "dusty.screen.av": rng.uniform(0.5, 2.0),
        "dusty.screen.morphology.radius": rng.uniform(0.08, 0.18),
        "dusty.screen.offset": rng.normal(0, 0.04, 2),
        "dusty.spectrum.log_mass": rng.uniform(8.6, 9.2),
        "dusty.spectrum.history.age_fraction": rng.uniform(0.25, 0.6),
        "dusty.morphology.radius": rng.uniform(0.15, 0.25),
        "dusty.morphology.index": rng.uniform(0.8, 2.0),
        "clear.spectrum.log_mass": rng.uniform(8.3, 8.8),
        "clear.spectrum.history.age_fraction": rng.uniform(0.15, 0.5),
        "clear.morphology.radius": rng.uniform(0.10, 0.18),
    }
    for name in ("clear", "dusty"):
        drawn[f"{name}.spectrum.log_metallicity"] = rng.normal(-0.4, 0.25)
        drawn[f"{name}.spectrum.history.log_tau"] = rng.normal(0.0, 0.4)
        drawn[f"{name}.morphology.ellipticity"] = rng.normal(0, 0.15, 2)
        drawn[f"{name}.position"] = np.asarray(start.values[f"{name}.position"]) + rng.normal(0, 0.01, 2)
    return drawn


def depth_map(scene: ss.Scene, seen: ss.Observation, values: dict[str, Any]) -> Any:
    """(height, width) A_V in mag of the screen at the pixels of the image, for values of its parameters by path."""
    screen = dict(scene.sources["dusty"].screens()[0])["screen"]
    own = {path.removeprefix("dusty.screen."): value for path, value in values.items() if ".screen." in path}
    plain = resolve(set_values(screen, own))
    place = values["dusty.position"]
    rows, columns = jnp.arange(float(SIDE)), jnp.arange(float(SIDE))
    matrix = jnp.asarray(seen.grid.matrix)
    sigma = float(scene.frame.psf_sigma) * scene.frame.pixel_scale / SCALE
    x, y = seen.grid.pixels(np.zeros((1, 2)), scene.frame.tangent_point)[0] + matrix @ jnp.asarray(place)
    return plain.depth(PixelGrid(columns - x, rows - y, matrix, jnp.asarray(sigma)))


def measure(seed: int, *, sampled: bool) -> dict[str, Any]:
    """One mock, fitted with and without a screen."""
    rng = np.random.default_rng(seed)
    seen = nircam()
    start = scene(seen, screen=True)
    drawn = truth(start, rng)
    true = set_values(start, drawn)
    image = ss.render(true, seen)
    data = seen.with_data(image + NOISE * rng.normal(size=image.shape))
    light = ss.render_sources(true, seen)
    signal = np.sqrt(np.sum((light["dusty"] / NOISE) ** 2, axis=0))
    weight = np.where(signal > SEEN, np.sum(light["dusty"], axis=0), 0.0)
    weight = weight / weight.sum()
    paths = [*DEPTH, "dusty.position"]
    known = np.asarray(depth_map(start, seen, {path: jnp.asarray(true.values[path]) for path in paths}))
    begun = time.perf_counter()
    fitted = ss.fit(start, data, progress=False)
    seconds = time.perf_counter() - begun
    gaussian = fitted.gaussian(paths)
    assert gaussian is not None
    found = np.asarray(depth_map(start, seen, gaussian.values()))
    width = np.asarray(gaussian.spread(lambda values: depth_map(start, seen, values)))
    average = float(gaussian.spread(lambda values: jnp.sum(jnp.asarray(weight) * depth_map(start, seen, values))))
    row = {
        "seed": seed,
        "av": float(drawn["dusty.screen.av"]),
        "pixels": int(np.sum(weight > 0)),
        "status": fitted.status.name,
        "chi2": float(np.mean(list(fitted.chi2["nircam"].values()))),
        "bias": float(np.sum(weight * (found - known))),
        "bias_sigma": average,
        "scatter": float(np.sqrt(np.sum(weight * (found - known) ** 2))),
        "width": float(np.sqrt(np.sum(weight * width**2))),
        "clear": _flux(fitted, true),
        "seconds": seconds,
    }
    bare = ss.fit(scene(seen, screen=False), data, progress=False)
    row |= {"bare_chi2": float(np.mean(list(bare.chi2["nircam"].values()))), "bare_clear": _flux(bare, true)}
    mass = "dusty.spectrum.log_mass"
    row |= {
        name: float(np.asarray(each.scene.values[mass]) - drawn[mass])
        for name, each in (("mass", fitted), ("bare_mass", bare))
    }
    if sampled:
        row["sampled"] = _sampled(fitted, start, seen, paths, weight, known, seed)
    return row


def _flux(fitted: ss.FitResult, true: ss.Scene) -> dict[str, float]:
    """Of the galaxy without dust: error of its total flux over all bands, and that over its uncertainty."""
    paths = [path for path in fitted.scene.parameters if path.startswith("clear.spectrum")]
    gaussian = fitted.gaussian(paths)
    assert gaussian is not None
    filters = fitted.observations[0].filters

    def total(values: dict[str, Any]) -> Any:
        own = {path.removeprefix("clear.spectrum."): value for path, value in values.items()}
        spectrum = next(fitted.scene.sources["clear"].light.components())[1].spectrum
        return jnp.sum(resolve(set_values(spectrum, own)).fluxes(filters, jnp.asarray(true.values["clear.redshift"])))

    known = float(total({path: jnp.asarray(true.values[path]) for path in paths}))
    found, sigma = float(total(gaussian.values())), float(gaussian.spread(total))
    return {"relative": found / known - 1, "score": (found - known) / sigma}


def _sampled(
    fitted: ss.FitResult, start: ss.Scene, seen: ss.Observation, paths: list[str], weight: Any, known: Any, seed: int
) -> dict[str, Any]:
    result = ss.sample(fitted, warmup=200, draws=250, target_accept=0.9, seed=seed, progress=False)
    found = result.diagnosis
    assert found is not None
    flat = {path: jnp.asarray(result.draws[path].reshape(-1, *result.draws[path].shape[2:])[::5]) for path in paths}
    maps = np.asarray(jax.lax.map(lambda values: depth_map(start, seen, values), flat))
    return {
        "status": result.status.name,
        "rhat": found.worst_rhat,
        "bulk": found.least_bulk,
        "bias": float(np.sum(weight * (maps.mean(0) - known))),
        "bias_sigma": float(np.std(np.sum(weight * maps, axis=(1, 2)))),
        "scatter": float(np.sqrt(np.sum(weight * (maps.mean(0) - known) ** 2))),
        "width": float(np.sqrt(np.sum(weight * maps.var(0)))),
        "seconds": sum(result.timing),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The table's numbers, over all mocks."""
    bias, sigma = (np.array([row[name] for row in rows]) for name in ("bias", "bias_sigma"))
    scatter, width = (np.array([row[name] for row in rows]) for name in ("scatter", "width"))
    scores = {kind: np.array([row[kind]["score"] for row in rows]) for kind in ("clear", "bare_clear")}
    off = {kind: np.array([row[kind]["relative"] for row in rows]) for kind in ("clear", "bare_clear")}
    return {
        "mocks": str(len(rows)),
        "A_V bias, mean (mag)": f"{bias.mean():+.3f} +- {bias.std() / np.sqrt(len(rows)):.3f}",
        "|bias| of a mock, largest": f"{np.abs(bias).max():.3f}",
        "bias over its sigma, rms": f"{np.sqrt(np.mean((bias / sigma) ** 2)):.2f}",
        "scatter over width, rms": f"{np.sqrt(np.mean((scatter / width) ** 2)):.2f}",
        "clear galaxy's flux, mean error": f"{off['clear'].mean():+.2%}",
        "over its sigma, rms": f"{np.sqrt(np.mean(scores['clear'] ** 2)):.2f}",
        "chi-square": f"{np.mean([row['chi2'] for row in rows]):.3f}",
        "without a screen: clear flux": f"{off['bare_clear'].mean():+.2%}",
        "over sigma, rms": f"{np.sqrt(np.mean(scores['bare_clear'] ** 2)):.2f}",
        "chi-square without": f"{np.mean([row['bare_chi2'] for row in rows]):.3f}",
        "mass of the dusty galaxy (dex)": f"{np.mean([row['mass'] for row in rows]):+.3f}",
        "mass without": f"{np.mean([row['bare_mass'] for row in rows]):+.3f}",
    }


def main() -> int:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mocks", type=int, default=20)
    parser.add_argument("--sampled", type=int, default=2, help="so many of them are sampled, too")
    parser.add_argument("--keep", type=Path, default=Path("build/dusty"))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(options.mocks):
        path = options.keep / f"{seed:04d}.json"
        if not path.exists():
            found = measure(seed, sampled=seed < options.sampled)
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(found, indent=1))
        rows.append(json.loads(path.read_text()))
        print(json.dumps(rows[-1]), flush=True)
    table = summary(rows)
    print(markdown(("", ""), [list(item) for item in table.items()]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sampling_dusty.json").write_text(json.dumps({"mocks": rows, "summary": table}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
