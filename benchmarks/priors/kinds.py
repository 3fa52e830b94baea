"""The priors that are compared, by name."""

from typing import Any

import numpy as np
from monotonic import MonotonicPrior

import scarlet_sed as ss
from scarlet_sed.priors.base import MorphologyPrior

SHAPE = (32, 32)
"""Pixels of all images: what ships knows no other."""
_WITH_WIDTH = {"sparse": ss.SparsityPrior, "monotonic": MonotonicPrior}


def priors() -> dict[str, Any]:
    """Those that have nothing to tune."""
    return {
        "none": ss.image_simplex,
        "smooth": ss.SmoothImage(SHAPE, 0.5),
        "normal": ss.GaussianImagePrior.load("galaxies_32"),
        "flow": ss.FlowPrior.load("galaxies_32"),
    }


def of_kind(kind: str, known: dict[str, Any]) -> Any:
    """One of the known, or one with a width, such as `sparse-30`; what is guarded is smooth."""
    name, _, width = kind.partition("-")
    if name == "guard":
        return known["smooth"]
    return _WITH_WIDTH[name](SHAPE, float(width)) if name in _WITH_WIDTH else known[kind]


def guard(kind: str) -> float:
    """How strongly neighbours are kept apart, such as 100 in `guard-100`."""
    name, _, strength = kind.partition("-")
    return float(strength) if name == "guard" else 0.0


def start(prior: Any, scale: float) -> ss.Pixels:
    """A round galaxy in pixels of `scale` arcsec, or what a learnt prior has in the middle."""
    if isinstance(prior, MorphologyPrior):
        return ss.Pixels(ss.Parameter(np.asarray(prior.mean), prior), scale)
    y, x = (np.arange(n) - (n - 1) / 2 for n in SHAPE)
    return ss.Pixels.from_image(np.exp(-0.5 * (x**2 + y[:, None] ** 2) / 2.5**2), scale, prior)
