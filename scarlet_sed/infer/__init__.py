"""Where the sky meets the instrument: rendering, log-posterior, fit, uncertainties."""

from scarlet_sed.infer.covariance import Laplace, laplace
from scarlet_sed.infer.drawing import render, render_sources, truncated
from scarlet_sed.infer.optimize import fit
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.result import FitResult, Timing
from scarlet_sed.infer.status import FitStatus

__all__ = [
    "FitResult",
    "FitStatus",
    "Laplace",
    "LogPosterior",
    "Timing",
    "fit",
    "laplace",
    "render",
    "render_sources",
    "truncated",
]
