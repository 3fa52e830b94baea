"""What follows from the parameters, draw by draw: fluxes, and masses, rates and ages of stellar populations."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.infer.chunks import by_chunks
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.program import Program, behind
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.parts import families_of, program_of, require_sources
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.light import path_of
from scarlet_sed.shared import batch_axes
from scarlet_sed.spectrum.quantities import STARS, Quantity, of_population
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.typing import Array, HostArray

_DESCRIBED = {
    **STARS,
    "flux": Quantity("nJy", "total, behind own dust screens, corrected for the Milky Way"),
    "intrinsic_flux": Quantity("nJy", "total, without own dust screens, corrected for the Milky Way"),
}
"""Unit and description by quantity, in the order in which they are listed."""


class Derived(NamedTuple):
    """A quantity that follows from the parameters.

    Args:
        values: (chain, draw) or (chain, draw, band); of some draws only, (draw,) or (draw, band).
        unit: as astropy writes it.
        description: in words.
        bands: names along the last axis; none where there is no such axis.
    """

    values: HostArray
    unit: str
    description: str
    bands: tuple[str, ...] = ()


def derived(
    posterior: Posterior, count: int | None = None, seed: int = 0, *, sources: Iterable[str] | None = None
) -> dict[str, Derived]:
    """Quantities of every source and of every component of it, at every draw.

    They are called by path: `galaxy.flux`, and `galaxy.disk.flux` where a source has several components. Of all light
    `flux`, as in catalogues: of the whole profile, behind the source's own screens, and before the Milky Way,
    calibration and sky; where there are screens, `intrinsic_flux` without them. Of stellar populations
    `log_surviving_mass`, `log_sfr10`, `log_sfr100` (the `log_sfr` of catalogues), `mean_age` and `t50`. Of a source
    with several populations masses and rates are sums and `mean_age` is that of all stars; `t50` is given of each only.
    Of a source with several components there is `log_mass` too, the sum of those of its populations.

    Args:
        posterior: draws, of any kind.
        count: how many of them, picked at random; None for all, chain by chain.
        seed: of which ones.
        sources: names of sources to leave it at; None for all.

    Raises:
        ParameterError: if there are no draws, or none are asked for.
        SourceError: for a name that no source has.
    """
    model = posterior.posterior
    names = list(model.scene.sources) if sources is None else list(dict.fromkeys(sources))
    require_sources(model, names)
    values = families_of(posterior, count, seed)
    program, components = program_of(model, names)
    found = by_chunks(lambda *some: _of_draws(program, some), *values)
    shape = posterior.shape if count is None else (int(count),)
    parts: dict[str, dict[str, HostArray]] = {}
    for paths, group in zip(components, found, strict=True):
        for row, path in enumerate(paths):
            parts[path] = {name: each[:, row].reshape(*shape, *each.shape[2:]) for name, each in group.items()}
    bands = band_names(model.observations)
    return {
        f"{path}.{name}": Derived(own[name], *described, bands if name.endswith("flux") else ())
        for source in names
        for path, own in _of_source(source, [n for n, _ in model.scene[source].components()], parts)
        for name, described in _DESCRIBED.items()
        if name in own
    }


def band_names(observations: Iterable[Observation]) -> tuple[str, ...]:
    """The bands of all observations, with the observation's name in front of those that come twice."""
    every = [(o.name, band) for o in observations for band in o.filters.names]
    names = [band for _, band in every]
    return tuple(band if names.count(band) == 1 else f"{owner}_{band}" for owner, band in every)


def _of_source(
    source: str, names: list[str], parts: Mapping[str, Mapping[str, HostArray]]
) -> Iterator[tuple[str, Mapping[str, HostArray]]]:
    """Paths with quantities: the source, and where it has several, its components."""
    each = {path_of(source, name): parts[path_of(source, name)] for name in names}
    if list(each) != [source]:
        yield source, _summed(list(each.values()))
    for path, own in each.items():
        yield path, {name: values for name, values in own.items() if name != "log_mass"}


def _summed(parts: list[Mapping[str, HostArray]]) -> dict[str, HostArray]:
    """Quantities of several components together."""
    populations = [{n: np.asarray(v, float) for n, v in own.items()} for own in parts if "log_mass" in own]
    found: dict[str, HostArray] = {}
    if len(populations) == 1:
        found |= {name: values for name, values in populations[0].items() if not name.endswith("flux")}
    elif populations:
        names = [name for name in STARS if name.startswith("log_")]
        found |= {name: np.log10(sum(10.0 ** own[name] for own in populations)) for name in names}
        formed = [10.0 ** (own["log_mass"] - found["log_mass"]) for own in populations]
        found["mean_age"] = sum((m * own["mean_age"] for m, own in zip(formed, populations, strict=True)), np.zeros(()))
    found["flux"] = sum((own["flux"] for own in parts), np.zeros(()))
    if any("intrinsic_flux" in own for own in parts):
        found["intrinsic_flux"] = sum((own.get("intrinsic_flux", own["flux"]) for own in parts), np.zeros(()))
    return found


@jax.jit
def _of_draws(program: Program, values: FamilyValues) -> list[dict[str, Array]]:
    """Per group, (draw, n, ...) quantities of its components by name."""
    return jax.lax.map(lambda own: _of_draw(program, own), values)


def _of_draw(program: Program, values: FamilyValues) -> list[dict[str, Array]]:
    drawn = program.stamps(values)
    every = [o.filters for o in program.observations]
    clear = [program.fluxes([(d.component, d.redshift) for d in drawn], filters) for filters in every]
    found = []
    for number, own in enumerate(drawn):
        quantities: dict[str, Array] = {}
        spectrum = own.component.spectrum
        if isinstance(spectrum, StellarPopulation):
            quantities |= jax.vmap(of_population, (batch_axes(spectrum), 0))(spectrum, own.redshift)
        flux = jnp.concatenate([each[number] for each in clear], axis=-1)
        if own.screens:
            # what is outside of the box is dimmed as what is inside
            seen = [_summed_up(behind(own, filters)) for filters in every]
            through = jnp.concatenate(seen, axis=-1) / _summed_up(own.stamps)[:, None]
            quantities |= {"flux": through, "intrinsic_flux": flux}
        else:
            quantities["flux"] = flux
        found.append(quantities)
    return found


def _summed_up(images: Array) -> Array:
    """(...,) sums of (..., h, w) images, rows first, which keeps digits."""
    return jnp.sum(jnp.sum(images, axis=-1), axis=-1)
