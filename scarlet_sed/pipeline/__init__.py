"""The whole way from a configuration to results on disk: what the command line calls."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scarlet_sed.pipeline.checking import run_check
from scarlet_sed.pipeline.fitting import Outcome, run_demo, run_fit
from scarlet_sed.pipeline.populations import PARTS, build_grid, evaluate, train
from scarlet_sed.pipeline.prior_options import PriorOptions
from scarlet_sed.pipeline.sample_options import SampleOptions

if TYPE_CHECKING:
    from scarlet_sed.pipeline.amortized import evaluate_posterior, join_posterior, run_photoz, train_posterior
    from scarlet_sed.pipeline.mapping import MapOptions, run_map
    from scarlet_sed.pipeline.priors import train_prior
    from scarlet_sed.pipeline.sampling import Sampled, run_sample

__all__ = [
    "PARTS",
    "MapOptions",
    "Outcome",
    "PriorOptions",
    "SampleOptions",
    "Sampled",
    "build_grid",
    "evaluate",
    "evaluate_posterior",
    "join_posterior",
    "run_check",
    "run_demo",
    "run_fit",
    "run_map",
    "run_photoz",
    "run_sample",
    "train",
    "train_posterior",
    "train_prior",
]

# imported when first used: what samples, diagnoses or trains takes a second, which fits do without
_LATER = {
    "MapOptions": "scarlet_sed.pipeline.mapping",
    "run_map": "scarlet_sed.pipeline.mapping",
    "Sampled": "scarlet_sed.pipeline.sampling",
    "run_sample": "scarlet_sed.pipeline.sampling",
    "run_photoz": "scarlet_sed.pipeline.amortized",
    "evaluate_posterior": "scarlet_sed.pipeline.amortized",
    "train_posterior": "scarlet_sed.pipeline.amortized",
    "join_posterior": "scarlet_sed.pipeline.amortized",
    "train_prior": "scarlet_sed.pipeline.priors",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
