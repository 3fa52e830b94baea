"""Every morphology, prior on images, spectrum and dust curve, once: the laws of their interfaces run over these lists.

To add one, add a line: its name, how to make an instance with priors on the parameters that are usually free, and edge
cases (values by path) at which it must stay finite.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from scarlet_sed.distributions import EllipticityPrior, SmoothImage
from scarlet_sed.dust.attenuation_curves import Calzetti, CharlotFall, KriekConroy, Salim
from scarlet_sed.dust.base import Attenuation, Curve
from scarlet_sed.dust.extinction_curves import CCM89, LMC, SMC
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.gaussian import Gaussian
from scarlet_sed.morphology.pixels import Pixels
from scarlet_sed.morphology.point import Point
from scarlet_sed.morphology.sersic import Exponential, Sersic
from scarlet_sed.morphology.starlet import Starlet
from scarlet_sed.parameters import Parameter, as_float, resolve
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.priors.energy import EnergyImages, EnergyNetwork, EnergyPrior
from scarlet_sed.priors.flow import Bends, FlowImages, FlowPrior
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages
from scarlet_sed.priors.score import ScoreOnly
from scarlet_sed.priors.sparsity import SparsityPrior
from scarlet_sed.spectrum.base import Spectrum
from scarlet_sed.spectrum.blackbody import BlackBody
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.spectrum.powerlaw import PowerLaw
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.spectrum.templates import Templates
from scarlet_sed.sps.dust_emission import DustEmission
from scarlet_sed.sps.emulator.shipped import shipped_emulator
from scarlet_sed.sps.engine import Engine
from scarlet_sed.sps.histories.base import History
from scarlet_sed.sps.histories.binned import Continuity, Dirichlet
from scarlet_sed.sps.histories.constant import Burst, Constant
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from tests.sps import small_grid

BANDS = ("acs_f606w", "F090W", "F115W", "F200W", "F444W")


@dataclass(frozen=True)
class Case:
    """One line of the registry.

    Args:
        make: makes the instance (in the floating type that is enabled).
        edges: values by path at which value and gradient must be finite.
        step: relative step of finite differences; small where only low derivatives are continuous.
        redshifts: lowest, usual and highest at which a spectrum is tried.
    """

    make: Callable[[], Any]
    edges: tuple[Mapping[str, Any], ...] = ()
    step: float = 1e-4
    redshifts: tuple[float, float, float] = (0.0, 1.3, 8.7)


def radius() -> dist.Distribution:
    return dist.LogNormal(jnp.log(0.1), 0.5)


def shape() -> Parameter:
    return Parameter((0.2, -0.1), EllipticityPrior())


def blob() -> np.ndarray:
    y, x = np.mgrid[-4:5, -5:6]
    return np.exp(-(x**2 + 0.6 * y**2 + 0.5 * x * y) / 8.0) + 0.01


def flux() -> Parameter:
    return Parameter(20.0, dist.LogNormal(3.0, 1.0))


ROUND_AND_THIN = ({"ellipticity": (0.0, 0.0)}, {"ellipticity": (0.97, 0.0)}, {"ellipticity": (-0.6, 0.77)})
SIZES = ({"radius": 1e-4}, {"radius": 30.0})

MORPHOLOGIES: dict[str, Case] = {
    "point": Case(Point),
    "gaussian": Case(lambda: Gaussian(radius(), shape()), (*ROUND_AND_THIN, *SIZES)),
    "exponential": Case(lambda: Exponential(radius(), shape()), (*ROUND_AND_THIN, *SIZES)),
    "sersic": Case(
        lambda: Sersic(radius(), dist.Uniform(0.3, 8.0), shape()),
        (*ROUND_AND_THIN, *SIZES, {"index": 0.3}, {"index": 8.0}, {"index": 0.5}, {"index": 1.0}, {"index": 4.0}),
        step=2e-5,
    ),
    "pixels": Case(lambda: Pixels.from_image(blob(), 0.03), ({"image": np.eye(9, 11) / 9},)),
    "starlet": Case(lambda: Starlet.from_image(blob(), 0.03)),
}


def galaxies(count: int = 60, side: int = 8, seed: int = 1) -> np.ndarray:
    """(count, side, side) round and long Gaussians of many sizes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    found = []
    for _ in range(count):
        a, b = rng.uniform(0.8, 2.5, 2)
        turn = rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
        found.append(np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2)))
    return np.array(found)


def towards_the_middle(image: jax.Array) -> jax.Array:
    """The score of pixels that are normally distributed."""
    y, x = np.mgrid[:8, :8] - 3.5
    return -jnp.asarray(50.0 * (1 + x**2 + 2 * y**2), image.dtype) * image


