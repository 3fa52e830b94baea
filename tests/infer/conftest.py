"""Fits that several tests look at."""

import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages
from tests.registry import galaxies

BAND = ("hsc_g",)


@pytest.fixture(scope="session")
def two_images() -> ss.FitResult:
    """Two blended galaxies of 12 x 12 pixels, whose images have a learnt prior."""
    prior = GaussianImagePrior(GaussianImages.of(galaxies(60, 12), rank=80))
    truths = galaxies(2, 12, seed=11)
    blank = ss.Observation(np.zeros((1, 28, 28)), BAND, ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o")
    frame = ss.Frame.covering(blank)

    def scene(shapes: list[ss.Pixels], flux: object) -> ss.Scene:
        return ss.Scene(
            {
                name: ss.Source((0.3 * sign, 0.0), ss.FreeSpectrum(flux, BAND) * shape)
                for name, sign, shape in zip("ab", (-1, 1), shapes, strict=True)
            },
            frame,
        )

    clean = ss.render(scene([ss.Pixels(truth, 0.1) for truth in truths], 300.0), blank)
    seen = blank.with_data(clean + np.random.default_rng(0).normal(size=clean.shape))
    free = [ss.Pixels(ss.Parameter(np.asarray(prior.mean), prior), 0.1) for _ in truths]
    return ss.fit(scene(free, ss.Parameter(np.array([250.0]), dist.HalfNormal(1000.0))), seen, progress=False)
