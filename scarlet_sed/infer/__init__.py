"""Where the sky meets the instrument: rendering, log-posterior, fit, uncertainties."""

from scarlet_sed.infer.fit import fit
from scarlet_sed.infer.laplace import Laplace, laplace
from scarlet_sed.infer.posterior import LogPosterior
from scarlet_sed.infer.render import render, render_sources, truncated
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
