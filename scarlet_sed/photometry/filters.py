"""Filters: transmission curves by name, and sets of them turned into small quadratures.

A flux through a filter is the photon-counting AB average (Bessell & Murphy 2012, equation A12),

    flux = int f_nu T dlambda / lambda  /  int T dlambda / lambda .

`Filters` holds it twice: as a few Gauss nodes a band, exact for smooth spectra, and on a fixed fine grid of
ln(wavelength), for spectra with lines and breaks.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.errors import FilterError
from scarlet_sed.parameters import as_float, to_device
from scarlet_sed.photometry.quadrature import CUBIC, LOG_STEP, Measure, fine_weights, gauss_nodes, line_responses
from scarlet_sed.typing import Array, HostArray

NODES = 12
"""Gauss nodes a band. Against dense integration in all 270 shipped filters: below 4e-6 for black bodies above 1000 K in
the observed frame and 8e-7 for power laws of slope -6 to 3 (8 nodes: 1.3e-2 and 8e-5)."""

__all__ = ["LOG_STEP", "NODES", "Filter", "FilterLike", "Filters", "available_filters", "canonical_name"]

# How people write an instrument -> the words astro-sedpy uses in its names.
_INSTRUMENTS = {"nircam": "jwst", "miri": "jwst", "hst": "", "hubble": ""}


@lru_cache(maxsize=1)
def available_filters() -> tuple[str, ...]:
    """The names of all filters that astro-sedpy ships."""
    folder = files("sedpy") / "data" / "filters"
    return tuple(sorted(item.name[:-4] for item in folder.iterdir() if item.name.endswith(".par")))


def _words(name: str) -> frozenset[str]:
    words = (_INSTRUMENTS.get(word, word) for word in re.split(r"[\s/._-]+", name.strip().lower()))
    return frozenset(word for word in words if word)


@lru_cache(maxsize=512)
def _candidates(name: str) -> tuple[str, ...]:
    """Filters that the name can mean: all of its words occur, with as few other words as possible."""
    exact = [known for known in available_filters() if known.lower() == name.strip().lower()]
    if exact:
        return tuple(exact)
    wanted = _words(name)
    found = [known for known in available_filters() if wanted and wanted <= _words(known)]
    fewest = min((len(_words(known)) for known in found), default=0)
    return tuple(known for known in found if len(_words(known)) == fewest)


def canonical_name(name: str) -> str:
    """The astro-sedpy name that a name means (`F115W` -> `jwst_f115w`), or the name itself where it means none."""
    found = _candidates(name)
    return found[0] if len(found) == 1 else name


@final
@dataclass(frozen=True, eq=False)
class Filter:
    """A transmission curve (of photons, as detectors count them).

    Args:
        name: how the user calls it.
        wavelength: (n,) Angstrom, increasing.
        transmission: (n,) in any unit, not negative; linear between the points and zero outside.

    Raises:
        FilterError: if the curve is not a curve.
    """

    name: str
    wavelength: HostArray
    transmission: HostArray

    def __post_init__(self) -> None:
        wavelength, transmission = (np.asarray(a, dtype=np.float64) for a in (self.wavelength, self.transmission))
        problem = _curve_problem(wavelength, transmission)
        if problem:
            raise FilterError(
                f"the curve of filter {self.name!r} {problem}",
                fix="give increasing wavelengths in Angstrom and transmissions that are finite and not negative",
            )
        object.__setattr__(self, "wavelength", wavelength)
        object.__setattr__(self, "transmission", transmission)

    @property
    def measure(self) -> Measure:
        """The weight T dlambda / lambda, normalised, on fine points."""
        return Measure.of_curve(self.wavelength, self.transmission)

    @property
    def pivot(self) -> float:
        """Pivot wavelength in Angstrom, sqrt(int T lambda dlambda / int T dlambda / lambda)."""
        measure = self.measure
        return float(np.sqrt(np.sum(measure.mass * np.exp(2 * measure.log_wavelength))))

    @staticmethod
    def load(name: str) -> "Filter":
        """A filter that astro-sedpy ships, by its name (`jwst_f115w`) or a shorter one (`F115W`, `acs_f606w`).

        Raises:
            FilterError: if the name is unknown or can mean several filters.
        """
        found = _candidates(name)
        if len(found) > 1:
            raise FilterError(f"the filter name {name!r} can mean several filters", fix=f"choose {_listed(found)}")
        if not found:
            close = difflib.get_close_matches(name.lower(), available_filters(), n=4, cutoff=0.5)
            raise FilterError(
                f"unknown filter {name!r}",
                fix=(f"did you mean {_listed(close)}? " if close else "")
                + "Filter.from_file reads a curve, scarlet_sed.photometry.filters.available_filters() lists all",
            )
        return Filter(name, *_read_curve(Path(str(files("sedpy") / "data" / "filters" / f"{found[0]}.par"))))

    @staticmethod
    def from_file(path: str | Path, *, name: str | None = None) -> "Filter":
        """A curve from a text file of two columns: wavelength in Angstrom, transmission of photons.

        Raises:
            FilterError: if the file is missing or holds no curve.
        """
        path = Path(path)
        if not path.is_file():
            raise FilterError(f"the filter file {str(path)!r} does not exist", fix="check the path")
        return Filter(name or path.stem, *_read_curve(path))


def _listed(names: Iterable[str]) -> str:
    return " or ".join(repr(name) for name in names)


def _read_curve(path: Path) -> tuple[HostArray, HostArray]:
    try:
        table = np.loadtxt(path, usecols=(0, 1), ndmin=2, comments="#")
    except (ValueError, OSError) as error:
        raise FilterError(
            f"cannot read the filter file {str(path)!r} ({error})",
            fix="give two columns of numbers, # for comments",
        ) from error
    table = table[np.argsort(table[:, 0], kind="stable")]
    table = table[np.append(np.diff(table[:, 0]) > 0, True)]
    wavelength, transmission = table[:, 0], np.maximum(table[:, 1], 0.0)
    # measured curves carry noise far from the band: keep what is above 1e-5 of the peak, as astro-sedpy does
    inside = np.flatnonzero(transmission > 1e-5 * transmission.max(initial=0.0))
    if inside.size:
        keep = slice(max(inside[0] - 1, 0), inside[-1] + 2)
        wavelength, transmission = wavelength[keep], transmission[keep]
    return wavelength, transmission


def _curve_problem(wavelength: HostArray, transmission: HostArray) -> str:
    if wavelength.ndim != 1 or wavelength.shape != transmission.shape or wavelength.size < 2:
        return f"has shapes {wavelength.shape} and {transmission.shape}"
    if not (np.all(np.isfinite(wavelength)) and np.all(np.isfinite(transmission))):
        return "is not finite"
    if np.any(np.diff(wavelength) <= 0) or wavelength[0] <= 0:
        return "has wavelengths that are not positive and increasing"
    if np.any(transmission < 0):
        return "is negative"
    return "" if np.any(transmission > 0) else "is zero everywhere"


FilterLike = str | Filter


_SAME = 5e-4
"""Largest difference of the logarithms of wavelengths of filters that are the same."""


@final
class Filters(eqx.Module):
    """Filters in a fixed order, ready for traced code.

    Args (made by `load` or `generic`, not by hand):
        names: (band,) how the user calls them.
        curves: whether transmission curves are known.
        pivot: (band,) Angstrom; NaN where unknown.
        wavelength: (band, node) observed-frame Angstrom.
        weight: (band, node) positive, sum one: the flux of a smooth spectrum is sum(weight * f_nu(wavelength)).
        fine_start: integer: fine node j lies at ln(wavelength) = (fine_start + j) * LOG_STEP.
        fine_weight: (band, fine) sum one, zero beyond the band: the same average on that grid, for structured spectra.
        line_start: integer: node j of `line_response` lies at ln(wavelength) = (line_start + j) * LINE_STEP.
        line_response: (node, band) what a line of unit flux over frequency adds to each band.
        fine_powers: (power, band, fine + 3) made here: `fine_weight` that has met the spline that shifts spectra.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    curves: bool = eqx.field(static=True)
    pivot: Array
    wavelength: Array
    weight: Array
    fine_start: Array
    fine_weight: Array
    line_start: Array
    line_response: Array
    fine_powers: Array

    def __init__(
        self,
        names: tuple[str, ...],
        curves: bool,
        pivot: Array,
        wavelength: Array,
        weight: Array,
        fine_start: Array,
        fine_weight: Array,
        line_start: Array,
        line_response: Array,
    ) -> None:
        self.names, self.curves = names, curves
        self.pivot, self.wavelength, self.weight = pivot, wavelength, weight
        self.fine_start, self.fine_weight = fine_start, fine_weight
        self.line_start, self.line_response = line_start, line_response
        self.fine_powers = _spline_powers(fine_weight)

    @staticmethod
    def load(filters: "FilterLike | Iterable[FilterLike] | Filters", *, nodes: int = NODES) -> "Filters":
        """The set of these filters.

        Args:
            filters: names (`F115W`, `acs_f606w`, see `Filter.load`) or `Filter`s.
            nodes: quadrature nodes a band for smooth spectra.

        Raises:
            FilterError: for unknown, ambiguous or repeated filters, or none.
        """
        if isinstance(filters, Filters):
            return filters
        listed = [filters] if isinstance(filters, (str, Filter)) else list(filters)
        loaded = [item if isinstance(item, Filter) else Filter.load(item) for item in listed]
        names = checked_names([item.name for item in loaded])
        measures = [item.measure for item in loaded]
        gauss = [gauss_nodes(measure, nodes) for measure in measures]
        start, fine = fine_weights(measures)
        line_start, response = line_responses([(item.wavelength, item.transmission) for item in loaded])
        return Filters(
            names=names,
            curves=True,
            pivot=as_float([item.pivot for item in loaded]),
            wavelength=as_float(np.stack([wavelength for wavelength, _ in gauss])),
            weight=as_float(np.stack([weight for _, weight in gauss])),
            fine_start=to_device(np.asarray(start), np.int32),
            fine_weight=as_float(fine),
            line_start=to_device(np.asarray(line_start), np.int32),
            line_response=as_float(response),
        )

    @staticmethod
    def generic(names: str | Iterable[str], pivots: Sequence[float] | None = None) -> "Filters":
        """Bands of which only the names are known (a simulation's "g"): only `FreeSpectrum` can use them.

        Args:
            names: any different names.
            pivots: (band,) Angstrom, for plots.
        """
        checked = checked_names([names] if isinstance(names, str) else list(names))
        if pivots is not None and len(pivots) != len(checked):
            raise FilterError(f"{len(checked)} bands but {len(pivots)} pivots", fix="give one pivot wavelength a band")
        pivot = np.full(len(checked), np.nan) if pivots is None else np.asarray(pivots, float)
        one = as_float(np.ones((len(checked), 1)))
        start = to_device(np.zeros(()), np.int32)
        return Filters(checked, False, as_float(pivot), as_float(pivot[:, None]), one, start, one, start, one.T)

    @staticmethod
    def joined(sets: "Sequence[Filters]") -> "Filters":
        """The bands of several sets as one, in their order; a band that comes again is left out.

        Raises:
            FilterError: if curves are known in some sets only.
        """
        if len({one.curves for one in sets}) != 1:
            raise FilterError("filters with and without curves", fix="give all bands names of real filters")
        if len(sets) == 1:
            return sets[0]
        names = [name for one in sets for name in one.names]
        keep = [i for i, n in enumerate(names) if canonical_name(n) not in map(canonical_name, names[:i])]
        fine_start, fine = _on_one_grid([(int(one.fine_start), np.asarray(one.fine_weight)) for one in sets])
        line_start, lines = _on_one_grid([(int(one.line_start), np.asarray(one.line_response).T) for one in sets])
        stacked = [
            np.concatenate([np.asarray(getattr(one, name)) for one in sets])[keep]
            for name in ("pivot", "wavelength", "weight")
        ]
        pivot, wavelength, weight = (as_float(array) for array in stacked)
        return Filters(
            names=tuple(names[i] for i in keep),
            curves=sets[0].curves,
            pivot=pivot,
            wavelength=wavelength,
            weight=weight,
            fine_start=to_device(np.asarray(fine_start), np.int32),
            fine_weight=as_float(fine[keep]),
            line_start=to_device(np.asarray(line_start), np.int32),
            line_response=as_float(lines[keep].T),
        )

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Where a band is in this set; `F115W` and `jwst_f115w` are the same band.

        Raises:
            FilterError: if the set does not hold it.
        """
        if name in self.names:
            return self.names.index(name)
        known = [canonical_name(own) for own in self.names]
        if canonical_name(name) in known:
            return known.index(canonical_name(name))
        raise FilterError(f"there is no band {name!r}", fix=f"choose among {', '.join(self.names)}")

    def select(self, names: Iterable[str]) -> "Filters":
        """The set of some of the bands, in the order given."""
        chosen = list(names)
        at = np.array([self.index(name) for name in chosen])
        pivot, wavelength, weight, fine = (a[at] for a in (self.pivot, self.wavelength, self.weight, self.fine_weight))
        lines = self.line_response[:, at]
        return Filters(
            checked_names(chosen), self.curves, pivot, wavelength, weight, self.fine_start, fine, self.line_start, lines
        )

    @property
    def limits(self) -> HostArray:
        """(band, 2) Angstrom: all but 0.1 % of each band's transmission lies between."""
        cumulative = np.cumsum(np.asarray(self.fine_weight, np.float64), axis=-1)
        ends = [np.argmax(cumulative > level, axis=-1) for level in (5e-4, 1 - 5e-4)]
        return np.exp((int(self.fine_start) + np.stack(ends, axis=-1)) * LOG_STEP)

    def places_in(self, other: "Filters") -> tuple[int, ...]:
        """For each of these bands, the place in another set of the band with the same curve, whatever it is called.

        -1 for none. Curves are the same if pivot wavelength and limits agree to 0.05 %; those without are none.
        """
        if not (self.curves and other.curves):
            return (-1,) * len(self)
        own, others = (np.concatenate([np.asarray(f.pivot, float)[:, None], f.limits], axis=1) for f in (self, other))
        off = np.max(np.abs(np.log(own[:, None] / others[None])), axis=-1)
        nearest = np.argmin(off, axis=1)
        return tuple(int(k) if off[row, k] < _SAME else -1 for row, k in enumerate(nearest))

    def require_curves(self, user: str) -> None:
        """Raise `FilterError` if the curves are unknown; `user` says what needs them."""
        if not self.curves:
            raise FilterError(
                f"{user} needs transmission curves, and the bands {', '.join(self.names)} have none",
                fix="name real filters (Filters.load, Filter.from_file), or use FreeSpectrum",
            )


