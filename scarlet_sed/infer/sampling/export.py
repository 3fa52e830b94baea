"""Draws as ArviZ has them: an xarray DataTree with coordinates and units, to be kept as NetCDF."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arviz_base
import jax
import numpy as np

from scarlet_sed.files import atomic
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.sampling.bands import flux_bands
from scarlet_sed.infer.sampling.derived import Derived
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.target import AnyTarget
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import slots
from scarlet_sed.typing import Array, HostArray

if TYPE_CHECKING:
    from xarray import DataTree

_STATISTICS = {"accept": "acceptance_rate", "leapfrogs": "n_steps"}
"""What ArviZ calls them; the others have its names."""
_PAIRS = {"position": ("east", "north"), "offset": ("east", "north"), "ellipticity": ("e1", "e2")}


def to_datatree(posterior: Posterior, quantities: Mapping[str, Derived] | None = None) -> "DataTree":
    """The groups posterior, sample_stats, log_likelihood and observed_data; and derived, where something is.

    Variables have the paths of their parameters for names, with units and descriptions; bands, directions and the
    components of ellipticities are coordinates. The log-likelihood is that of each observation as a whole.

    Args:
        posterior: draws.
        quantities: what `derived` made of all of them.
    """
    dims, coords = axes(posterior)
    statistics = {_STATISTICS.get(name, name): value for name, value in posterior.statistics.items()}
    observations = posterior.posterior.observations
    groups: dict[str, Any] = {
        "posterior": posterior.draws,
        "sample_stats": {"lp": posterior.log_density, **statistics},
        "log_likelihood": log_likelihoods(posterior),
        "observed_data": {o.name: np.asarray(o.data) for o in observations},
    }
    quantities = quantities or {}
    if quantities:
        groups["derived"] = {path: own.values for path, own in quantities.items()}
        dims |= {path: ["band"] for path, own in quantities.items() if own.bands}
        coords["band"] = next((list(own.bands) for own in quantities.values() if own.bands), [])
    tree: DataTree = arviz_base.from_dict(groups, dims=dims, coords=coords)
    for path, own in quantities.items():
        tree["derived"][path].attrs.update(unit=own.unit, description=own.description)
    described = {slot.path: slot for slot in slots(posterior.posterior.scene)}
    described |= {f"{o.name}.{slot.path}": slot for o in observations for slot in slots(o)}
    for path in posterior.draws:
        tree["posterior"][path].attrs.update(unit=described[path].unit, description=described[path].doc)
    tree["posterior"].attrs.update(status=posterior.status.name, advice=posterior.status.advice)
    if posterior.khat is not None:
        tree["posterior"].attrs.update(khat=posterior.khat)
    for observation in observations:
        tree["observed_data"][observation.name].attrs.update(unit="nJy")
    return tree


def save_posterior(posterior: Posterior, path: str | Path, quantities: Mapping[str, Derived] | None = None) -> Path:
    """Write the draws as NetCDF, replacing what was there in one move.

    Args:
        posterior: draws.
        path: a name that ends in `.nc`.
        quantities: what `derived` made of all draws, to be written too.

    Returns:
        The path; `xarray.open_datatree` reads it.
    """
    path = Path(path)
    with atomic(path) as temporary:
        to_datatree(posterior, quantities).to_netcdf(temporary, engine="h5netcdf")
    return path


def axes(posterior: Posterior) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Names of the dimensions of parameters by path, and the coordinates along them."""
    dims: dict[str, list[str]] = {}
    coords: dict[str, Any] = {}
    scene, observations = posterior.posterior.scene, posterior.posterior.observations
    bands = flux_bands(scene)
    for observation in observations:
        own = observation.filters.names
        bands |= {f"{observation.name}.{slot}": own for slot in ("sky", "calibration", "foreground")}
        dims[observation.name] = [f"{observation.name}_band", f"{observation.name}_row", f"{observation.name}_column"]
        coords[f"{observation.name}_band"] = list(own)
    for path, values in posterior.draws.items():
        last = path.rsplit(".", 1)[-1]
        if path in bands and values.ndim == 3:
            dims[path] = [f"{path}_band"]
            coords[f"{path}_band"] = list(bands[path])
        elif last in _PAIRS and values.shape[2:] == (2,):
            axis = "direction" if last != "ellipticity" else "component"
            dims[path] = [axis]
            coords[axis] = list(_PAIRS[last])
    return dims, coords


def log_likelihoods(posterior: Posterior) -> dict[str, HostArray]:
    """(chain, draw) log-likelihood of each observation, by name."""
    chains, count = posterior.shape
    if not count:
        return {}
    flat = posterior.whitened.reshape(-1, posterior.whitened.shape[-1])
    found = by_chunks(lambda w: _likelihoods(posterior.target, w), flat)
    names: list[Observation] = list(posterior.posterior.observations)
    return {o.name: np.asarray(found[i]).reshape(chains, count) for i, o in enumerate(names)}


@jax.jit
def _likelihoods(target: AnyTarget, whitened: Array) -> tuple[Array, ...]:
    def one(whitened: Array) -> tuple[Array, ...]:
        values = target.values(whitened)
        return target.program.log_likelihoods(target.program.images(values), values)

    return jax.lax.map(one, whitened)
