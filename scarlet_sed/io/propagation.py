"""Components as a catalogue sees them, and how errors of parameters become errors of fluxes (to first order)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from scarlet_sed.instrument.observation import Observation
from scarlet_sed.io.shapes import Shape, shape_of
from scarlet_sed.light import Component, path_of
from scarlet_sed.parameters import replace_slots, slots, tie_target
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.scene.scene import Scene
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
        flux: (band,) nJy.
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


def parts_of(plain: Scene, name: str, observations: Sequence[Observation], errors: Errors) -> list[Part]:
    """The components of one source of a scene with plain values, in order."""
    source = plain.sources[name]
    found = []
    for part, component in source.components():
        path = path_of(name, part)
        spectrum = f"{path}.spectrum."
        free = tuple(p.removeprefix(spectrum) for p in errors.sigma if p.startswith(spectrum))
        keys = [*(spectrum + each for each in free), f"{name}.redshift"]
        keys = [key for key in keys if key in errors.sigma]
        drawn = [_fluxes(component, o.filters, source.redshift, free) for o in observations]
        flux = np.concatenate([np.asarray(value, float) for value, _, _ in drawn])
        slopes = [np.zeros((len(flux), 0))]
        for key in keys:
            each = [red if key == f"{name}.redshift" else by[key.removeprefix(spectrum)] for _, by, red in drawn]
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


@eqx.filter_jit
def _fluxes(
    component: Component, filters: Filters, redshift: Array, free: tuple[str, ...]
) -> tuple[Array, dict[str, Array], Array]:
    """(band,) nJy, with its derivatives in the spectrum's free slots, (band, ...) each, and in the redshift."""
    values = {slot.path: slot.leaf for slot in slots(component.spectrum) if slot.path in free}

    def flux(some: dict[str, Array], z: Array) -> Array:
        return replace_slots(component.spectrum, some).fluxes(filters, z)

    by_slot, by_redshift = jax.jacfwd(flux, argnums=(0, 1))(values, redshift)
    return flux(values, redshift), by_slot, by_redshift
