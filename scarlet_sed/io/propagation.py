"""Components as a catalogue sees them, and how errors of parameters become errors of fluxes (to first order)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.shapes import Shape, shape_of
from scarlet_sed.light import Component, path_of
from scarlet_sed.morphology.base import PixelGrid
from scarlet_sed.parameters import tie_target
from scarlet_sed.paths import replace_slots, slots
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.scene.dimming import dimmed
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.screen import DustScreen
from scarlet_sed.typing import Array, HostArray


class Correlations(NamedTuple):
    """Which errors go together.

    Args:
        paths: (p,) parameter path of each row; vectors repeat theirs.
        covariance: (p, p) of any numbers that are, one by one, monotonic functions of the parameters' elements.
    """

    paths: Sequence[str]
    covariance: HostArray

    def between(self, paths: Sequence[str], sizes: Sequence[int]) -> HostArray:
        """(n, n) correlation of the elements of some parameters; zero between those that are not known."""
        known = np.asarray(self.paths)
        rows = []
        for path, size in zip(paths, sizes, strict=True):
            found = np.flatnonzero(known == path)
            rows.append(found if len(found) == size else np.full(size, -1))
        index = np.concatenate(rows) if rows else np.zeros(0, int)
        scale = 1 / np.sqrt(np.maximum(np.diag(self.covariance), np.finfo(float).tiny))
        both = (index[:, None] >= 0) & (index[None, :] >= 0)
        values = (
            (self.covariance * scale[:, None] * scale[None, :])[np.ix_(index, index)] if self.covariance.size else 0.0
        )
        return np.where(both & ~np.eye(len(index), dtype=bool), values, np.eye(len(index)))


class Part(NamedTuple):
    """A component as the catalogue sees it.

    Args:
        path: source and component name.
        kind: class of the morphology.
        flux: (band,) nJy, as it would be seen from outside of the Milky Way.
        slopes: (band, n) nJy per standard deviation of each of n free numbers.
        paths, sizes: of the free parameters those numbers belong to.
        shape: of the morphology.
    """

    path: str
    name: str
    kind: str
    flux: HostArray
    slopes: HostArray
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    shape: Shape


class Errors(NamedTuple):
    """Uncertainties of every slot of a scene: by path, the path it is tied to, and correlations."""

    sigma: Mapping[str, HostArray]
    target: Mapping[str, str]
    correlations: Correlations | None

    def flux_error(self, parts: Sequence[Part]) -> HostArray:
        """(band,) error of the summed flux of components; NaN where nothing in them has an error."""
        slopes = np.concatenate([part.slopes for part in parts], axis=1)
        if slopes.shape[1] == 0:
            return np.full(len(slopes), np.nan)
        paths = [path for part in parts for path in part.paths]
        sizes = [size for part in parts for size in part.sizes]
        together = _shared(paths, sizes)
        if self.correlations is not None:
            together = np.where(together == 0, self.correlations.between(paths, sizes), together)
        variance = np.einsum("bi,ij,bj->b", slopes, together, slopes)
        return np.sqrt(np.maximum(variance, 0.0))


def all_errors(scene: Scene, uncertainties: Mapping[str, Any], correlations: Correlations | None) -> Errors:
    """Errors of every slot: tied ones share that of their target, fixed numbers have none (absent)."""
    leaves = {slot.path: slot.leaf for slot in slots(scene)}
    target = {path: tie_target(leaves, path) for path in leaves}
    sigma = {p: np.asarray(uncertainties[t], dtype=float) for p, t in target.items() if t in uncertainties}
    return Errors(sigma, target, correlations)


def _shared(paths: Sequence[str], sizes: Sequence[int]) -> HostArray:
    """(n, n) one where two numbers are the same element of the same parameter, as in components that share one."""
    names = np.array([path for path, size in zip(paths, sizes, strict=True) for _ in range(size)])
    elements = np.concatenate([np.arange(size) for size in sizes]) if sizes else np.zeros(0, int)
    return ((names[:, None] == names[None, :]) & (elements[:, None] == elements[None, :])).astype(float)


def parts_of(
    plain: Scene, name: str, observations: Sequence[Observation], errors: Errors, *, screened: bool = True
) -> list[Part]:
    """The components of one source of a scene with plain values, in order.

    Args:
        plain: the scene.
        name: of the source.
        observations: whose bands are listed.
        errors: of the scene's parameters.
        screened: whether fluxes are those that screens let through, or those behind them.
    """
    source = plain.sources[name]
    boxes = dict(zip(plain.component_paths(), plain.boxes(), strict=True)) if screened and any(source.screens()) else {}
    found = []
    for (part, component), front in zip(source.components(), source.screens(), strict=True):
        path = path_of(name, part)
        screens = tuple(screen for _, screen in front) if screened else ()
        # what fluxes depend on, and what it is called within (component, screens)
        inner = {f"{path}.spectrum.": "0.spectrum."}
        if screens:
            inner |= {f"{path}.morphology.": "0.morphology."}
            inner |= {f"{name}.{each}.": f"1.{index}." for index, (each, _) in enumerate(front)}
        own_path = {p: inner[b] + p.removeprefix(b) for p in errors.sigma for b in inner if p.startswith(b)}
        free, grid = tuple(own_path.values()), boxes[path].grid(plain.frame, source.position) if screens else None
        keys = [key for key in (*own_path, f"{name}.redshift") if key in errors.sigma]
        drawn = [_fluxes((component, screens), grid, o.filters, source.redshift, free) for o in observations]
        flux = np.concatenate([np.asarray(value, float) for value, _, _ in drawn])
        slopes = [np.zeros((len(flux), 0))]
        for key in keys:
            each = [red if key == f"{name}.redshift" else by[own_path[key]] for _, by, red in drawn]
            slope = np.concatenate([np.asarray(e, float).reshape(len(e), -1) for e in each])
            slopes.append(slope * errors.sigma[key].reshape(1, -1))
        own = {
            p.removeprefix(f"{path}.morphology."): e
            for p, e in errors.sigma.items()
            if p.startswith(f"{path}.morphology.")
        }
        found.append(
            Part(
                path,
                part,
                type(component.morphology).__name__.lower(),
                flux,
                np.concatenate(slopes, axis=1),
                tuple(errors.target[key] for key in keys),
                tuple(int(np.size(errors.sigma[key])) for key in keys),
                shape_of(component.morphology, own),
            )
        )
    return found


_Light = tuple[Component, tuple[DustScreen, ...]]
"""A component, and the screens in front of it."""


@eqx.filter_jit
def _fluxes(
    light: _Light, grid: PixelGrid | None, filters: Filters, redshift: Array, free: tuple[str, ...]
) -> tuple[Array, dict[str, Array], Array]:
    """(band,) nJy, with its derivatives in the free slots, (band, ...) each, and in the redshift."""
    values = {slot.path: slot.leaf for slot in slots(light) if slot.path in free}

    def flux(some: dict[str, Array], z: Array) -> Array:
        return _let_through(replace_slots(light, some), grid, filters, z)

    by_slot, by_redshift = jax.jacfwd(flux, argnums=(0, 1))(values, redshift)
    return flux(values, redshift), by_slot, by_redshift


def _let_through(light: _Light, grid: PixelGrid | None, filters: Filters, redshift: Array) -> Array:
    """(band,) nJy; of light behind screens, what is outside of the box is dimmed as what is inside."""
    component, screens = light
    if grid is None:
        return component.spectrum.fluxes(filters, redshift)
    stamp, depths = component.morphology.evaluate(grid), [screen.depth(grid) for screen in screens]
    seen = dimmed(component, screens, redshift, stamp, depths, filters)
    return jnp.sum(jnp.sum(seen, axis=-1), axis=-1) / jnp.sum(stamp)
