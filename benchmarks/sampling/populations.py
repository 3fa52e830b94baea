"""How well blends of stellar populations are sampled: convergence, steps per effective draw, and wall time.

usage: python benchmarks/sampling/populations.py [--scene small jades] [--seeds 1] [--warmup 200] [--draws 500]
                                                 [--target-accept 0.9] [--straight]

`small`: two populations with dust inside, 32 x 32 pixels, seven bands, 35 parameters, drawn from their priors (the
scene of `make calibrate`). `jades`: three blended galaxies, one behind a screen of dust, 48 x 48 pixels, 14 NIRCam
bands with JWST-like PSFs at the depth of JADES. Prints a table and writes benchmarks/results/sampling_populations.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.demo_scene import Band, psf_image
from scarlet_sed.parameters import as_float

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from table import markdown

BENCHMARKS = Path(__file__).resolve().parents[1]

NIRCAM = (
    # name, pivot in micron, noise in nJy a pixel of 0.03"
    ("F070W", 0.704, 0.16),
    ("F090W", 0.903, 0.13),
    ("F115W", 1.154, 0.11),
    ("F150W", 1.501, 0.11),
    ("F182M", 1.845, 0.14),
    ("F200W", 1.990, 0.10),
    ("F210M", 2.096, 0.14),
    ("F277W", 2.786, 0.07),
    ("F335M", 3.360, 0.10),
    ("F356W", 3.563, 0.075),
    ("F410M", 4.083, 0.12),
    ("F430M", 4.280, 0.15),
    ("F444W", 4.421, 0.11),
    ("F460M", 4.630, 0.20),
)
NOISE = np.array([noise for *_, noise in NIRCAM])[:, None, None]
SIDE, SCALE = 48, 0.03


def small(seed: int) -> tuple[ss.Scene, list[ss.Observation]]:
    """Two galaxies drawn from their priors."""
    spec = importlib.util.spec_from_file_location("calibration", BENCHMARKS / "calibration" / "scenes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = ss.simulate(*module.populations(), seed)
    return made.scene, list(made.observations)


def nircam() -> ss.Observation:
    """Blank images with JADES-like depth and PSFs."""
    import galsim

    psfs = [ss.PSF(psf_image(galsim, Band(n, wave, SCALE, s)), oversampling=2) for n, wave, s in NIRCAM]
    blank = np.zeros((len(NIRCAM), SIDE, SIDE))
    return ss.Observation(blank, [n for n, *_ in NIRCAM], psfs, sigma=NOISE, pixel_scale=SCALE, name="nircam")


def jades(seed: int) -> tuple[ss.Scene, list[ss.Observation]]:
    """Three blended galaxies of known redshift with signal-to-noise of 300, 170 and 130 over all bands."""
    blank = nircam()
    screen = ss.DustScreen(
        ss.Calzetti(),
        ss.Gaussian(ss.Parameter(0.1, dist.LogNormal(np.log(0.1), 0.4))),
        ss.Parameter(1.2, dist.LogNormal(-0.5, 0.8)),
    )
    galaxies = {
        "blue": _galaxy((0.28, -0.20), stars(8.2, -0.6, 0.2, -0.3, 0.15) * _shape(0.09, (0.1, -0.2)), 2.9),
        "disk": _galaxy((0.02, 0.05), stars(8.9, -0.2, 0.6, 0.5, 0.40) * _shape(0.18, (0.25, 0.1)), 1.6),
        "dusty": _galaxy(
            (-0.20, -0.15), (stars(8.7, -0.1, 0.35, 0.2, None) * _shape(0.14, (-0.1, 0.2))).behind(screen), 2.3
        ),
    }
    scene = ss.Scene(galaxies, ss.Frame.covering(blank))
    drawn = ss.render(scene, blank)
    return scene, [blank.with_data(drawn + NOISE * np.random.default_rng(seed).normal(size=drawn.shape))]


def _galaxy(place: tuple[float, float], light: Any, redshift: float) -> ss.Source:
    return ss.Source(ss.Parameter(np.array(place), dist.Normal(np.array(place), 0.015)), light, redshift)


def _shape(radius: float, ellipticity: tuple[float, float]) -> ss.Sersic:
    return ss.Sersic(
        ss.Parameter(radius, dist.LogNormal(np.log(0.12), 0.5)),
        ss.Parameter(1.0, dist.TruncatedNormal(1.5, 1.5, low=0.3, high=8.0)),
        ss.Parameter(np.array(ellipticity), ss.EllipticityPrior(0.3)),
    )


def stars(
    log_mass: float, log_metallicity: float, age: float, log_tau: float, av: float | None
) -> ss.StellarPopulation:
    dust = None
    if av is not None:
        dust = ss.Attenuation(
            ss.Salim(
                slope=ss.Parameter(-0.2, dist.TruncatedNormal(-0.2, 0.25, low=-1.2, high=0.5)), bump=as_float(1.0)
            ),
            av=ss.Parameter(av, dist.LogNormal(-1.2, 0.9)),
            birth_cloud=ss.Parameter(1.5, dist.LogNormal(0.4, 0.25)),
        )
    return ss.StellarPopulation(
        ss.Parameter(log_mass, dist.Uniform(5.0, 12.5)),
        ss.Parameter(log_metallicity, dist.TruncatedNormal(-0.4, 0.4, low=-2.2, high=0.5)),
        ss.Parameter(-2.5, dist.TruncatedNormal(-2.5, 0.4, low=-4.0, high=-1.0)),
        history=ss.DelayedTau(
            age_fraction=ss.Parameter(age, dist.Beta(1.3, 1.3)),
            log_tau=ss.Parameter(log_tau, dist.TruncatedNormal(0.0, 0.7, low=-2.0, high=2.0)),
        ),
        attenuation=dust,
    )


def measure(kind: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Sample one scene, from its truth uphill."""
    scene, observations = {"small": small, "jades": jades}[kind](seed)
    truth = {path: np.asarray(leaf.value, float) for path, leaf in scene.parameters.items()}
    result = ss.sample(
        scene,
        observations,
        warmup=options.warmup,
        draws=options.draws,
        target_accept=options.target_accept,
        seed=seed,
        learn=not options.straight,
        checkpoint=None if options.keep is None else options.keep / f"{kind}-{seed}",
    )
    found = result.diagnosis
    assert found is not None
    scores = np.concatenate(
        [
            np.ravel((np.mean(v, axis=(0, 1)) - truth[p]) / np.std(v, axis=(0, 1)))
            for p, v in result.draws.items()
            if p in truth
        ]
    )
    return {
        "scene": kind,
        "seed": seed,
        "status": result.status.name,
        "R-hat": round(found.worst_rhat, 4),
        "bulk": round(found.least_bulk),
        "tail": round(found.least_tail),
        "divergences": f"{found.divergences} of {int(np.prod(result.shape))}",
        "steps a draw": round(found.leapfrogs / int(np.prod(result.shape)), 1),
        "steps/ESS": round(found.leapfrogs / found.least_bulk, 1),
        "score std": round(float(np.std(scores)), 2),
        "start s": round(result.timing.start),
        "run s": round(result.timing.run),
        "load": round(os.getloadavg()[0], 1),
        "hardest": ", ".join(found.hardest[:2]),
    }


def main() -> int:
    """Sample the scenes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", nargs="+", choices=["small", "jades"], default=["small", "jades"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--target-accept", type=float, default=0.9)
    parser.add_argument("--straight", action="store_true", help="whitened by the curvature only")
    parser.add_argument("--keep", type=Path, help="a folder for checkpoints")
    options = parser.parse_args()
    rows = [measure(kind, seed, options) for kind in options.scene for seed in options.seeds]
    print(markdown(tuple(rows[0]), [[str(value) for value in row.values()] for row in rows]))
    (BENCHMARKS / "results").mkdir(exist_ok=True)
    path = BENCHMARKS / "results" / "sampling_populations.json"
    path.write_text(json.dumps({"options": {k: str(v) for k, v in vars(options).items()}, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
