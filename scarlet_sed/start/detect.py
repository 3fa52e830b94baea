"""Detection of sources, blended ones too, on one image made of all bands."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scarlet_sed.instrument.frame import Frame
from scarlet_sed.start.combine import Combined, combine
from scarlet_sed.start.detections import Detections
from scarlet_sed.start.measure import (
    adaptive_covariance,
    elliptical_radius,
    intrinsic,
    radial_profile,
    refine_peak,
    sky_ellipticity,
)
from scarlet_sed.start.observations import Observations, as_list
from scarlet_sed.start.peaks import Peaks, find_peaks
from scarlet_sed.typing import HostArray

_FWHM = 2.354820045

_FLOOR = 2.0
"""Sigma of the filtered image down to which pixels belong to a source."""

_SADDLE = 4.0
"""Sigma by which a peak must rise above the saddle to its neighbour."""

_BRIGHT = 40.0
"""Signal-to-noise above which a source's smooth light is taken off to look for neighbours under it."""

_MINOR = 0.3
"""Peaks below this share of a source's own are no obstacle to its radial profile."""

_CLUMP = 0.75
"""A neighbour under a galaxy's smooth light must outshine this share of it, or it is taken for a part of the galaxy."""

_NARROW = 2
"""Pixels: a profile that ends there was measured on next to nothing."""

_LOST = 0.5
"""A flux below this share of what the peak says of a point is not believed: the peak's is."""


def detect(
    observations: Observations,
    frame: Frame | None = None,
    *,
    threshold: float = 5.0,
    contrast: float = 0.25,
) -> Detections:
    """Find sources on the inverse-variance mean of all bands and observations.

    The noise is measured on blank sky, not taken from the weights. Peaks are found on the image filtered with the
    PSF (and with three times its width, for faint extended sources); close ones are told apart on a sharper image; at
    last the smooth light of bright sources is taken off and what stands out of it is added.

    Args:
        observations: one or several.
        frame: the model grid; `Frame.covering(observations)` by default.
        threshold: smallest signal-to-noise of a source.
        contrast: smallest height of a peak above the saddle that joins it to an equally bright neighbour, as a
            fraction of the saddle; three times as much is asked where the neighbour is far brighter. Higher keeps
            clumpy galaxies whole, lower separates closer pairs.

    Returns:
        Detections, the most significant first; possibly none.
    """
    several = as_list(observations)
    frame = Frame.covering(several) if frame is None else frame
    combined = combine(several, frame)
    peaks = _all_peaks(combined, threshold, contrast)
    peaks = _with_neighbours(combined, peaks, threshold, contrast)
    return _measured(combined, peaks)


def measure(
    observations: Observations,
    frame: Frame,
    position: HostArray,
    *,
    radius: HostArray | None = None,
    position_error: float | None = None,
) -> Detections:
    """Measure sources whose positions are known, as `detect` measures those that it finds.

    Args:
        observations: one or several.
        frame: the model grid.
        position: (n, 2) offsets (east, north) in arcsec, inside the frame; `frame.from_sky` makes them of sky
            coordinates.
        radius: (n,) half-light radii in arcsec where they are known too; NaN where not.
        position_error: standard deviation of each coordinate in arcsec, for the prior of positions.

    Returns:
        Detections in the order given, at the positions given.

    Raises:
        ShapeError: if positions are not pairs.
    """
    known = Detections.from_catalog(frame, position)
    combined = combine(as_list(observations), frame)
    x, y = np.moveaxis(combined.grid.pixels(known.position, frame.tangent_point), -1, 0)
    height, width = combined.snr.shape
    columns = np.clip(np.round(x - combined.corner[0]), 0, width - 1).astype(int)
    rows = np.clip(np.round(y - combined.corner[1]), 0, height - 1).astype(int)
    snr = np.maximum(combined.snr[rows, columns], 0.1)
    order = np.argsort(-snr, kind="stable")
    found = _measured(combined, [(int(columns[i]), int(rows[i]), float(snr[i])) for i in order])
    found = found.select(np.argsort(order).tolist())
    sizes = found.radius if radius is None else np.where(np.isfinite(radius), radius, found.radius)
    return replace(found, position=known.position, x=x, y=y, radius=sizes, position_error=position_error)


