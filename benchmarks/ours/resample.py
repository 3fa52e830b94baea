"""Cost of our rendering to a coarser, rotated grid, against our convolution on the model's own grid.

usage: python resample.py --out result.json [--sizes 64 128] [--bands 9]

For each size the value and gradient of a chi-square in the model cube are timed through three operators: the
convolution (same grid), the resampling to the coarse grid that the library chooses by itself, and its more accurate
variant with 6 taps. The coarse grid has pixels twice as large, is rotated and has the same centre; PSFs and noise are
those of `scarlet2_resample.py`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from astropy.wcs import WCS
from common import OUR_PACKAGES, jax, np, ss

from scarlet_sed.instrument.operator import Operator, build_operator

from blends import gaussian_psfs, round_gaussian  # isort: skip
from measuring import installed_versions, machine, peak_memory_mb, spread, write_report  # isort: skip

PIXEL_DEGREES = 0.03 / 3600
ANGLE_DEGREES = 20.0
COARSENING = 2
MODEL_PSF_SIGMA = 0.7


def sky_grid(size: int, pixel: float, angle: float) -> WCS:
    """Tangent-plane WCS of a square image: `size` in pixels, `pixel` and `angle` in degrees, one centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [size // 2 + 1, size // 2 + 1]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.pc = pixel * np.array([[-cosine, sine], [sine, cosine]])
    wcs.array_shape = (size, size)
    return wcs


def observation_on(size: int, wcs: WCS, bands: int) -> ss.Observation:
    """Noise of unit variance on a grid, with Gaussian PSFs of 1.2 to 2 of its own pixels."""
    data = np.random.default_rng(0).normal(size=(bands, size, size))
    filters = ss.Filters.generic([str(band) for band in range(bands)])
    return ss.Observation(data, filters, list(gaussian_psfs(bands)[0]), sigma=1.0, wcs=wcs)


def operators(size: int, bands: int) -> dict[str, tuple[ss.Observation, Operator]]:
    """Each observation with the operator that leads to it from one model frame of `size` pixels without margins."""
    same = observation_on(size, sky_grid(size, PIXEL_DEGREES, 0.0), bands)
    coarse_grid = sky_grid(size // COARSENING, PIXEL_DEGREES * COARSENING, ANGLE_DEGREES)
    coarse = observation_on(size // COARSENING, coarse_grid, bands)
    frame = ss.Frame.covering(same, oversampling=1, margin_px=0)

    def operator(observation: ss.Observation, **options: int) -> tuple[ss.Observation, Operator]:
        pixel_map = frame.pixel_map(observation.grid)
        return observation, build_operator(frame.shape, MODEL_PSF_SIGMA, observation.psfs, pixel_map, **options)

    return {"same_grid": operator(same), "rotated": operator(coarse), "rotated_6_taps": operator(coarse, taps=6)}


@jax.jit
def value_and_gradient(
    model: jax.Array, observation: ss.Observation, operator: Operator
) -> tuple[jax.Array, jax.Array]:
    """Minus log-likelihood of a model cube, and its gradient."""

    def objective(cube: jax.Array) -> jax.Array:
        return -observation.noise.log_likelihood(observation.data - operator(cube), observation.weights)

    return jax.value_and_grad(objective)(model)


def flux_error(operator: Operator, size: int, bands: int) -> float:
    """Flux that a point at the centre gains or loses on its way to the observation, as a fraction."""
    point = round_gaussian((size, size), np.array([size // 2, size // 2]), MODEL_PSF_SIGMA)
    cube = np.broadcast_to(point / point.sum(), (bands, size, size)).astype(np.float32)
    return float(np.asarray(operator(cube), dtype=float).sum() / bands - 1)


def measure_size(size: int, bands: int, repeats: int) -> dict[str, Any]:
    """Every operator at one size, called in turn so that they see the same machine, and its cost in convolutions."""
    pairs = operators(size, bands)
    cube = jax.numpy.asarray(np.random.default_rng(1).uniform(size=(bands, size, size)), dtype=np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in pairs}
    for _ in range(1 + repeats):
        for name, pair in pairs.items():
            begin = time.perf_counter()
            jax.block_until_ready(value_and_gradient(cube, *pair))
            seconds[name].append(time.perf_counter() - begin)
    later = {name: spread(each[1:]) for name, each in seconds.items()}
    return {
        name: {
            "grid": list(observation.shape),
            "fourier_canvas": list(operator.canvas_shape),
            "first_call_seconds": seconds[name][0],
            "call_seconds": later[name],
            "point_flux_error": flux_error(operator, size, bands),
            "cost_in_convolutions": later[name]["median"] / later["same_grid"]["median"],
            "cost_in_convolutions_fastest": later[name]["min"] / later["same_grid"]["min"],
        }
        for name, (observation, operator) in pairs.items()
    }


def main() -> None:
    """Parse the command line, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="model widths")
    parser.add_argument("--bands", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=30, help="timed calls after the first (default: 30)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    report: dict[str, Any] = {
        "script": "resample",
        "status": "ok",
        "geometry": {"bands": options.bands, "coarsening": COARSENING, "angle_degrees": ANGLE_DEGREES},
        "machine": machine(),
        "versions": installed_versions(OUR_PACKAGES),
        "sizes": {str(size): measure_size(size, options.bands, options.repeats) for size in options.sizes},
    }
    write_report(options.out, report | {"memory_mb": {"peak": peak_memory_mb()}})


if __name__ == "__main__":
    main()
