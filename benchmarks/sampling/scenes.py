"""Random blends on which samplers are measured: Sersic galaxies with a free flux in each of nine bands."""

import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss

BANDS = tuple(f"jwst_{b}" for b in ("f090w", "f115w", "f150w", "f200w", "f277w", "f335m", "f356w", "f410m", "f444w"))
SCALE = 0.03  # arcsec
SIGMA = 1.0  # nJy a pixel
POSITION = (
    0.015  # arcsec: half a pixel, what detection knows of places; much more, and two close galaxies may swap names
)
SIDES = {2: 64, 5: 96, 10: 128}


def scene(sources: int, seed: int) -> tuple[ss.Scene, ss.Observation]:
    """A scene at the truth with free parameters, and a noisy observation of it.

    Every galaxy has a total signal-to-noise of 30 to 300 over all bands. In every third scene the first two galaxies
    are less than 3 pixels apart.

    Args:
        sources: 2, 5 or 10, in 64, 96 or 128 pixels squared.
        seed: of the truth and the noise.
    """
    rng = np.random.default_rng([sources, seed])
    side = SIDES[sources]
    psfs = [ss.PSF.gaussian(fwhm=2.4 + 0.25 * i) for i in range(len(BANDS))]
    blank = ss.Observation(
        np.zeros((len(BANDS), side, side)), BANDS, psfs, sigma=SIGMA, pixel_scale=SCALE, name="nircam"
    )
    frame = ss.Frame.covering(blank, oversampling=1)
    half = (side / 2 - 14) * SCALE
    positions = rng.uniform(-half, half, (sources, 2))
    if seed % 3 == 2:
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 3.0) * SCALE
        positions[1] = positions[0] + distance * np.array([np.cos(angle), np.sin(angle)])
    galaxies = {}
    for i, position in enumerate(positions):
        signal = np.exp(rng.uniform(np.log(30), np.log(300)))
        radius, index = np.exp(rng.normal(np.log(0.1), 0.4)), np.exp(rng.uniform(np.log(0.7), np.log(4)))
        ellipticity = rng.normal(0, 0.2, 2).clip(-0.5, 0.5)
        color = np.exp(0.5 * rng.normal() * np.linspace(-1, 1, len(BANDS)) + 0.1 * rng.normal(size=len(BANDS)))
        galaxies[f"g{i:02d}"] = _scaled(position, radius, index, ellipticity, color, signal, frame, blank)
    true = ss.Scene(galaxies, frame)
    data = ss.render(true, blank) + SIGMA * rng.normal(size=blank.data.shape)
    seen = ss.Observation(data, BANDS, psfs, sigma=SIGMA, pixel_scale=SCALE, name="nircam")
    return true, seen


def _scaled(position, radius, index, ellipticity, color, signal, frame, blank) -> ss.Source:
    alone = ss.Source(position, ss.FreeSpectrum(color, BANDS) * ss.Sersic(radius, index, ellipticity))
    image = ss.render(ss.Scene({"a": alone}, frame), blank)
    flux = color * signal * SIGMA / np.sqrt(np.sum(image**2))
    wide = 3.0 * float(np.max(flux))
    shape = ss.Sersic(
        ss.Parameter(radius, dist.LogNormal(np.log(0.1), 0.5)),
        ss.Parameter(index, dist.TruncatedNormal(1.5, 1.5, low=0.3, high=8.0)),
        ss.Parameter(ellipticity, ss.EllipticityPrior(0.3)),
    )
    light = ss.FreeSpectrum(ss.Parameter(flux, dist.Normal(np.zeros(len(BANDS)), wide)), BANDS) * shape
    return ss.Source(ss.Parameter(position, dist.Normal(position, POSITION)), light)