def _all_peaks(combined: Combined, threshold: float, contrast: float) -> list[tuple[int, int, float]]:
    """(x, y, signal-to-noise) of peaks that stand out by themselves."""
    snr, broad = combined.snr, combined.broad_snr
    found = _listed(find_peaks(snr, _FLOOR, 1.0, _SADDLE, contrast), threshold)
    sharp = find_peaks(combined.sharp_snr, _FLOOR, 1.0, _SADDLE, contrast)
    near = max(1.5, 0.7 * combined.fwhm)
    found += [p for p in _listed(sharp, 1.5 * threshold) if _apart(p, found, near) and snr[p[1], p[0]] >= threshold]
    # extended and faint: only where no territory of a source found above reaches
    wide = find_peaks(broad, _FLOOR, 1.0, _SADDLE, contrast)
    found += [p for p in _listed(wide, threshold) if _apart(p, found, 3 * near) and snr[p[1], p[0]] < threshold]
    return found


def _with_neighbours(
    combined: Combined, peaks: list[tuple[int, int, float]], threshold: float, contrast: float
) -> list[tuple[int, int, float]]:
    """Add what stands out of the smooth light of bright sources."""
    if not any(height > _BRIGHT for _, _, height in peaks):
        return peaks
    labels = territories(combined.snr, peaks)
    smooth = np.zeros_like(combined.snr)
    noise = np.where(np.isfinite(combined.noise), 1.0, np.inf)
    for index, (x, y, height) in enumerate(peaks):
        if height < _BRIGHT:
            continue
        mine = (labels == index + 1) | (labels == 0)
        covariance = adaptive_covariance(combined.image, labels == index + 1, labels == 0, x, y, combined.fwhm)
        radius = elliptical_radius(labels.shape, x, y, covariance)
        outer = int(radius[labels == index + 1].max()) + 2
        profile = radial_profile(combined.snr, noise, radius, mine, outer)
        model = np.interp(radius, profile.radius, np.maximum(profile.level, 0.0), right=0.0)
        smooth += np.where(labels == index + 1, model, 0.0)
    rest = np.where(smooth > 0, combined.snr - smooth, 0.0)
    sigma = np.sqrt(1.0 + (0.1 * smooth) ** 2)
    extra = find_peaks(rest, _FLOOR, sigma, _SADDLE, contrast)
    # a true neighbour also makes a top of its own in the sharp image
    tops = _listed(find_peaks(combined.sharp_snr, _FLOOR, 1.0, _SADDLE, 0.0), threshold)
    near = 1.5 * combined.fwhm
    for peak in _listed(extra, threshold):
        x, y, height = peak
        stands_out = height > threshold * sigma[y, x] and height > _CLUMP * smooth[y, x]
        if stands_out and _apart(peak, peaks, near) and not _apart(peak, tops, 0.5 * combined.fwhm):
            peaks = [*peaks, peak]
    return peaks


def territories(image: HostArray, peaks: Sequence[tuple[int, int, float]]) -> NDArray[np.int32]:
    """(h, w) 1 + index of the peak that each pixel above the floor drains to, 0 elsewhere."""
    return find_peaks(image, _FLOOR, 1.0, np.inf, np.inf, seeds=[(x, y) for x, y, _ in peaks]).labels


def _listed(peaks: Peaks, threshold: float) -> list[tuple[int, int, float]]:
    listed = zip(peaks.x.tolist(), peaks.y.tolist(), peaks.height.tolist(), strict=True)
    return [(x, y, height) for x, y, height in listed if height >= threshold]