def energy_images() -> EnergyImages:
    network = EnergyNetwork.initial(jax.random.key(3), 20, 16, 2)
    base = GaussianImages.of(galaxies(), rank=20)
    return EnergyImages(base, jax.tree.map(lambda a: as_float(4 * a), network), as_float(0.3), refusal="")


def flow_images() -> FlowImages:
    bends = Bends.initial(jax.random.key(3), 16, 8)
    keys = iter(jax.random.split(jax.random.key(4), 100))
    bends = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(next(keys), a.shape, a.dtype), bends)
    return FlowImages(GaussianImages.of(galaxies(), rank=16).seen_through(0.1), bends)


IMAGE_PRIORS: dict[str, Callable[[], dist.Distribution]] = {
    "smooth": lambda: SmoothImage((8, 8)),
    "sparse": lambda: SparsityPrior((8, 8), scales=2),
    "normal": lambda: GaussianImagePrior(GaussianImages.of(galaxies(), rank=20)),
    "energy": lambda: EnergyPrior(energy_images()),
    "flow": lambda: FlowPrior(flow_images()),
    "score only": lambda: ScoreOnly(towards_the_middle, (8, 8)),
}


def template_grid() -> tuple[np.ndarray, np.ndarray]:
    wavelength = np.geomspace(300.0, 80000.0, 4000)
    lines = sum(np.exp(-0.5 * ((wavelength / at - 1) / 1e-3) ** 2) for at in (1216.0, 3728.0, 5008.0, 6564.0))
    young = np.where(wavelength < 912.0, 0.0, (wavelength / 5500.0) ** -2.0) + 5.0 * lines
    old = np.where(wavelength < 4000.0, 0.2, 1.0) * (wavelength / 5500.0) ** 0.3
    return wavelength, np.stack([young, old])


SPECTRA: dict[str, Case] = {
    "free": Case(
        lambda: FreeSpectrum(Parameter([1.0, -2.0, 3.0, 4.0, 5.0], constraints.real), BANDS), ({"flux": np.zeros(5)},)
    ),
    "black body": Case(
        lambda: BlackBody(dist.LogUniform(1e3, 5e4), flux()),
        ({"flux": 0.0}, {"temperature": 100.0}, {"temperature": 1e6}, {"temperature": 10.0}),
    ),
    "power law": Case(
        lambda: PowerLaw(flux(), dist.Normal(-2.0, 1.0)), ({"flux": 0.0}, {"slope": -50.0}, {"slope": 50.0})
    ),
    "templates": Case(
        lambda: Templates(*template_grid(), Parameter([1.0, 2.0], dist.HalfNormal(10.0))),
        ({"weights": (0.0, 0.0)},),
        step=1e-6,
    ),
}

TILTS = ({"slope": -1.6}, {"slope": 0.9}, {"slope": 0.0})

CURVES: dict[str, Case] = {
    "calzetti": Case(Calzetti),
    "salim": Case(
        lambda: Salim(dist.Uniform(-1.6, 0.9), dist.Uniform(-2.0, 10.0)), (*TILTS, {"slope": -1.6, "bump": -2.0})
    ),
    "kriek conroy": Case(lambda: KriekConroy(dist.Uniform(-1.6, 0.9)), TILTS),
    "charlot fall": Case(lambda: CharlotFall(dist.Uniform(0.2, 1.5)), ({"slope": 0.0}, {"slope": 3.0})),
    "smc": Case(SMC),
    "lmc": Case(LMC),
    "ccm89": Case(lambda: CCM89(dist.Uniform(2.0, 6.0)), ({"rv": 2.0}, {"rv": 6.0})),
}


def wavelengths() -> jax.Array:
    """Rest-frame wavelengths in Angstrom in every part of a dust curve, none at a join."""
    return _float([510.0, 930.0, 1100.0, 1216.0, 1700.0, 2175.0, 2900.0, 3727.0, 5007.0, 6300.0, 1e4, 2.1e4, 5e4, 3e5])


def dust() -> Attenuation:
    return Attenuation(
        Salim(dist.TruncatedNormal(-0.2, 0.3, low=-1.2, high=0.5), dist.Uniform(0.0, 3.0)),
        dist.LogNormal(-1.0, 0.8),
        dist.LogNormal(0.4, 0.3),
    )


def population(
    history: History, engine: Engine | None = None, emission: DustEmission | None = None
) -> StellarPopulation:
    return StellarPopulation(
        dist.Uniform(6.0, 12.0),
        dist.Uniform(-1.3, 0.39),
        dist.Uniform(-4.0, -0.5),
        history=history,
        attenuation=dust(),
        emission=emission,
        engine=small_grid.exact() if engine is None else engine,
    )


