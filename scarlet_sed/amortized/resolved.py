"""Maps of the stars and the dust of resolved galaxies, pixel by pixel, from an amortized posterior."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy.wcs import WCS

from scarlet_sed.amortized.bins import bin_pixels, summed, whole_light
from scarlet_sed.amortized.derived import QUANTITIES, derived_of
from scarlet_sed.amortized.posterior import AmortizedPosterior
from scarlet_sed.amortized.trust import trust
from scarlet_sed.errors import DataError, FilterError, ParameterError, ShapeError
from scarlet_sed.instrument.matching import Matched, match_psfs
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import slots
from scarlet_sed.photometry.cosmology import Cosmology
from scarlet_sed.typing import HostArray

LEVELS = (0.16, 0.5, 0.84)
UNUSUAL, MISFIT, FEW = 1, 2, 4
"""Bits of flags: unlike the training; no drawn spectrum fits; fewer than three effective draws by exact weights."""
EXTENSIVE = {
    "log_mass": "log(solMass kpc-2)",
    "log_surviving_mass": "log(solMass kpc-2)",
    "log_sfr10": "log(solMass yr-1 kpc-2)",
    "log_sfr100": "log(solMass yr-1 kpc-2)",
}
"""What adds up over pixels, and is mapped as a surface density, with its unit as FITS writes it."""
_DERIVED = (*EXTENSIVE, "mean_age")
_AT_ONCE = 1024
"""Bins whose draws are held at once."""
_STRIDE = 1_000_003
"""Between seeds of one redshift and the next: more than there are parts of bins."""
_REDSHIFTS = 16
"""Of the integrated light, over which the draws of pixels are spread where the redshift is free."""
_JUDGED = 32
"""Draws of a bin that it is judged by."""
_KPC_PER_MPC_ARCSEC = 1e3 * np.pi / (180 * 3600)


class ResolvedProperties(NamedTuple):
    """Posteriors of pixels and of bins of pixels.

    Args:
        labels: (H, W) number of each pixel's bin, -1 for none.
        pixels: (bin,) how many pixels it has.
        signal: (bin,) mean signal-to-noise in the bands that detect.
        quantiles: (3, bin) 16, 50 and 84 % by name: parameters of the spectrum by their paths, log10 of masses (solar
            masses) and rates (solar masses a year) of the whole bin, and `mean_age` (Gyr).
        surface: (3, bin) the same of log10 of masses and rates a kpc^2, each draw's at its own redshift.
        flags: (bin,) sums of `UNUSUAL`, `MISFIT` and `FEW`.
        summed: (3,) 16, 50 and 84 % of log10 of masses and rates summed over all bins, whose draws are independent.
        integrated: (3,) the same from the light of all bins together, as if it were not resolved: young stars outshine
            old ones there, and its mass is often lower than the sum.
        lacking: (band,) share of the light of all bins that lies on unknown pixels of a band: filled in where it is
            little, or else the band is missing there, see `whole_light`.
        redshift: (3,) 16, 50 and 84 %.
        units: of maps, as FITS writes them, by name; empty for plain numbers and logarithms of ratios.
        pixel_area: kpc^2 of a pixel at the median redshift.
        matched: the images through one PSF.
    """

    labels: np.ndarray
    pixels: np.ndarray
    signal: HostArray
    quantiles: dict[str, HostArray]
    surface: dict[str, HostArray]
    flags: np.ndarray
    summed: dict[str, HostArray]
    integrated: dict[str, HostArray]
    lacking: HostArray
    redshift: HostArray
    units: dict[str, str]
    pixel_area: float
    matched: Matched

    def image(self, name: str, level: float = 0.5) -> HostArray:
        """(H, W) map of a quantity at 16, 50 or 84 %: masses and rates as log10 of those a kpc^2; NaN in no bin.

        Raises:
            ParameterError: for another name or level.
        """
        if name not in self.quantiles or level not in LEVELS:
            raise ParameterError(
                f"there is no map of {name!r} at {level!r}",
                fix=f"choose among {', '.join(self.quantiles)} and {LEVELS}",
            )
        values = (self.surface if name in EXTENSIVE else self.quantiles)[name]
        return self.painted(values[LEVELS.index(level)])

    def painted(self, values: HostArray) -> HostArray:
        """(H, W) numbers of (bin,) bins on their pixels; NaN in no bin."""
        if not len(values):
            return np.full(self.labels.shape, np.nan)
        found: HostArray = np.where(self.labels >= 0, np.asarray(values, float)[self.labels], np.nan)
        return found

    @property
    def wcs(self) -> WCS | None:
        """Of the pixels; None where the observation has none."""
        return self.matched.grid.wcs

    @property
    def outshone(self) -> float:
        """Median log10 of the surviving mass of all bins over that of their integrated light."""
        return float(self.summed["log_surviving_mass"][1] - self.integrated["log_surviving_mass"][1])


def map_properties(
    posterior: AmortizedPosterior,
    observations: Observation | Sequence[Observation],
    redshift: float | None = None,
    *,
    region: Any = None,
    least: float = 5.0,
    detecting: Sequence[str] | None = None,
    binned: bool = True,
    draws: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> ResolvedProperties:
    """Posteriors of stellar mass, age, star-formation rate, dust and metallicity for every pixel of a resolved galaxy.

    All bands are convolved to the widest PSF and read on its pixels first; pixels that do not reach the signal-to-noise
    are taken together. Bands that the observations lack are missing to the network, and bands that the network does not
    know are left out.

    Args:
        posterior: for the observations' bands.
        observations: one, or several of the same sky; neighbours taken off (`isolate` takes them off by a fit).
        redshift: of the galaxy; None to take it from its integrated light, whose doubt then goes into every pixel.
        region: (H, W) True for pixels of the band with the widest PSF that belong to the galaxy; all by default.
        least: mean signal-to-noise of a pixel or bin in the detecting bands.
        detecting: names of bands; by default the three reddest of wide (not medium) filters there are.
        binned: whether to take faint pixels together, or leave them out.
        draws: of each bin.
        seed: of everything random.
        progress: called with the bins done and their number.

    Raises:
        FilterError: if posterior and observations share fewer than three bands, or a detecting band is missing.
        DataError: if no pixel or bin reaches the signal-to-noise; else as `match_psfs`.
        ShapeError, ParameterError, DomainError: for arguments that make no sense.
    """
    every = (observations,) if isinstance(observations, Observation) else tuple(observations)
    columns = _columns(posterior, every)
    matched = match_psfs(every, widest_band(posterior, every))
    names = _detecting(posterior, matched.bands, columns) if detecting is None else tuple(detecting)
    absent = [name for name in names if name not in matched.bands]
    if absent or not names:
        raise FilterError(f"there is no detecting band {absent[:1]}", fix=f"choose among {matched.bands}")
    shape = matched.grid.shape
    inside = np.ones(shape, bool) if region is None else np.asarray(region) != 0
    if inside.shape != shape:
        raise ShapeError(f"a region of {inside.shape} pixels for images of {shape}", fix="give one of their shape")
    if not least > 0 or draws < 2:
        raise ParameterError(f"least={least!r}, draws={draws!r}", fix="give positive numbers, two draws at least")
    seen = np.array([name in names for name in matched.bands])
    labels = bin_pixels(matched, seen, inside, least)
    if not binned:
        labels = _singles(labels)
    if labels.max() < 0:
        raise DataError(f"no pixel or bin reaches a signal-to-noise of {least:g}", fix="lower least=")
    flux, error = summed(matched, labels)
    signal = np.mean(flux[:, seen] / error[:, seen], axis=1)
    *whole, lacking = whole_light(matched, labels >= 0, seen)
    one, one_error = (_for_network(posterior, columns, a[None]) for a in whole)
    all_flux, all_error = (_for_network(posterior, columns, a) for a in (flux, error))
    integrated = posterior.sample(one, one_error, redshift, draws=draws, seed=seed)
    z = np.full(draws, float(redshift)) if redshift is not None else integrated.values["redshift"][0]
    total = derived_of(posterior, integrated, redshift, names=_DERIVED)
    steps = _shared(z, seed)
    pixels = np.bincount(labels[labels >= 0])
    area = _pixel_area(posterior, steps, matched.grid.pixel_scale)
    rows = [
        _of_bins(posterior, all_flux[part], all_error[part], pixels[part], steps, area, draws, seed + 1 + number)
        for number, part in enumerate(_parts(len(flux), progress))
    ]
    sums = {name: np.log10(np.sum([row.sums[name] for row in rows], axis=0)) for name in EXTENSIVE}
    return ResolvedProperties(
        labels,
        pixels,
        signal,
        _joined([row.quantiles for row in rows]),
        _joined([row.surface for row in rows]),
        np.concatenate([row.flags for row in rows]),
        {name: np.quantile(values, LEVELS) for name, values in sums.items()},
        {name: np.quantile(total[name][0], LEVELS) for name in EXTENSIVE},
        lacking,
        np.quantile(z, LEVELS),
        _units(posterior),
        float(_pixel_area(posterior, np.median(z), matched.grid.pixel_scale)),
        matched,
    )


def _units(posterior: AmortizedPosterior) -> dict[str, str]:
    own = {slot.path: slot.unit for slot in slots(posterior.described.model.spectrum)}
    return {**own, **{name: known.unit for name, known in QUANTITIES.items()}, **EXTENSIVE}


def _joined(parts: Sequence[dict[str, HostArray]]) -> dict[str, HostArray]:
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _columns(posterior: AmortizedPosterior, observations: Sequence[Observation]) -> dict[int, int]:
    """Places of the observations' bands by those of the posterior's."""
    found: dict[int, int] = {}
    first = 0
    for observation in observations:
        places = posterior.filters.places_in(observation.filters)
        own = {i: first + place for i, place in enumerate(places) if place >= 0}
        twice = sorted(set(own) & set(found))
        if twice:
            raise DataError(
                f"the band {posterior.filters.names[twice[0]]} comes twice", fix="leave one of the observations out"
            )
        found.update(own)
        first += len(observation.bands)
    posterior.require_bands(len(found), (name for observation in observations for name in observation.bands))
    return found


def widest_band(posterior: AmortizedPosterior, observations: Sequence[Observation]) -> str:
    """The band on whose PSF and pixels a map is made: the widest one that the posterior knows.

    Raises:
        FilterError: if there are fewer than three such bands.
        DataError: if a band comes twice.
    """
    columns = sorted(_columns(posterior, observations).values())
    width = np.concatenate([o.fwhm for o in observations])[columns]
    names = [name for o in observations for name in o.bands]
    return names[columns[int(np.argmax(width))]]


def _for_network(posterior: AmortizedPosterior, columns: dict[int, int], values: HostArray) -> HostArray:
    found: HostArray = np.full((len(values), len(posterior.filters)), np.nan)
    found[:, list(columns)] = values[:, list(columns.values())]
    return found


def _detecting(posterior: AmortizedPosterior, bands: tuple[str, ...], columns: dict[int, int]) -> tuple[str, ...]:
    wide = [i for i in columns if posterior.filters.names[i].lower().endswith("w")] or list(columns)
    order = sorted(wide, key=lambda i: float(posterior.filters.pivot[i]))
    return tuple(bands[columns[i]] for i in order[-3:])


def _singles(labels: np.ndarray) -> np.ndarray:
    """Labels of bins of one pixel only."""
    size = np.bincount(labels[labels >= 0], minlength=1)
    kept = np.where(labels >= 0, size[labels] == 1, False)
    found = np.full(labels.shape, -1)
    found[kept] = np.arange(kept.sum())
    return found


def _shared(redshifts: HostArray, seed: int) -> HostArray:
    """Redshifts that all bins have in common, in order, each for an equal part of their draws."""
    if np.ptp(redshifts) == 0:
        return redshifts[:1]
    count = min(_REDSHIFTS, len(redshifts))
    return np.sort(np.random.default_rng(seed).choice(redshifts, count, replace=False))


def _parts(count: int, progress: Callable[[int, int], None]) -> Any:
    for first in range(0, count, _AT_ONCE):
        progress(first, count)
        yield slice(first, min(first + _AT_ONCE, count))
    progress(count, count)


class _Bins(NamedTuple):
    """Of some bins: (3, bin) quantiles, as they are and a kpc^2, (draw,) sums of masses and rates, (bin,) flags."""

    quantiles: dict[str, HostArray]
    surface: dict[str, HostArray]
    sums: dict[str, HostArray]
    flags: np.ndarray


def _of_bins(
    posterior: AmortizedPosterior,
    flux: HostArray,
    error: HostArray,
    pixels: np.ndarray,
    redshifts: HostArray,
    area: HostArray,
    draws: int,
    seed: int,
) -> _Bins:
    """Draws of bins of so many pixels, which are `area` kpc^2 large at each redshift."""
    parts: list[dict[str, HostArray]] = []
    each = -(-draws // len(redshifts))
    for number, z in enumerate(redshifts):
        found = posterior.sample(flux, error, z, draws=each, seed=seed + _STRIDE * number)
        derived = derived_of(posterior, found, z, names=_DERIVED)
        parts.append({**{p: v for p, v in found.values.items() if v.ndim == 2}, **derived})
    # draw by draw another redshift: all have their part, how many draws there may be
    turn, which = np.divmod(np.arange(draws), len(redshifts))
    values = {name: np.stack([part[name] for part in parts])[which, :, turn].T for name in parts[0]}
    sums = {name: np.sum(10.0 ** np.asarray(values[name], float), axis=0) for name in EXTENSIVE}
    wide = np.log10(pixels[:, None] * area[which])
    middle = redshifts[len(redshifts) // 2]
    judged = posterior.sample(flux, error, middle, draws=_JUDGED, seed=seed + _STRIDE * len(redshifts))
    verdict = trust(posterior, judged, flux, error, middle)
    return _Bins(
        {name: np.quantile(v, LEVELS, axis=1) for name, v in values.items()},
        {name: np.quantile(values[name] - wide, LEVELS, axis=1) for name in EXTENSIVE},
        sums,
        np.asarray(UNUSUAL * verdict.unusual + MISFIT * verdict.misfit + FEW * (verdict.effective < 3)),
    )


def _pixel_area(posterior: AmortizedPosterior, redshift: Any, pixel_scale: float) -> HostArray:
    """kpc^2 of a pixel at each redshift."""
    cosmology = getattr(posterior.described.model.spectrum, "cosmology", None) or Cosmology()
    distance = np.asarray(cosmology.luminosity_distance(redshift), float) / (1 + np.asarray(redshift)) ** 2
    return np.asarray((distance * _KPC_PER_MPC_ARCSEC * pixel_scale) ** 2)
