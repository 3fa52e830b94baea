"""Cost of scarlet2's rendering to a coarser, rotated grid, against its convolution on the model's own grid.

usage: python scarlet2_resample.py --out result.json [--sizes 64 128] [--bands 9]

For each size the value and gradient of a chi-square in the model cube are timed through three renderers: the
convolution (same grid), the Fourier warp (what scarlet2 chooses by itself when the grids differ), and its
Lanczos resampling (on request; in 0.5.1 it fails, and the report says so). The coarse grid has pixels twice
as large, is rotated and has the same centre.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import installed_versions, machine, peak_memory_mb, spread, use_plain_cpu, write_report

use_plain_cpu()

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpyro  # noqa: E402
import scarlet2 as sc2  # noqa: E402
import scarlet2_scene as peer  # noqa: E402
from astropy.wcs import WCS  # noqa: E402
from blends import gaussian_psfs  # noqa: E402
from scarlet2.renderer import LanczosResamplingRenderer  # noqa: E402

PIXEL_DEGREES = 0.03 / 3600
ANGLE_DEGREES = 20.0
COARSENING = 2


def sky_grid(size: int, pixel: float, angle: float) -> WCS:
    """Tangent-plane WCS of a square image: `size` in pixels, `pixel` and `angle` in degrees, one centre.

    scarlet2 reads the PC matrix alone and never CDELT, so the pixel scale has to stand in the matrix.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [size // 2 + 1, size // 2 + 1]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.pc = pixel * np.array([[-cosine, sine], [sine, cosine]])
    wcs.array_shape = (size, size)
    return wcs


def observation_on(size: int, wcs: WCS, bands: int) -> sc2.Observation:
    """Noise of unit variance on a grid, with Gaussian PSFs of 1.2 to 2 of its own pixels."""
    data = np.random.default_rng(0).normal(size=(bands, size, size))
    return sc2.Observation(data, weights=np.ones_like(data), psf=gaussian_psfs(bands)[0], wcs=wcs)


def renderings(size: int, bands: int) -> dict[str, Callable[[], sc2.Observation]]:
    """What makes the observation for each renderer, matched to one model frame."""
    fine = sky_grid(size, PIXEL_DEGREES, 0.0)
    coarse_size = size // COARSENING
    coarse = sky_grid(coarse_size, PIXEL_DEGREES * COARSENING, ANGLE_DEGREES)
    frame = sc2.Frame(sc2.Box((bands, size, size)), psf=sc2.GaussianPSF(0.7), wcs=fine)

    def matched(pixels: int, grid: WCS, by_lanczos: bool) -> sc2.Observation:
        observation = observation_on(pixels, grid, bands)
        renderer = LanczosResamplingRenderer(frame, observation.frame) if by_lanczos else None
        observation.match(frame, renderer=renderer)
        return observation

    return {
        "same_grid": partial(matched, size, fine, False),
        "fourier_warp": partial(matched, coarse_size, coarse, False),
        "lanczos": partial(matched, coarse_size, coarse, True),
    }


@eqx.filter_jit
def value_and_gradient(model: jax.Array, observation: sc2.Observation) -> tuple[jax.Array, jax.Array]:
    """Minus log-likelihood of a model cube, and its gradient."""
    return jax.value_and_grad(lambda cube: -observation.log_likelihood(cube))(model)


def render_error(observation: sc2.Observation, size: int) -> float:
    """Flux that a point at the centre gains or loses on its way to the observation, as a fraction."""
    bands = observation.data.shape[0]
    psf = np.asarray(sc2.GaussianPSF(0.7)())
    half = psf.shape[0] // 2
    cube = np.zeros((bands, size, size))
    middle = slice(size // 2 - half, size // 2 + half + 1)
    cube[:, middle, middle] = psf
    return float(np.asarray(observation.render(jnp.asarray(cube))).sum() / bands - 1)


def measure(observation: sc2.Observation, size: int, repeats: int) -> dict[str, Any]:
    """First call and later calls of value and gradient, in seconds."""
    bands = observation.data.shape[0]
    cube = jnp.asarray(np.random.default_rng(1).uniform(size=(bands, size, size)))
    begin = time.perf_counter()
    jax.block_until_ready(value_and_gradient(cube, observation))
    first = time.perf_counter() - begin
    later = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(value_and_gradient(cube, observation))
        later.append(time.perf_counter() - begin)
    return {
        "renderer": peer.renderer_names(observation),
        "grid": list(observation.data.shape),
        "first_call_seconds": first,
        "call_seconds": spread(later),
        "point_flux_error": render_error(observation, size),
    }


def measure_size(size: int, bands: int, repeats: int) -> dict[str, Any]:
    """Every renderer at one size, and what it costs in units of the same-grid convolution."""
    results: dict[str, Any] = {}
    for name, make in renderings(size, bands).items():
        try:
            results[name] = measure(make(), size, repeats)
        except TypeError as error:  # the Lanczos renderer of 0.5.1 fails wherever both frames have a PSF
            results[name] = {"failed": f"{type(error).__name__}: {error}"}
    unit = results["same_grid"]["call_seconds"]["median"]
    for result in results.values():
        if "failed" not in result:
            result["cost_in_convolutions"] = result["call_seconds"]["median"] / unit
    return results


def main() -> None:
    """Parse the command line, measure, write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="model widths")
    parser.add_argument("--bands", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=5, help="timed calls after the first (default: 5)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    numpyro.enable_validation(False)
    sc2.set_validation(False)
    report: dict[str, Any] = {
        "script": "scarlet2_resample",
        "status": "ok",
        "geometry": {"bands": options.bands, "coarsening": COARSENING, "angle_degrees": ANGLE_DEGREES},
        "machine": machine(),
        "versions": installed_versions(),
        "sizes": {str(size): measure_size(size, options.bands, options.repeats) for size in options.sizes},
    }
    write_report(options.out, report | {"memory_mb": {"peak": peak_memory_mb()}})


if __name__ == "__main__":
    main()