def dust_emission() -> DustEmission:
    priors = (dist.Uniform(0.5, 4.5), dist.LogUniform(0.1, 25.0), dist.Uniform(0.0, 0.2))
    return DustEmission(small_grid.small_grid(), *priors)


HISTORIES: dict[str, Case] = {
    "delayed tau": Case(lambda: DelayedTau(dist.Uniform(0.001, 13.0), dist.LogUniform(0.01, 100.0)), step=1e-6),
    "delayed tau of the universe's age": Case(
        lambda: DelayedTau(age_fraction=dist.Beta(1.3, 1.3), log_tau=dist.Uniform(-2.0, 2.0)), step=1e-6
    ),
    "dirichlet": Case(lambda: Dirichlet(Parameter([0.1, 0.2, 0.3, 0.2, 0.2], dist.Dirichlet(np.ones(5))))),
    "continuity": Case(lambda: Continuity(Parameter(np.linspace(-0.3, 0.4, 5), dist.StudentT(2.0, 0.0, 0.3)))),
    "constant": Case(lambda: Constant(dist.Uniform(0.02, 10.0), 0.004), step=1e-6),
    "burst": Case(lambda: Burst(dist.Uniform(0.002, 10.0), 0.01), step=1e-6),
}

AWAY = (0.05, 1.3, 8.7)
OLD_AND_YOUNG = ({"history.age": 0.002}, {"history.age": 13.0, "history.tau": 0.02}, {"attenuation.av": 0.0})

SPECTRA |= {
    "delayed tau": Case(
        lambda: population(DelayedTau(dist.Uniform(0.001, 13.0), dist.LogUniform(0.01, 100.0))),
        OLD_AND_YOUNG,
        step=1e-6,
        redshifts=AWAY,
    ),
    "delayed tau of the universe's age": Case(
        lambda: population(DelayedTau(age_fraction=dist.Beta(1.3, 1.3), log_tau=dist.Uniform(-2.0, 2.0))),
        step=1e-6,
        redshifts=AWAY,
    ),
    "continuity": Case(
        lambda: population(Continuity(Parameter(np.linspace(-0.3, 0.4, 5), dist.StudentT(2.0, 0.0, 0.3)))),
        step=1e-6,
        redshifts=AWAY,
    ),
    "constant": Case(
        lambda: population(Constant(dist.Uniform(0.02, 10.0), 0.004)), ({"history.age": 0.02},), 1e-6, AWAY
    ),
    "neural": Case(
        lambda: population(DelayedTau(dist.Uniform(0.001, 13.0), dist.LogUniform(0.01, 100.0)), shipped_emulator()),
        OLD_AND_YOUNG,
        step=1e-6,
        redshifts=AWAY,
    ),
    "dust emission": Case(
        lambda: population(Constant(dist.Uniform(0.02, 10.0), 0.004), emission=dust_emission()),
        ({"attenuation.av": 0.0}, {"emission.umin": 0.1}, {"emission.umin": 25.0, "emission.gamma": 1.0}),
        step=1e-6,
        redshifts=AWAY,
    ),
    "basis": Case(
        lambda: population(DelayedTau(dist.Uniform(0.001, 13.0), 0.5), small_grid.basis()), step=1e-6, redshifts=AWAY
    ),
}


def grid(size: int = 20, pixel_scale: float = 0.04, centre: tuple[float, float] = (0.3, -0.2)) -> PixelGrid:
    """A rotated grid of `size` by `size + 3` pixels; a source sits at `centre` from its middle pixel."""
    angle = np.deg2rad(25.0)
    turn = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / pixel_scale
    return PixelGrid(
        x=_float(np.arange(size + 3) - (size + 3) // 2 - centre[0]),
        y=_float(np.arange(size) - size // 2 - centre[1]),
        matrix=_float(turn),
        psf_sigma=_float(0.7),
    )


def filters() -> Filters:
    """The filters of `BANDS`, in the floating type that is enabled."""
    return _filters(bool(jax.config.jax_enable_x64))


@cache
def _filters(_: bool) -> Filters:
    with jax.ensure_compile_time_eval():
        return Filters.load(BANDS)


def _float(value: Any) -> jax.Array:
    return jnp.asarray(value, dtype=jnp.result_type(float))


@eqx.filter_jit
def evaluate(thing: Morphology | Spectrum | Curve) -> jax.Array:
    """What the thing is for, at a usual place: an image, band fluxes at redshift 1.3, or k at `wavelengths`."""
    if isinstance(thing, Curve):
        return resolve(thing)(wavelengths())
    return thing(grid()) if isinstance(thing, Morphology) else thing(filters(), 1.3)
