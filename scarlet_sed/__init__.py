"""scarlet_sed: differentiable models of blended multi-band images, with the physics of each galaxy as parameters."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scarlet_sed.constraints import ellipse, image_simplex
from scarlet_sed.distributions import EllipticityPrior, SmoothImage
from scarlet_sed.dust.attenuation_curves import Calzetti, CharlotFall, KriekConroy, Salim
from scarlet_sed.dust.base import Attenuation, Curve
from scarlet_sed.dust.extinction_curves import CCM89, LMC, SMC
from scarlet_sed.dust.foreground import milky_way
from scarlet_sed.errors import ScarletSEDError
from scarlet_sed.infer import (
    FitResult,
    FitStatus,
    Laplace,
    LogPosterior,
    fit,
    laplace,
    render,
    render_sources,
    truncated,
)
from scarlet_sed.infer.drawing import Isolated, isolate
from scarlet_sed.infer.information import ImageInformation, image_information
from scarlet_sed.infer.photometry import PhotometryFit, fit_photometry
from scarlet_sed.infer.zero_points import zero_points
from scarlet_sed.instrument.correlated import CorrelatedNoise
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.noise import GaussianNoise, Noise, StudentT
from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.instrument.psf import PSF
from scarlet_sed.io.fits import BandFiles, Window, observations_from_fits
from scarlet_sed.io.scene_file import load_scene, save_scene
from scarlet_sed.light import Blend, Component
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.gaussian import Gaussian
from scarlet_sed.morphology.mixture import oversampled
from scarlet_sed.morphology.pixels import Pixels
from scarlet_sed.morphology.point import Point
from scarlet_sed.morphology.sersic import Exponential, Sersic
from scarlet_sed.morphology.shape import axis_ratio, ellipticity, position_angle
from scarlet_sed.morphology.starlet import Starlet
from scarlet_sed.parameters import Parameter, Tied, parameter
from scarlet_sed.photometry.cosmology import Cosmology
from scarlet_sed.photometry.filters import Filter, Filters
from scarlet_sed.priors.energy import EnergyImages, EnergyPrior
from scarlet_sed.priors.flow import FlowImages, FlowPrior
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages
from scarlet_sed.priors.score import ScoreOnly
from scarlet_sed.priors.sparsity import SparsityPrior
from scarlet_sed.scene import Scene, Source
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.spectrum.base import BandLight, Spectrum
from scarlet_sed.spectrum.blackbody import BlackBody
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.spectrum.powerlaw import PowerLaw
from scarlet_sed.spectrum.priors import deep_field_population
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.spectrum.templates import Templates
from scarlet_sed.sps.basis import BasisSynthesis
from scarlet_sed.sps.dust_emission import DustEmission
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.engine import Engine
from scarlet_sed.sps.exact import ExactSynthesis
from scarlet_sed.sps.grid import Grid
from scarlet_sed.sps.histories.base import History
from scarlet_sed.sps.histories.binned import Continuity, Dirichlet
from scarlet_sed.sps.histories.constant import Burst, Constant
from scarlet_sed.sps.histories.delayed_tau import DelayedTau

if TYPE_CHECKING:
    from scarlet_sed import plot
    from scarlet_sed.amortized.file import load_amortized
    from scarlet_sed.amortized.moves import spectrum_moves
    from scarlet_sed.amortized.photoz import PhotoZ, photoz
    from scarlet_sed.amortized.posterior import AmortizedPosterior
    from scarlet_sed.amortized.resolved import ResolvedProperties, map_properties
    from scarlet_sed.infer.relearning import draws_of_blends, draws_of_stamps, relearn
    from scarlet_sed.infer.sampling.approximate import approximate
    from scarlet_sed.infer.sampling.check import Check, check
    from scarlet_sed.infer.sampling.derived import Derived, derived
    from scarlet_sed.infer.sampling.draws import Posterior
    from scarlet_sed.infer.sampling.export import save_posterior
    from scarlet_sed.infer.sampling.langevin import annealed_langevin
    from scarlet_sed.infer.sampling.maps import PropertyMaps, property_maps
    from scarlet_sed.infer.sampling.model import numpyro_model
    from scarlet_sed.infer.sampling.predictive import Predictive, posterior_predictive, prior_predictive
    from scarlet_sed.infer.sampling.sample import sample
    from scarlet_sed.infer.sampling.status import SampleStatus
    from scarlet_sed.infer.simulate import simulate
    from scarlet_sed.infer.stamps import Stamps
    from scarlet_sed.start.auto import choose_models
    from scarlet_sed.start.detect import detect, measure
    from scarlet_sed.start.detections import Detections
    from scarlet_sed.start.fluxes import initialize
    from scarlet_sed.start.initialize import initial_scene
    from scarlet_sed.start.populations import with_populations

__version__ = "0.1.0"

# imported when first used: matplotlib, scipy.signal and arviz, which fits do without, take a second or more and 50 MB
_LATER = {
    "plot": "scarlet_sed.plot",
    "annealed_langevin": "scarlet_sed.infer.sampling.langevin",
    "approximate": "scarlet_sed.infer.sampling.approximate",
    "Posterior": "scarlet_sed.infer.sampling.draws",
    "SampleStatus": "scarlet_sed.infer.sampling.status",
    "Predictive": "scarlet_sed.infer.sampling.predictive",
    "Check": "scarlet_sed.infer.sampling.check",
    "check": "scarlet_sed.infer.sampling.check",
    "Derived": "scarlet_sed.infer.sampling.derived",
    "derived": "scarlet_sed.infer.sampling.derived",
    "PropertyMaps": "scarlet_sed.infer.sampling.maps",
    "property_maps": "scarlet_sed.infer.sampling.maps",
    "numpyro_model": "scarlet_sed.infer.sampling.model",
    "posterior_predictive": "scarlet_sed.infer.sampling.predictive",
    "prior_predictive": "scarlet_sed.infer.sampling.predictive",
    "save_posterior": "scarlet_sed.infer.sampling.export",
    "sample": "scarlet_sed.infer.sampling.sample",
    "simulate": "scarlet_sed.infer.simulate",
    "Stamps": "scarlet_sed.infer.stamps",
    "draws_of_blends": "scarlet_sed.infer.relearning",
    "draws_of_stamps": "scarlet_sed.infer.relearning",
    "relearn": "scarlet_sed.infer.relearning",
    "AmortizedPosterior": "scarlet_sed.amortized.posterior",
    "load_amortized": "scarlet_sed.amortized.file",
    "map_properties": "scarlet_sed.amortized.resolved",
    "sampling_gate": "scarlet_sed.priors.gate",
    "spectrum_moves": "scarlet_sed.amortized.moves",
    "photoz": "scarlet_sed.amortized.photoz",
    "ResolvedProperties": "scarlet_sed.amortized.resolved",
    "PhotoZ": "scarlet_sed.amortized.photoz",
    "choose_models": "scarlet_sed.start.auto",
    "detect": "scarlet_sed.start.detect",
    "measure": "scarlet_sed.start.detect",
    "Detections": "scarlet_sed.start.detections",
    "initialize": "scarlet_sed.start.fluxes",
    "initial_scene": "scarlet_sed.start.initialize",
    "with_populations": "scarlet_sed.start.populations",
}

__all__ = [
    "CCM89",
    "LMC",
    "PSF",
    "SMC",
    "AmortizedPosterior",
    "Attenuation",
    "BandFiles",
    "BandLight",
    "BasisSynthesis",
    "BlackBody",
    "Blend",
    "Burst",
    "Calzetti",
    "CharlotFall",
    "Check",
    "Component",
    "Constant",
    "Continuity",
    "CorrelatedNoise",
    "Cosmology",
    "Curve",
    "DelayedTau",
    "Derived",
    "Detections",
    "Dirichlet",
    "DustEmission",
    "DustScreen",
    "EllipticityPrior",
    "EnergyImages",
    "EnergyPrior",
    "Engine",
    "ExactSynthesis",
    "Exponential",
    "Filter",
    "Filters",
    "FitResult",
    "FitStatus",
    "FlowImages",
    "FlowPrior",
    "Frame",
    "FreeSpectrum",
    "Gaussian",
    "GaussianImagePrior",
    "GaussianImages",
    "GaussianNoise",
    "Grid",
    "History",
    "ImageInformation",
    "Isolated",
    "KriekConroy",
    "Laplace",
    "LogPosterior",
    "Morphology",
    "NeuralEmulator",
    "Noise",
    "Observation",
    "Parameter",
    "PhotoZ",
    "PhotometryFit",
    "PixelGrid",
    "Pixels",
    "Point",
    "Posterior",
    "PowerLaw",
    "Predictive",
    "PropertyMaps",
    "ResolvedProperties",
    "Salim",
    "SampleStatus",
    "ScarletSEDError",
    "Scene",
    "ScoreOnly",
    "Sersic",
    "SmoothImage",
    "Source",
    "SparsityPrior",
    "Spectrum",
    "Stamps",
    "Starlet",
    "StellarPopulation",
    "StudentT",
    "Templates",
    "Tied",
    "Window",
    "annealed_langevin",
    "approximate",
    "axis_ratio",
    "check",
    "choose_models",
    "deep_field_population",
    "derived",
    "detect",
    "draws_of_blends",
    "draws_of_stamps",
    "ellipse",
    "ellipticity",
    "estimate_noise",
    "fit",
    "fit_photometry",
    "image_information",
    "image_simplex",
    "initial_scene",
    "initialize",
    "isolate",
    "laplace",
    "load_amortized",
    "load_scene",
    "map_properties",
    "measure",
    "milky_way",
    "numpyro_model",
    "observations_from_fits",
    "oversampled",
    "parameter",
    "photoz",
    "plot",
    "position_angle",
    "posterior_predictive",
    "prior_predictive",
    "property_maps",
    "relearn",
    "render",
    "render_sources",
    "sample",
    "sampling_gate",
    "save_posterior",
    "save_scene",
    "simulate",
    "spectrum_moves",
    "truncated",
    "with_populations",
    "zero_points",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_LATER[name])
    return module if name == "plot" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
