"""The whole way from a configuration to results on disk: what the command line calls."""

from scarlet_sed.pipeline.checking import run_check
from scarlet_sed.pipeline.fitting import Outcome, run_demo, run_fit
from scarlet_sed.pipeline.populations import PARTS, build_grid, evaluate, train

__all__ = ["PARTS", "Outcome", "build_grid", "evaluate", "run_check", "run_demo", "run_fit", "train"]
