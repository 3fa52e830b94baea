"""A look at the inputs before anything is fitted."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import scarlet_sed.plot as plot
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.instrument.noise_estimate import estimate_noise
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.plot.observed import layers_of
from scarlet_sed.plot.style import image_axes, new_figure
from scarlet_sed.report.page import environment, style
from scarlet_sed.report.pictures import embed
from scarlet_sed.report.tables import Grid


class BandInput(NamedTuple):
    """One band as it was read; fluxes in nJy per pixel, the FWHM in arcsec."""

    observation: str
    band: str
    shape: tuple[int, int]
    pixel_scale: float
    wcs: bool
    masked: float
    noise_given: float
    noise_estimated: float
    correlation: float
    sky: float
    fwhm: float
    psf_sum: float
    psf_shift: float

    @staticmethod
    def heads() -> list[str]:
        """Titles of `cells`."""
        return [
            "observation",
            "band",
            "pixels",
            "scale",
            "WCS",
            "masked",
            "sky (nJy)",
            "noise given (nJy)",
            "noise estimated (nJy)",
            "lag-1",
            "PSF FWHM",
            "PSF sum",
            "PSF moved (px)",
        ]

    def cells(self) -> list[str]:
        """The band as text."""
        return [
            self.observation,
            self.band,
            f"{self.shape[0]} x {self.shape[1]}",
            f'{self.pixel_scale:.4g}"',
            "yes" if self.wcs else "no",
            f"{100 * self.masked:.1f} %",
            f"{self.sky:+.3g}",
            f"{self.noise_given:.3g}",
            f"{self.noise_estimated:.3g}",
            f"{self.correlation:.2f}",
            f'{self.fwhm:.3f}"',
            f"{self.psf_sum:.4f}",
            f"{self.psf_shift:.2f}",
        ]

    def warnings(self) -> list[str]:
        """What looks odd."""
        found = []
        ratio = self.noise_given / self.noise_estimated
        if not 0.77 < ratio < 1.3:
            found.append(f"{self.band}: the noise given is {ratio:.2f} times the scatter of blank sky")
        if abs(self.psf_sum - 1) > 0.01:
            found.append(f"{self.band}: the PSF summed to {self.psf_sum:.3f} and was normalised")
        if self.psf_shift > 0.1:
            found.append(f"{self.band}: the PSF was off centre by {self.psf_shift:.2f} of its pixels and was moved")
        if self.masked > 0.5:
            found.append(f"{self.band}: {self.masked:.0%} of the pixels are masked")
        return found


def band_inputs(observation: Observation) -> list[BandInput]:
    """The bands of an observation as they were read."""
    weights = np.asarray(observation.weights, dtype=float)
    used = weights > 0
    estimate = estimate_noise(np.where(used, np.asarray(observation.data, dtype=float), 0.0), ~used)
    scale = observation.grid.pixel_scale
    return [
        BandInput(
            observation=observation.name,
            band=band,
            shape=observation.grid.shape,
            pixel_scale=scale,
            wcs=observation.grid.wcs is not None,
            masked=1.0 - float(np.mean(used[i])),
            noise_given=float(1 / np.sqrt(np.median(weights[i][used[i]]))),
            noise_estimated=float(estimate.sigma[i]),
            correlation=float(estimate.lag1[i]),
            sky=float(estimate.sky[i]),
            fwhm=float(psf.fwhm) * scale,
            psf_sum=float(psf.record.original_sum),
            psf_shift=float(np.hypot(*psf.record.shift)),
        )
        for i, (band, psf) in enumerate(zip(observation.filters.names, observation.psfs, strict=True))
    ]


def render_check(title: str, observations: Sequence[Observation], bands: Sequence[BandInput]) -> str:
    """The inputs as one HTML page."""
    layers = layers_of(Frame.covering(observations), observations)
    view = plot.make_view(layers, {name: np.zeros_like(layer.data) for name, layer in layers.items()})
    height, width = view.shape
    figure = new_figure(6.5, 6.5 * height / width)
    image_axes(figure.add_subplot()).imshow(
        plot.rgb(view.data, view.wavelengths), origin="lower", interpolation="nearest"
    )
    images = {band: layer.data[i] for layer in layers.values() for i, band in enumerate(layer.bands)}
    sigma = {band: np.asarray(o.sigma[i], dtype=float) for o in observations for i, band in enumerate(o.filters.names)}
    return (
        environment()
        .get_template("check.html")
        .render(
            css=style(),
            title=title,
            warnings=[warning for band in bands for warning in band.warnings()],
            bands=Grid(BandInput.heads(), [band.cells() for band in bands], text_columns=2),
            pictures={"rgb": embed(figure, 110), "inputs": embed(plot.inputs(images, sigma), 90)},
        )
    )
