"""Columns of a catalogue for sources with stellar populations: mass, star formation, age, dust, and their errors."""

from collections.abc import Mapping
from typing import Any

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.io.propagation import Errors
from scarlet_sed.light import Component, path_of
from scarlet_sed.paths import replace_slots, slots
from scarlet_sed.scene.scene import Scene
from scarlet_sed.spectrum.quantities import LEAST_RATE
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import Array, HostArray

_UNITS: dict[str, u.UnitBase | None] = {
    "log_mass": None,
    "log_surviving_mass": None,
    "log_sfr": None,
    "mean_age": u.Gyr,
    "log_metallicity": None,
    "av": u.mag,
}
"""What is listed: logarithms of solar masses (formed, and surviving), of solar masses a year over 100 Myr, ..."""


def population_columns(plain: Scene, errors: Errors) -> dict[str, Any]:
    """Columns for a catalogue, with `_error` beside each; NaN for sources without a population; none if none has one.

    Of a source of several components, masses and rates are those of the whole, the others of the most massive one.

    Args:
        plain: the scene with plain values.
        errors: of its parameters.
    """
    rows = [_of_source(plain, name, errors) for name in plain.sources]
    if all(row is None for row in rows):
        return {}
    nothing = (np.full(len(_UNITS), np.nan), np.full(len(_UNITS), np.nan))
    values, spreads = (np.stack([(nothing if row is None else row)[i] for row in rows]) for i in (0, 1))
    columns: dict[str, Any] = {}
    for index, (name, unit) in enumerate(_UNITS.items()):
        for suffix, table in (("", values), ("_error", spreads)):
            columns[name + suffix] = table[:, index] * unit if unit is not None else table[:, index]
    sigma = [np.asarray(errors.sigma.get(f"{name}.redshift", np.nan), float) for name in plain.sources]
    columns["redshift_error"] = np.array([float(s) for s in sigma])
    return columns


def _of_source(plain: Scene, name: str, errors: Errors) -> tuple[HostArray, HostArray] | None:
    source = plain.sources[name]
    parts = {
        path_of(name, part): component
        for part, component in source.components()
        if isinstance(component.spectrum, StellarPopulation)
    }
    if not parts:
        return None
    each = {path: _with_errors(path, component, source.redshift, errors) for path, component in parts.items()}
    main = max(each, key=lambda path: float(each[path][0][0]))
    values, spread = each[main]
    if len(parts) > 1:
        others = [found for path, (found, _) in each.items() if path != main]
        for index in (0, 1, 2):
            values[index] = np.log10(10 ** values[index] + sum(10 ** other[index] for other in others))
    return values, spread


def _with_errors(path: str, component: Component, redshift: Array, errors: Errors) -> tuple[HostArray, HostArray]:
    spectrum = f"{path}.spectrum."
    free = tuple(p.removeprefix(spectrum) for p in errors.sigma if p.startswith(spectrum))
    at_redshift = path.split(".")[0] + ".redshift"
    value, by_slot, by_redshift = _derived(component, redshift, free)
    slopes, paths, sizes = [np.zeros((len(_UNITS), 0))], [], []
    for key in [*(spectrum + each for each in free), at_redshift]:
        if key not in errors.sigma:
            continue
        slope = by_redshift if key == at_redshift else by_slot[key.removeprefix(spectrum)]
        sigma = errors.sigma[key]
        slopes.append(np.asarray(slope, float).reshape(len(_UNITS), -1) * sigma.reshape(1, -1))
        paths.append(errors.target[key])
        sizes.append(int(np.size(sigma)))
    stacked = np.concatenate(slopes, axis=1)
    host = np.asarray(value, float)
    if stacked.shape[1] == 0:
        return host, np.full(len(_UNITS), np.nan)
    together: HostArray = np.eye(stacked.shape[1])
    if errors.correlations is not None:
        together = errors.correlations.between(paths, sizes)
    return host, np.sqrt(np.maximum(np.einsum("ki,ij,kj->k", stacked, together, stacked), 0.0))


@eqx.filter_jit
def _derived(component: Component, redshift: Array, free: tuple[str, ...]) -> tuple[Array, Mapping[str, Array], Array]:
    """(quantity,) in the order of `_UNITS`, with derivatives in the free slots and in the redshift."""
    values = {slot.path: slot.leaf for slot in slots(component.spectrum) if slot.path in free}

    def quantities(some: Mapping[str, Array], z: Array) -> Array:
        own = replace_slots(component.spectrum, some)
        assert isinstance(own, StellarPopulation)
        av = jnp.zeros(()) if own.attenuation is None else own.attenuation.av
        rate = jnp.log10(jnp.maximum(own.sfr(z), LEAST_RATE))
        age = own.mean_age(z)
        return jnp.stack([own.log_mass, own.surviving_mass(z), rate, age, own.log_metallicity, av])

    by_slot, by_redshift = jax.jacfwd(quantities, argnums=(0, 1))(values, redshift)
    return quantities(values, redshift), by_slot, by_redshift
