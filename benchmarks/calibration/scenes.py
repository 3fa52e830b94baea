"""What posteriors are calibrated on: two galaxies in 32 pixels squared and seven bands, drawn from their priors."""

import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.distributions import LogUniformRedshift
from scarlet_sed.light import Light
from scarlet_sed.parameters import as_float

BANDS = ("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W")
NOISE = np.array([0.13, 0.11, 0.11, 0.10, 0.14, 0.15, 0.22])  # nJy a pixel
SCALE = 0.05  # arcsec
SIDE = 32


def observation() -> ss.Observation:
    """Blank images with noise of the depth of JADES, and PSFs that widen with wavelength."""
    psfs = [ss.PSF.gaussian(fwhm=2.6 + 0.2 * i) for i in range(len(BANDS))]
    blank = np.zeros((len(BANDS), SIDE, SIDE))
    return ss.Observation(blank, BANDS, psfs, sigma=NOISE[:, None, None], pixel_scale=SCALE, name="nircam")


def _population(log_mass: float, *, dusty: bool = True) -> ss.StellarPopulation:
    # narrower than for a survey, so that nearly every draw is a galaxy that is seen: signal-to-noise of 20 to 200
    dust = ss.Attenuation(
        ss.Salim(slope=dist.TruncatedNormal(-0.2, 0.25, low=-1.2, high=0.5), bump=as_float(1.0)),
        av=dist.LogNormal(-1.2, 0.7),
        birth_cloud=dist.LogNormal(0.4, 0.25),
    )
    return ss.StellarPopulation(
        dist.Normal(log_mass, 0.3),
        dist.TruncatedNormal(-0.4, 0.4, low=-2.2, high=0.5),
        dist.TruncatedNormal(-2.5, 0.4, low=-4.0, high=-1.0),
        history=ss.DelayedTau(
            age_fraction=dist.Beta(2.0, 2.0), log_tau=dist.TruncatedNormal(0.0, 0.5, low=-2.0, high=2.0)
        ),
        attenuation=dust if dusty else None,
    )


def _shape(radius: float) -> ss.Sersic:
    return ss.Sersic(
        dist.LogNormal(np.log(radius), 0.3),
        dist.TruncatedNormal(1.5, 0.7, low=0.5, high=6.0),
        ss.Parameter(np.array([0.05, -0.05]), ss.EllipticityPrior(0.3)),
    )


def _source(light: Light, position: tuple[float, float], redshift: float) -> ss.Source:
    place = np.array(position)
    return ss.Source(ss.Parameter(place, dist.Normal(place, 0.5 * SCALE)), light, redshift, box=1.2)


def populations() -> tuple[ss.Scene, ss.Observation]:
    """Two populations of known redshift with dust inside, their centres 7 pixels apart."""
    near = _population(7.5) * _shape(0.18)
    far = _population(8.1) * _shape(0.12)
    galaxies = {"far": _source(far, (-0.15, -0.1), 2.1), "near": _source(near, (0.1, 0.13), 0.9)}
    return _with_sky(galaxies)


def screens() -> tuple[ss.Scene, ss.Observation]:
    """A population behind a round screen of dust of unknown size, depth and place, beside one without dust."""
    screen = ss.DustScreen(
        ss.Calzetti(),
        ss.Gaussian(dist.LogNormal(np.log(0.12), 0.3)),
        dist.LogNormal(-0.3, 0.6),
        offset=ss.Parameter(np.zeros(2), dist.Normal(np.zeros(2), 0.05)),
    )
    near = (_population(7.5, dusty=False) * _shape(0.18)).behind(screen)
    far = _population(8.1, dusty=False) * _shape(0.12)
    galaxies = {"far": _source(far, (-0.15, -0.1), 2.1), "near": _source(near, (0.1, 0.13), 0.9)}
    return _with_sky(galaxies)


def redshifts(fainter: float = 0.0, nearest: float = 0.3) -> tuple[ss.Scene, ss.Observation]:
    """Two populations whose redshifts are free, and often have several modes; for global moves.

    Args:
        fainter: dex that masses are lower.
        nearest: the lowest redshift.
    """
    far = LogUniformRedshift(nearest, 9.0)

    def galaxy(log_mass: float, radius: float, position: tuple[float, float]) -> ss.Source:
        stars = ss.deep_field_population().replace(log_mass=dist.TruncatedNormal(log_mass, 0.4, low=5.0, high=12.5))
        place = np.array(position)
        shape = ss.Exponential(dist.LogNormal(np.log(radius), 0.3))
        return ss.Source(ss.Parameter(place, dist.Normal(place, 0.5 * SCALE)), stars * shape, far, box=1.2)

    return _with_sky(
        {"one": galaxy(8.6 - fainter, 0.12, (-0.15, -0.1)), "two": galaxy(9.0 - fainter, 0.16, (0.12, 0.13))}
    )


def _with_sky(galaxies: dict[str, ss.Source]) -> tuple[ss.Scene, ss.Observation]:
    blank = observation()
    scene = ss.Scene(galaxies, ss.Frame.covering(blank, oversampling=1))
    return scene, blank.free("sky", dist.Normal(0.0, 0.02))
