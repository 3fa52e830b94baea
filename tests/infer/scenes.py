"""Small scenes that the tests of inference share."""

from collections.abc import Sequence

import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

import scarlet_sed as ss
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.fisher import Direction

BANDS = ("F115W", "F150W", "F200W")
SCALE = 0.03
SIGMA = 0.05


def observation(
    data: np.ndarray | None = None, shape: tuple[int, int] = (48, 48), name: str = "nircam", sigma: float = SIGMA
) -> ss.Observation:
    """Three bands of round Gaussian PSFs; blank unless data are given."""
    blank = np.zeros((len(BANDS), *shape))
    psfs = [ss.PSF.gaussian(fwhm=2.2 + 0.3 * i) for i in range(len(BANDS))]
    return ss.Observation(blank if data is None else data, BANDS, psfs, sigma=sigma, pixel_scale=SCALE, name=name)


def galaxy(position: Sequence[float], flux: Sequence[float], radius: float, *, free: bool) -> ss.Source:
    """A Gaussian galaxy, fixed or with every parameter free."""
    if not free:
        return ss.Source(position, ss.FreeSpectrum(flux, BANDS) * ss.Gaussian(radius, (0.1, 0.2)))
    spectrum = ss.FreeSpectrum(ss.Parameter(np.asarray(flux), constraints.real), BANDS)
    morphology = ss.Gaussian(
        ss.Parameter(radius, dist.LogNormal(np.log(0.1), 1.0)), ss.Parameter((0.0, 0.0), ss.EllipticityPrior(0.3))
    )
    return ss.Source(ss.Parameter(position, dist.Normal(np.asarray(position), 0.05)), spectrum * morphology)


TRUTH = {
    "a": ((-0.3, -0.3), (10.0, 20.0, 30.0), 0.10),
    "b": ((0.05, 0.25), (20.0, 10.0, 40.0), 0.15),
    "c": ((0.25, -0.1), (15.0, 25.0, 20.0), 0.08),
}


def scene(frame: ss.Frame, *, free: bool, names: Sequence[str] = ("a", "b", "c"), offset: float = 0.0) -> ss.Scene:
    """Three galaxies; free ones start a little off the truth."""
    factor = 0.8 if free else 1.0
    sources = {}
    for name, ((east, north), flux, radius) in zip(names, TRUTH.values(), strict=False):
        shift = 0.01 if free else 0.0
        position = (east + shift + offset, north - shift)
        sources[name] = galaxy(position, [factor * f for f in flux], radius, free=free)
    return ss.Scene(sources, frame)


def mock(seed: int = 0, shape: tuple[int, int] = (48, 48)) -> tuple[ss.Observation, ss.Frame]:
    """An observation of the true scene with noise, and its frame."""
    blank = observation(shape=shape)
    frame = ss.Frame.covering(blank)
    noise = np.random.default_rng(seed).normal(0, SIGMA, blank.data.shape)
    return observation(ss.render(scene(frame, free=False), blank) + noise), frame


def every_direction(posterior: ss.LogPosterior, unconstrained: FamilyValues) -> list[Direction]:
    """One direction for each free number, in the order of the paths."""
    return [
        Direction(path, place.family, place.row, element)
        for path, place in posterior.places.items()
        for element in range(int(np.prod(unconstrained[place.family].shape[1:])))
    ]
