"""Pictures of a scene: data, model and residual; one source; residuals band by band."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scarlet_sed.plot.rgb import Stretch, residual_rgb, rgb
from scarlet_sed.plot.style import INK, image_axes, new_figure, panel_columns
from scarlet_sed.plot.view import View
from scarlet_sed.typing import HostArray


def scene(view: View, labels: Mapping[str, HostArray] | None = None, *, stretch: Stretch | None = None) -> Figure:
    """Three colour pictures with one stretch: data, model, residual (grey is none).

    Args:
        view: data and model on one grid.
        labels: pixel (x, y) on the view's grid of each source, to mark on the data.
        stretch: shared by data and model; chosen from the data by default.
    """
    height, width = view.shape
    figure = new_figure(12.6, 4.2 * height / width + 0.35)
    panels = figure.subplots(1, 3)
    stretch = stretch or Stretch.of(view.data, view.wavelengths)
    pictures = {
        "data": rgb(view.data, view.wavelengths, stretch),
        "model": rgb(view.model, view.wavelengths, stretch),
        "residual (±5σ)": residual_rgb(view.residual, view.wavelengths, view.sigma),
    }
    for axes, (title, picture) in zip(panels, pictures.items(), strict=True):
        image_axes(axes, title).imshow(picture, origin="lower", interpolation="nearest")
    for name, (x, y) in (labels or {}).items():
        _mark(panels[0], name, x, y, view.shape)
    panels[0].set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    _scale_bar(panels[1], view)
    return figure


def source(
    view: View,
    image: HostArray,
    where: tuple[slice, slice],
    *,
    name: str = "",
    stretch: Stretch | None = None,
) -> Figure:
    """One source: the data about it, its own model, the data without its neighbours, and the residual.

    Args:
        view: data and the model of all sources.
        image: (band, H, W) the model of this source alone (without sky) on the view's grid.
        where: rows and columns to show.
        name: put above the first panel.
        stretch: shared by the first three; chosen from the whole data by default.
    """
    stretch = stretch or Stretch.of(view.data, view.wavelengths)
    own = np.asarray(image)[:, *where]
    data, residual, sigma = view.data[:, *where], view.residual[:, *where], view.sigma[:, *where]
    sky = np.median((view.model - image).reshape(len(image), -1), axis=1)[:, None, None]
    pictures = {
        f"{name} data".strip(): rgb(data, view.wavelengths, stretch),
        "its model": rgb(own + sky, view.wavelengths, stretch),
        "data − neighbours": rgb(own + residual + sky, view.wavelengths, stretch),
        "residual (±5σ)": residual_rgb(residual, view.wavelengths, sigma),
    }
    height, width = own.shape[-2:]
    figure = new_figure(6.4, 1.6 * height / width + 0.25)
    for axes, (title, picture) in zip(figure.subplots(1, 4), pictures.items(), strict=True):
        image_axes(axes, title).imshow(picture, origin="lower", interpolation="nearest")
        axes.title.set_fontsize(7.5)
    return figure


def residual(residuals: Mapping[str, HostArray], *, limit: float = 5.0) -> Figure:
    """Residuals in sigma, one panel per band, on each band's own pixels.

    Args:
        residuals: per band (H, W), (data - model) / sigma, NaN where masked.
        limit: the ends of the colour scale.
    """
    columns = panel_columns(len(residuals))
    rows = -(-len(residuals) // columns)
    shapes = [np.shape(each) for each in residuals.values()]
    tall = max((h / w for h, w in shapes), default=1.0)
    figure = new_figure(12.4 + 0.5, (12.4 / columns * tall + 0.3) * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    mappable = None
    for axes in panels.flat[len(residuals) :]:
        axes.set_visible(False)
    for axes, (band, values) in zip(panels.flat, residuals.items(), strict=False):
        image_axes(axes, band).set_facecolor("#9a9a9a")
        mappable = axes.imshow(values, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    if mappable is not None:
        bar = figure.colorbar(mappable, ax=panels, shrink=0.8, pad=0.01, aspect=30)
        bar.set_label("(data − model) / σ", fontsize=9, color=INK)
        bar.ax.tick_params(colors=INK, labelsize=8)
        bar.outline.set_visible(False)
    return figure


def inputs(images: Mapping[str, HostArray], sigma: Mapping[str, HostArray]) -> Figure:
    """The images of an observation band by band, asinh-stretched by their noise, masked pixels red.

    Args:
        images: per band (H, W).
        sigma: per band (H, W) noise, infinite where masked.
    """
    columns = panel_columns(len(images))
    rows = -(-len(images) // columns)
    tall = max((np.shape(each)[0] / np.shape(each)[1] for each in images.values()), default=1.0)
    figure = new_figure(12.4, (12.4 / columns * tall + 0.3) * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(images) :]:
        axes.set_visible(False)
    for axes, (band, image) in zip(panels.flat, images.items(), strict=False):
        good = np.isfinite(sigma[band])
        ratio = np.where(good, image / np.where(good, sigma[band], 1.0), 0.0)
        top = max(float(np.percentile(ratio, 99.9)), 10.0)
        grey = np.clip((np.arcsinh(ratio) + 1.0) / (np.arcsinh(top) + 1.0), 0.0, 1.0)
        picture = np.repeat(grey[..., None], 3, axis=-1)
        picture[~good] = (0.55, 0.2, 0.2)
        image_axes(axes, band).imshow(picture, origin="lower", interpolation="nearest")
    return figure


def _mark(axes: Axes, name: str, x: float, y: float, shape: tuple[int, int]) -> None:
    size = 0.014 * max(shape)
    axes.plot([x - 2 * size, x - size], [y, y], color="white", linewidth=0.8)
    axes.plot([x, x], [y - 2 * size, y - size], color="white", linewidth=0.8)
    label = axes.annotate(
        name, (x, y), xytext=(3, 4), textcoords="offset points", color="white", fontsize=7, clip_on=True
    )
    label.set_in_layout(False)


def _scale_bar(axes: Axes, view: View) -> None:
    height, width = view.shape
    arcsec = max((b for b in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60) if b / view.pixel_scale < 0.35 * width), default=0.1)
    start, row = 0.05 * width, 0.05 * height
    axes.plot([start, start + arcsec / view.pixel_scale], [row, row], color="white", linewidth=1.6)
    axes.text(start, row + 0.02 * height, f"{arcsec:g}″", color="white", fontsize=8)
