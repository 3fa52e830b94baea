"""Data and models of all bands brought onto one pixel grid, for the eye only (no fit uses this)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from scarlet_sed.errors import ShapeError
from scarlet_sed.typing import HostArray


@dataclass(frozen=True)
class View:
    """All bands on the finest grid, as surface brightness.

    Args:
        bands: names, in order of wavelength.
        wavelengths: (band,) pivot wavelength in Angstrom.
        data: (band, H, W) nJy per pixel of this grid.
        model: (band, H, W) the whole model, sky included.
        sigma: (band, H, W) noise per pixel, infinite where masked.
        pixel_scale: arcsec per pixel.
        to_frame: (2, 3) affine map from pixel (x, y, 1) of this grid to model pixel (x, y).
    """

    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    data: HostArray
    model: HostArray
    sigma: HostArray
    pixel_scale: float
    to_frame: HostArray

    @property
    def residual(self) -> HostArray:
        """(band, H, W) data minus model, zero where masked."""
        return np.where(np.isfinite(self.sigma), self.data - self.model, 0.0)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the grid."""
        return self.data.shape[-2], self.data.shape[-1]

    def pixel(self, frame_pixel: HostArray) -> HostArray:
        """(x, y) on this grid of a model pixel (x, y)."""
        return np.linalg.solve(self.to_frame[:, :2], np.asarray(frame_pixel) - self.to_frame[:, 2])

    def cutout(self, center: HostArray, half_width: float) -> tuple[slice, slice]:
        """Slices of a square about a pixel (x, y), kept inside the grid."""
        (height, width), half = self.shape, max(int(np.ceil(half_width)), 4)
        x, y = (round(float(c)) for c in center)
        rows = slice(min(max(y - half, 0), height - 1), max(min(y + half + 1, height), 1))
        columns = slice(min(max(x - half, 0), width - 1), max(min(x + half + 1, width), 1))
        return rows, columns

    def with_model(self, model: HostArray) -> "View":
        """The same view with another model."""
        return replace(self, model=model)


@dataclass(frozen=True)
class Layer:
    """One observation as a view needs it.

    Args:
        bands: names.
        wavelengths: (band,) pivot wavelength in Angstrom.
        data, weights: (band, H, W) nJy per pixel and 1/nJy^2.
        pixel_scale: arcsec.
        pixel_map: (H, W, 2) model pixel (x, y) of each pixel centre.
    """

    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    data: HostArray
    weights: HostArray
    pixel_scale: float
    pixel_map: HostArray

    def to_frame(self) -> HostArray:
        """(2, 3) the affine map from this grid's pixels to model pixels that fits best."""
        height, width = self.pixel_map.shape[:2]
        y, x = np.mgrid[:height, :width]
        design = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
        solution, *_ = np.linalg.lstsq(design, np.asarray(self.pixel_map, dtype=float).reshape(-1, 2), rcond=None)
        return solution.T


def finest(layers: Mapping[str, Layer]) -> str:
    """The name of the layer with the smallest pixels."""
    return min(layers, key=lambda name: layers[name].pixel_scale)


def make_view(layers: Mapping[str, Layer], models: Mapping[str, HostArray]) -> View:
    """Bring observations and their models onto the grid of the finest.

    Args:
        layers: observations by name.
        models: (band, H, W) rendered model of each observation, by the same names.

    Raises:
        ShapeError: if a model's shape is not that of its data.
    """
    for name, layer in layers.items():
        if np.shape(models[name]) != layer.data.shape:
            raise ShapeError(
                f"the model of {name!r} has shape {np.shape(models[name])}, its data {layer.data.shape}",
                fix="render the model for that observation",
            )
    target = layers[finest(layers)]
    parts = [(layer, regrid(layer, target, np.asarray(models[name]))) for name, layer in layers.items()]
    names = [band for layer, _ in parts for band in layer.bands]
    waves = [float(wave) for layer, _ in parts for wave in layer.wavelengths]
    order = np.argsort(waves, kind="stable")
    data = np.concatenate([regrid(layer, target, layer.data) for layer, _ in parts])
    model = np.concatenate([model for _, model in parts])
    sigma = np.concatenate([_sigma_on(layer, target) for layer, _ in parts])
    return View(
        bands=tuple(names[i] for i in order),
        wavelengths=tuple(waves[i] for i in order),
        data=data[order],
        model=model[order],
        sigma=sigma[order],
        pixel_scale=target.pixel_scale,
        to_frame=target.to_frame(),
    )


def regrid(layer: Layer, target: Layer, images: HostArray, *, order: int = 1, density: bool = True) -> HostArray:
    """(band, H, W) images of one layer on the grid of another, by interpolation.

    Args:
        images: (band, H, W) on the grid of `layer`.
        order: of the spline; 0 takes the nearest pixel.
        density: whether values are per pixel, and so shrink with the pixel's area.
    """
    if layer is target:
        return np.asarray(images, dtype=float)
    own, other = layer.to_frame(), target.to_frame()
    height, width = target.data.shape[-2:]
    y, x = np.mgrid[:height, :width]
    frame = np.tensordot(other, np.stack([x, y, np.ones_like(x)]), axes=1)
    pixels = np.tensordot(np.linalg.inv(own[:, :2]), frame - own[:, 2][:, None, None], axes=1)
    area = (target.pixel_scale / layer.pixel_scale) ** 2 if density else 1.0
    where = np.stack([pixels[1], pixels[0]])
    return np.stack(
        [area * map_coordinates(np.asarray(i, dtype=float), where, order=order, mode="nearest") for i in images]
    )


def _sigma_on(layer: Layer, target: Layer) -> HostArray:
    good = layer.weights > 0
    sigma = np.where(good, 1.0 / np.sqrt(np.where(good, layer.weights, 1.0)), np.inf)
    if layer is target:
        return sigma
    # noise of the band's own pixels, in the units of this grid: a residual in sigma looks the same on either
    nearest = regrid(layer, target, np.where(good, sigma, -1.0), order=0)
    return np.where(nearest > 0, nearest, np.inf)
