"""What follows from the draws of a stellar population: masses, rates, ages and lines of every draw of every object."""

from collections.abc import Iterable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from scarlet_sed.amortized.posterior import AmortizedDraws, AmortizedPosterior
from scarlet_sed.amortized.refine import Refined
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.parameters import resolve
from scarlet_sed.paths import replace_slots
from scarlet_sed.spectrum.quantities import LINE_QUANTITIES, STARS, of_lines, of_population
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import Array, HostArray

QUANTITIES = {**STARS, **LINE_QUANTITIES}
"""Unit and description by quantity."""


def derived_of(
    posterior: AmortizedPosterior,
    found: AmortizedDraws | Refined | Mapping[str, HostArray],
    redshift: Any = None,
    names: Iterable[str] | None = None,
) -> dict[str, HostArray]:
    """(object, draw) quantities of stellar populations, in the units of `QUANTITIES`.

    Masses that formed and that remain, rates of star formation over 10 and 100 Myr, ages, and lines: luminosities
    before dust and fluxes behind it. They are computed exactly, some 50 to 150 microseconds a draw, of which only what
    is asked for is paid.

    Args:
        posterior: whose spectrum.
        found: draws of it, refined or not, or (object, draw, ...) values by path.
        redshift: (object,) or one, where draws have none of their own.
        names: of quantities; None for all that the spectrum has.

    Raises:
        ParameterError: if the spectrum is no stellar population, has no such quantity, or redshifts are missing.
        ShapeError, DomainError: for redshifts that make no sense.
    """
    spectrum = posterior.described.model.spectrum
    if not isinstance(spectrum, StellarPopulation):
        raise ParameterError(
            f"a {type(spectrum).__name__} has no masses and lines", fix="use a posterior of a StellarPopulation"
        )
    values = found.values if isinstance(found, AmortizedDraws | Refined) else found
    paths = posterior.paths
    shape = np.shape(values[paths[0]])[:2]
    if "redshift" in values:
        z = np.asarray(values["redshift"])
    elif redshift is None:
        raise ParameterError("the draws have no redshifts", fix="give redshift=, as for `sample`")
    else:
        z = np.repeat(posterior.known_redshifts(redshift, shape[0])[:, None], shape[1], axis=1)
    asked = None if names is None else tuple(dict.fromkeys(names))

    def rows(z: Array, *own: Array) -> dict[str, Array]:
        return _rows(spectrum, dict(zip(paths, own, strict=True)), z, asked)

    flat = [np.asarray(values[path]).reshape(z.size, *np.shape(values[path])[2:]) for path in paths]
    each = by_chunks(rows, z.reshape(-1), *flat)
    return {name: each[name].reshape(shape) for name in asked or [n for n in QUANTITIES if n in each]}


@eqx.filter_jit
def _rows(
    spectrum: StellarPopulation, values: dict[str, Array], redshift: Array, names: tuple[str, ...] | None
) -> dict[str, Array]:
    def one(values: dict[str, Array], z: Array) -> dict[str, Array]:
        placed = resolve(replace_slots(spectrum, values))
        assert isinstance(placed, StellarPopulation)
        found = {**of_population(placed, z), **of_lines(placed, z)}
        unknown = sorted(set(names or ()) - set(found))
        if unknown:
            raise ParameterError(f"there is no quantity {unknown[0]!r}", fix=f"choose among {', '.join(found)}")
        return {name: found[name] for name in names or found}  # what is left out is not computed

    return jax.vmap(one)(values, redshift)
