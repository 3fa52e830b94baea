"""Weak priors in place of flat ones: a fit may do without, a posterior that is sampled may not."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions import constraints

from scarlet_sed.constraints import base_support, ellipse, image_simplex
from scarlet_sed.distributions import EllipticityPrior, SmoothImage
from scarlet_sed.errors import ImproperPriorError
from scarlet_sed.infer.sampling.prior_text import prior_text
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import Parameter, free_parameters
from scarlet_sed.paths import Slot, replace_slots, slots
from scarlet_sed.scene.scene import Scene
from scarlet_sed.typing import HostArray

_FLUXES = 10.0
"""Widths of priors of light: this often what was fitted,"""
_SIGMAS = 30.0
"""and this often the noise of a point's flux. Data with a signal-to-noise ratio of n pull 10 n times harder."""
_FWHM = 3.0
"""How far, in widths of the PSF, a source may be from where it was fitted."""
_FACTOR = 1.5
"""Of the logarithm of positive numbers without a scale of their own: a factor of 4.5 either way."""
_WIDE = 3.0
"""Of other numbers: this often what was fitted, and at least this."""
_ROUND = 10.0
"""An ellipticity prior as wide as this is flat on the unit disc to 0.5 %."""
_ROUGH = 1.0
"""Of the logarithms of neighbouring pixels: twice what fits of free images take."""


class Replaced(NamedTuple):
    """A flat prior that gave way.

    Args:
        path: of the parameter; that of an observation begins with its name.
        prior: the new one, in words.
        unit: of its numbers.
        why: what its width was chosen by.
    """

    path: str
    prior: str
    unit: str
    why: str


class Proper(NamedTuple):
    """A scene and observations whose priors are densities, and what was changed for that."""

    scene: Scene
    observations: tuple[Observation, ...]
    replaced: tuple[Replaced, ...]


class _Scales(NamedTuple):
    """What the data can tell: (band,) noise of a pixel, largest noise of a point's flux in nJy, width in arcsec."""

    pixel: Mapping[str, HostArray]
    flux: float
    fwhm: float


def with_proper_priors(scene: Scene, observations: Sequence[Observation]) -> Proper:
    """Replace flat priors by weak ones, by the kind of each parameter; others stay as they are.

    What is flat on a bounded support stays (nearly) flat there. Light gets a normal prior around zero, positions and
    levels one around the fit, positive numbers a log-normal one.

    Args:
        scene: at a fit: widths follow from its values.
        observations: at the fit; widths follow from their noise and PSFs.

    Raises:
        ImproperPriorError: for a support that has no rule.
    """
    scales = _scales(observations)
    replaced: list[Replaced] = []

    def mend(tree: Any, prefix: str) -> Any:
        flat = {path for path, leaf in free_parameters(tree).items() if isinstance(leaf.prior, dist.ImproperUniform)}
        new = {}
        for slot in (each for each in slots(tree) if each.path in flat):
            path = prefix + slot.path
            prior, why = _weak(slot, path, scales)
            new[slot.path] = Parameter(slot.leaf.value, prior)
            replaced.append(Replaced(path, prior_text(prior), slot.unit, why))
        return replace_slots(tree, new) if new else tree

    mended = mend(scene, "")
    return Proper(mended, tuple(mend(o, f"{o.name}.") for o in observations), tuple(replaced))


def _scales(observations: Sequence[Observation]) -> _Scales:
    pixel = {
        o.name: np.array([np.median(sigma[np.isfinite(sigma)]) for sigma in np.asarray(o.sigma, float)])
        for o in observations
    }
    # the noise of a Gaussian's flux is that of 4 pi of its variances of pixels
    width = {o.name: np.asarray(o.fwhm, float) / o.grid.pixel_scale / 2.355 for o in observations}
    flux = max(float(np.max(pixel[name] * np.sqrt(4 * np.pi) * width[name])) for name in pixel)
    return _Scales(pixel, flux, min(float(np.min(o.fwhm)) for o in observations))


def _weak(slot: Slot, path: str, scales: _Scales) -> tuple[dist.Distribution, str]:
    """A prior for a parameter whose prior is flat, and what it was chosen by."""
    value, support = np.asarray(slot.leaf.value, float), base_support(slot.leaf.prior)
    if isinstance(support, type(ellipse)):
        return EllipticityPrior(_ROUND), "flat on the unit disc"
    if isinstance(support, type(image_simplex)):
        return SmoothImage((value.shape[-2], value.shape[-1]), _ROUGH), "pixels a factor of e from their neighbours"
    if isinstance(support, type(constraints.simplex)):
        return dist.Dirichlet(jnp.ones(value.shape[-1])), "flat on the simplex"
    low, high = _ends(support, path)
    if np.all(np.isfinite(low)) and np.all(np.isfinite(high)):
        return dist.Uniform(_like(value, low), _like(value, high)), "flat between the bounds that it had"
    center, width, why = _width(slot, path, value, scales)
    if np.all(low == 0) and np.all(np.isinf(high)):
        if slot.unit == "nJy":
            return dist.HalfNormal(_like(value, width)), why
        return dist.LogNormal(np.log(np.maximum(value, 1e-6)), _like(value, _FACTOR)), "a factor of 4.5 from the fit"
    normal = dist.Normal(_like(value, center), _like(value, width))
    if np.all(np.isinf(low)) and np.all(np.isinf(high)):
        return normal, why
    bounds = {name: _like(value, end) for name, end in (("low", low), ("high", high)) if np.all(np.isfinite(end))}
    return dist.TruncatedDistribution(normal, **bounds), why


def _ends(support: constraints.Constraint, path: str) -> tuple[HostArray, HostArray]:
    if isinstance(support, (type(constraints.real), type(constraints.real_vector))):
        return np.asarray(-np.inf), np.asarray(np.inf)
    if isinstance(support, (type(constraints.positive), type(constraints.nonnegative))):
        return np.asarray(0.0), np.asarray(np.inf)
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is None and high is None:
        raise ImproperPriorError(
            f"{path!r} has a flat prior on {type(support).__name__.strip('_')}, for which there is no weak one",
            fix="give it a prior, freeze it, or leave its source out",
        )
    return np.asarray(-np.inf if low is None else low, float), np.asarray(np.inf if high is None else high, float)


def _width(slot: Slot, path: str, value: HostArray, scales: _Scales) -> tuple[Any, Any, str]:
    """Where a normal prior lies, how wide it is, and why."""
    name, own = slot.path.rsplit(".", 1)[-1], path.split(".", 1)[0]
    if slot.unit == "nJy" and name == "sky":
        return value, scales.pixel[own], "the noise of a pixel around the fit"
    if slot.unit == "nJy":
        why = f"{_FLUXES:g} times what was fitted and {_SIGMAS:g} times the noise of a point's flux, around zero"
        return 0.0, _FLUXES * float(np.max(np.abs(value))) + _SIGMAS * scales.flux, why
    if slot.unit == "arcsec":
        return value, _FWHM * scales.fwhm, f"{_FWHM:g} widths of the sharpest PSF around the fit"
    wide = np.maximum(_WIDE * np.abs(value), _WIDE)
    return value, wide, f"{_WIDE:g} times what was fitted, and at least {_WIDE:g}, around the fit"


def _like(value: HostArray, number: Any) -> HostArray:
    return np.broadcast_to(np.asarray(number, float), value.shape).copy()
