"""Data against what a posterior predicts: residuals band by band, and where they are more than noise."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from scarlet_sed.infer.sampling.draws import Posterior
from scarlet_sed.infer.sampling.residuals import Block, ObservedResiduals, Residuals, residuals
from scarlet_sed.plot.style import INK, image_axes, new_figure, panel_columns

_LIMIT = 5.0


class _Band(NamedTuple):
    """A band of an observation."""

    title: str
    name: str
    band: str
    own: ObservedResiduals
    number: int


def predictive(posterior: Posterior | Residuals, *, count: int = 100, seed: int = 0, limit: float = _LIMIT) -> Figure:
    """Two panels a band: data minus the mean prediction, and by how much blocks' chi-squares are off.

    Above, in standard deviations of the prediction, and in the title the posterior predictive p-value of the band's
    chi-square. Below, for blocks as wide as the PSF, sigma by which the chi-square is larger (red) or smaller (blue)
    than the noise explains; blocks that chance does not explain in the whole field have frames.

    Args:
        posterior: draws, or what `residuals` made of them.
        count: how many draws are compared.
        seed: of which ones.
        limit: the ends of the colour scale, in sigma.

    Raises:
        ParameterError: if there are no draws.
    """
    found = posterior if isinstance(posterior, Residuals) else residuals(posterior, count, seed)
    every = [band for own in found.observed.values() for band in own.bands]
    bands = [
        _Band(band if every.count(band) == 1 else f"{name} {band}", name, band, own, number)
        for name, own in found.observed.items()
        for number, band in enumerate(own.bands)
    ]
    columns = panel_columns(len(bands))
    groups = -(-len(bands) // columns)
    tall = max(own.residual.shape[1] / own.residual.shape[2] for own in found.observed.values())
    width = min(12.4, 3.8 * columns)
    figure = new_figure(width + 0.6, (width / columns * tall + 0.3) * 2 * groups)
    panels = figure.subplots(2 * groups, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    blocks = found.outstanding()
    for index, each in enumerate(bands):
        upper, lower = (panels[2 * (index // columns) + row, index % columns] for row in (0, 1))
        shown = _residual(upper, each, found.size, limit)
        _local(lower, each, [b for b in blocks if (b.observation, b.band) == (each.name, each.band)], limit)
    bar = figure.colorbar(shown, ax=panels, shrink=min(0.8, 4.0 / figure.get_figheight() + 0.2), pad=0.01, aspect=30)
    bar.set_label("σ", fontsize=9, color=INK)
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def p_text(p: float, count: int) -> str:
    """What a p-value from so many draws is, such as "= 0.42" or "< 0.01"."""
    return f"< {1 / count:.2g}" if p == 0 else f"> {1 - 1 / count:.2g}" if p == 1 else f"= {p:.2f}"


def _residual(axes: Axes, each: _Band, count: int, limit: float) -> AxesImage:
    axes.set_visible(True)
    title = f"{each.title}   p {p_text(float(each.own.p_values[each.number]), count)}"
    image_axes(axes, title).set_facecolor("#9a9a9a")
    values = each.own.residual[each.number]
    return axes.imshow(values, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")


def _local(axes: Axes, each: _Band, outstanding: list[Block], limit: float) -> None:
    axes.set_visible(True)
    side, values = each.own.side, each.own.excess[each.number]
    height, width = each.own.residual.shape[1:]
    image_axes(axes, f"χ² of {side} by {side} pixels").set_facecolor("#9a9a9a")
    axes.title.set_fontsize(7.5)
    extent = (-0.5, side * values.shape[1] - 0.5, -0.5, side * values.shape[0] - 0.5)
    axes.imshow(values, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", extent=extent)
    for block in outstanding:
        # a little outside, where the colour of the block does not hide it
        corner = (block.x - side / 2 - 0.5, block.y - side / 2 - 0.5)
        axes.add_patch(Rectangle(corner, side + 1, side + 1, fill=False, edgecolor="black", linewidth=1.3))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