def _apart(peak: tuple[int, int, float], others: Sequence[tuple[int, int, float]], distance: float) -> bool:
    return all(np.hypot(peak[0] - x, peak[1] - y) > distance for x, y, _ in others)


def _measured(combined: Combined, peaks: list[tuple[int, int, float]]) -> Detections:
    """Measure the sources from the brightest down, each on what the smooth light of brighter ones leaves."""
    peaks = sorted(peaks, key=lambda peak: -peak[2])
    labels = territories(combined.snr, peaks)
    heights = np.array([0.0] + [height for _, _, height in peaks])
    core = 0.6 * combined.fwhm  # half-light radius of the PSF: 0.5 FWHM for a Gaussian, more with wings
    area = 4 * np.pi * (combined.fwhm / _FWHM) ** 2  # pixels over which the noise of a PSF's flux adds up
    scale, rest, owner, rows = combined.grid.pixel_scale, combined.image.copy(), labels.copy(), []
    strongest = np.zeros_like(rest)
    for index, (column, row, height) in enumerate(peaks):
        x, y = refine_peak(combined.sharp_snr, column, row)
        own = labels == index + 1
        covariance = adaptive_covariance(rest, own, labels == 0, x, y, combined.fwhm)
        radius = elliptical_radius(labels.shape, x, y, covariance)
        edge = float(np.percentile(radius[own], 98)) if own.any() else 0.0
        outer = int(np.clip(3 * edge, 4 * combined.fwhm, min(labels.shape) / 2))
        # a median does not mind far fainter sources, and a galaxy's own clumps belong to its smooth light
        mine = own | (heights[labels] < _MINOR * height)
        profile = radial_profile(rest, combined.noise, radius, mine, outer)
        if profile.reach <= _NARROW and height < heights[1]:
            # no top of its own in a brighter source's light: that light is taken off, so its pixels tell as well
            covariance = np.eye(2) * (combined.fwhm / _FWHM) ** 2
            radius = elliptical_radius(labels.shape, x, y, covariance)
            mine |= (labels <= index) & (heights[labels] > _BRIGHT)
            profile = radial_profile(rest, combined.noise, radius, mine, outer)
        size = np.sqrt(max(profile.half_light_radius() ** 2 - core**2, (0.25 * core) ** 2))
        # shapes of faint sources are mostly noise: shrink them towards round
        shape = sky_ellipticity(intrinsic(covariance, combined.fwhm), combined.grid.matrix)
        shape = np.clip(shape * height**2 / (height**2 + 10.0**2), -0.7, 0.7)
        flux, of_point = float(profile.curve_of_growth()[-1]), height * combined.noise[row, column] * np.sqrt(area)
        if np.isfinite(of_point) and flux < _LOST * of_point:
            flux, size = of_point, max(size, core)
        rows.append((x, y, height, flux, size * scale, *shape, profile.reach * scale))
        smooth = np.interp(radius, profile.radius[: profile.reach], profile.level[: profile.reach], right=0.0)
        # a fainter source keeps the pixels in which it outshines the light it sits on
        faint = (labels > index + 1) & (smooth > np.maximum(0.5 * rest, strongest)) & (smooth > combined.noise)
        owner[faint] = index + 1
        strongest = np.maximum(strongest, smooth)
        if height > _BRIGHT:
            rest = rest - smooth
    table = np.array(rows, dtype=float).reshape(-1, 8)
    return Detections(
        position=combined.positions(table[:, 0], table[:, 1]).reshape(-1, 2),
        x=table[:, 0] + combined.corner[0],
        y=table[:, 1] + combined.corner[1],
        snr=table[:, 2],
        flux=table[:, 3],
        radius=table[:, 4],
        ellipticity=table[:, 5:7],
        extent=table[:, 7],
        labels=owner,
        combined=combined,
        frame=combined.frame,
    )
