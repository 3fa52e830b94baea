"""How well a model describes its data, against the noise that was given and the noise that is there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.report.tables import Grid
from scarlet_sed.typing import HostArray

_MAD = 1.4826


class BandGoodness(NamedTuple):
    """One band of one observation.

    Args:
        chi2_given: chi-square per used pixel against the noise that was given.
        chi2_estimated: against the scatter of blank sky plus the light's own noise.
        scatter_sources: robust scatter of the residual over the estimated noise where sources shine; NaN if nowhere.
        scatter_blank: the same elsewhere.
        noise_given, noise_estimated: median noise of a used pixel, nJy, and that of blank sky.
        correlation: of neighbouring blank pixels.
        sky: fitted sky level, nJy per pixel.
        pixels: used.
    """

    chi2_given: float
    chi2_estimated: float
    scatter_sources: float
    scatter_blank: float
    noise_given: float
    noise_estimated: float
    correlation: float
    sky: float
    pixels: int


def goodness(given: Observation, fitted: Observation, model: HostArray) -> dict[str, BandGoodness]:
    """Goodness of fit band by band.

    Args:
        given: the observation as it was read, with the noise that was given.
        fitted: the same after the fit (its sky is used).
        model: (band, H, W) rendered model, sky included.
    """
    data, weights = (np.asarray(each, dtype=float) for each in (given.data, given.weights))
    used = (weights > 0) & (np.asarray(fitted.weights) > 0)
    sky = np.asarray(fitted.values["sky"], dtype=float)
    light = np.asarray(model, dtype=float) - sky[:, None, None]
    variance = np.where(used, 1.0 / np.where(used, weights, 1.0), np.nan)
    estimate = estimate_noise(np.where(used, data, 0.0), ~used, variance=np.where(used, variance, 0.0))
    expected = estimate.variance(light)
    residual = data - model
    found = {}
    for index, band in enumerate(given.filters.names):
        good = used[index]
        ratio = residual[index] / np.sqrt(expected[index])
        shining = good & (light[index] > estimate.sigma[index])
        found[band] = BandGoodness(
            chi2_given=float(np.mean((residual[index] ** 2 * weights[index])[good])),
            chi2_estimated=float(np.mean(ratio[good] ** 2)),
            scatter_sources=_scatter(ratio[shining]),
            scatter_blank=_scatter(ratio[good & ~shining]),
            noise_given=float(np.sqrt(np.median(variance[index][good]))),
            noise_estimated=float(estimate.sigma[index]),
            correlation=float(estimate.lag1[index]),
            sky=float(sky[index]),
            pixels=int(np.sum(good)),
        )
    return found


def goodness_grid(bands: Mapping[str, Mapping[str, BandGoodness]]) -> Grid:
    """A table of it, by observation and band."""
    heads = [
        "observation",
        "band",
        "χ² given",
        "χ² estimated",
        "scatter, sources",
        "scatter, blank",
        "σ given (nJy)",
        "σ estimated (nJy)",
        "lag-1",
        "sky (nJy/px)",
        "pixels",
    ]
    rows = [
        [
            name,
            band,
            f"{g.chi2_given:.3f}",
            f"{g.chi2_estimated:.3f}",
            f"{g.scatter_sources:.3f}",
            f"{g.scatter_blank:.3f}",
            f"{g.noise_given:.4g}",
            f"{g.noise_estimated:.4g}",
            f"{g.correlation:.2f}",
            f"{g.sky:+.4g}",
            f"{g.pixels:,}",
        ]
        for name, each in bands.items()
        for band, g in each.items()
    ]
    return Grid(heads, rows, text_columns=2)


def as_metrics(bands: Mapping[str, Mapping[str, BandGoodness]]) -> dict[str, Any]:
    """Plain numbers for metrics.json."""
    return {name: {band: g._asdict() for band, g in each.items()} for name, each in bands.items()}


def _scatter(values: HostArray) -> float:
    if values.size < 10:
        return float("nan")
    return _MAD * float(np.median(np.abs(values - np.median(values))))