@jax.jit
def _spline_powers(weight: Array) -> Array:
    """(power, band, fine + 3): what each cell counts for a shift by a part t of a cell, as a cubic in t.

    The weights meet the polynomials before the spectrum does: then differences of neighbouring cells are differences of
    neighbouring weights, small and exact, and a gradient in redshift is four numbers.
    """
    moved = jnp.stack([jnp.pad(weight, ((0, 0), (k, 3 - k))) for k in range(4)])
    return jnp.einsum("pk,kbc->pbc", jnp.asarray(CUBIC, weight.dtype), moved)


def _on_one_grid(tables: Sequence[tuple[int, HostArray]]) -> tuple[int, HostArray]:
    """Tables (band, node), each with the integer of its first node, as one with zeros where a band was not listed."""
    first = min(start for start, _ in tables)
    last = max(start + table.shape[1] for start, table in tables)
    rows = [np.pad(t, ((0, 0), (start - first, last - start - t.shape[1]))) for start, t in tables]
    return first, np.concatenate(rows)


def checked_names(names: list[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        FilterError: if one is no name, two mean the same filter, or there is none.
    """
    if not names:
        raise FilterError("a set of no filters", fix="give at least one filter")
    bad = next((name for name in names if not isinstance(name, str) or not name), None)
    if bad is not None:
        raise FilterError(f"{bad!r} cannot name a filter", fix="use a string")
    canonical = [canonical_name(name) for name in names]
    twice = next((name for name, known in zip(names, canonical, strict=True) if canonical.count(known) > 1), None)
    if twice is not None:
        raise FilterError(f"the filter {twice!r} is given twice", fix="give each filter once")
    return tuple(names)
