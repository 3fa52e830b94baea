"""The numbers of a posterior one by one, each with a name that a person would give it."""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from scarlet_sed.constraints import keeps_unit_sum
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.export import axes
from scarlet_sed.infer.sampling.prior_text import prior_text
from scarlet_sed.paths import slots
from scarlet_sed.typing import HostArray

_TELLING = ("redshift", "log_mass", "flux", "radius", "index", "av", "ellipticity", "position")
"""What an astronomer looks at first."""


class Scalar(NamedTuple):
    """One number of a parameter.

    Args:
        path: of the parameter.
        place: index of the number in it.
        element: its name there: a band, a direction, or the index.
        unit: as astropy writes it.
        prior: in words.
        image: whether it is a pixel of a free image.
        draws: (chain, draw).
        rhat, bulk, tail: what `status.diagnose` found; NaN where chains were not diagnosed.
    """

    path: str
    place: tuple[int, ...]
    element: str
    unit: str
    prior: str
    image: bool
    draws: HostArray
    rhat: float
    bulk: float
    tail: float

    @property
    def name(self) -> str:
        """The path, with the element in brackets."""
        return f"{self.path}[{self.element}]" if self.element else self.path

    @property
    def label(self) -> str:
        """The name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


def scalars(posterior: Posterior) -> list[Scalar]:
    """All numbers of a posterior, source by source and then observation by observation."""
    model = posterior.posterior
    owners = [*model.scene.sources, *(o.name for o in model.observations)]
    return sorted(_scalars(posterior), key=lambda s: owners.index(s.path.split(".", 1)[0]))


def _scalars(posterior: Posterior) -> Iterator[Scalar]:
    model, diagnosis = posterior.posterior, posterior.diagnosis
    dims, coords = axes(posterior)
    units = {slot.path: slot.unit for slot in slots(model.scene)}
    units |= {f"{o.name}.{slot.path}": slot.unit for o in model.observations for slot in slots(o)}
    leaves = model.parameters
    bands = {f"{o.name}.shift": o.bands for o in model.observations}
    for path, values in posterior.draws.items():
        shape = values.shape[2:]
        names = _names(path, shape, dims, coords, bands)
        prior = leaves[path].prior
        image = keeps_unit_sum(prior)
        quality = _none(shape) if diagnosis is None else tuple(d[path] for d in diagnosis[:3])
        for index in np.ndindex(shape):
            yield Scalar(
                path,
                index,
                names.get(index, ",".join(str(i) for i in index)),
                units[path],
                prior_text(prior, index),
                image,
                values[(slice(None), slice(None), *index)],
                *(float(each[index]) for each in quality),
            )


def _names(
    path: str, shape: tuple[int, ...], dims: Mapping[str, Any], coords: Mapping[str, Any], bands: Mapping[str, Any]
) -> dict[tuple[int, ...], str]:
    """What the numbers of a parameter are called, by index, where they have names."""
    if path in bands:
        return {
            (i, j): f"{band} {way}" for i, band in enumerate(bands[path]) for j, way in enumerate(("east", "north"))
        }
    if path in dims and len(shape) == 1:
        return {(i,): str(name) for i, name in enumerate(coords[dims[path][0]])}
    return {}


def _none(shape: tuple[int, ...]) -> tuple[HostArray, ...]:
    return (np.full(shape, np.nan),) * 3


def chosen(posterior: Posterior, names: str | Iterable[str]) -> list[Scalar]:
    """The numbers that are meant by names.

    Args:
        posterior: draws.
        names: globs of names (`a.spectrum.flux[F115W]`) or of paths (`*.radius`), or names of sources and
            observations, whose numbers are meant then.

    Raises:
        ParameterError: for a name that means nothing.
    """
    every, found = scalars(posterior), []
    for wanted in [names] if isinstance(names, str) else names:
        own = [s for s in every if _meant(s, wanted)]
        if not own:
            known = ", ".join(dict.fromkeys(s.path for s in every))
            raise ParameterError(f"no sampled parameter is called {wanted!r}", fix=f"choose among: {known[:600]}")
        found += own
    return list({s.name: s for s in found}.values())


def _meant(scalar: Scalar, wanted: str) -> bool:
    # brackets are sets of letters to a glob
    literal = wanted.replace("[", "[[]")
    return (
        scalar.path.startswith(f"{wanted}.")
        or fnmatch.fnmatchcase(scalar.name, literal)
        or fnmatch.fnmatchcase(scalar.path, literal)
    )


def telling(own: list[Scalar], most: int = 8) -> list[Scalar]:
    """At most so many of a source's numbers, those an astronomer looks at first.

    Pixels of images are left out; where there are too many numbers, so are all bands of a spectrum but the best
    measured one.
    """
    plain = [s for s in own if not s.image]
    if len(plain) <= most:
        return plain
    best: dict[str, Scalar] = {}
    for scalar in plain:
        if scalar.path.endswith(".flux") and scalar.place:
            kept = best.setdefault(scalar.path, scalar)
            best[scalar.path] = max(kept, scalar, key=_significance)
    few = [s for s in plain if s.path not in best or s is best[s.path]]
    order = sorted(few, key=lambda s: _rank(s.path))[:most]
    return [s for s in few if any(s is kept for kept in order)]


def hardest(posterior: Posterior, most: int = 5) -> list[Scalar]:
    """The numbers with the fewest effective draws, one of each parameter; the first ones where nothing is known."""
    every: dict[str, Scalar] = {}
    for scalar in sorted(scalars(posterior), key=lambda s: np.nan_to_num(min(s.bulk, s.tail), nan=np.inf)):
        every.setdefault(scalar.path, scalar)
    return list(every.values())[:most]


def _significance(scalar: Scalar) -> float:
    spread = float(np.std(scalar.draws))
    return abs(float(np.mean(scalar.draws))) / spread if spread > 0 else 0.0


def _rank(path: str) -> int:
    last = path.rsplit(".", 1)[-1]
    return _TELLING.index(last) if last in _TELLING else _TELLING.index("av")
