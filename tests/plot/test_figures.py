"""Figures: they draw, hold what they should, and leave matplotlib's global state alone."""

import io
import sys

import numpy as np
import pytest

import scarlet_sed.plot as plot
from scarlet_sed.errors import DataError, ShapeError
from scarlet_sed.plot.view import regrid


def layer(bands, waves, shape, scale, seed=0):
    """A grid centred on model pixel (60, 50) of a frame of 0.015 arcsec."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    step = scale / 0.015
    pixel_map = np.stack([(x - (width - 1) / 2) * step + 60, (y - (height - 1) / 2) * step + 50], axis=-1)
    noise = np.random.default_rng(seed).normal(size=(len(bands), *shape))
    away = np.hypot(*(pixel_map - (66, 46)).transpose(2, 0, 1)) * 0.015
    light = 40 * (scale / 0.03) ** 2 * np.exp(-0.5 * (away / 0.12) ** 2)
    return plot.Layer(tuple(bands), tuple(waves), light + noise, np.ones((len(bands), *shape)), scale, pixel_map)


@pytest.fixture
def layers():
    short = layer(["F150W", "F115W"], [15000.0, 11500.0], (50, 60), 0.03)
    return {"short": short, "long": layer(["F277W"], [27700.0], (25, 30), 0.06, 1)}


@pytest.fixture
def view(layers):
    return plot.make_view(layers, {name: 0.9 * each.data for name, each in layers.items()})


def rendered(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    assert buffer.getvalue().startswith(b"\x89PNG") and len(buffer.getvalue()) > 2000


def test_a_view_orders_bands_and_brings_light_to_the_same_place(view):
    assert view.bands == ("F115W", "F150W", "F277W")
    assert view.shape == (50, 60) and view.pixel_scale == 0.03
    for image in view.data:
        smooth = np.where(image > 15, image, 0)
        y, x = np.mgrid[:50, :60]
        center = np.array([(smooth * x).sum(), (smooth * y).sum()]) / smooth.sum()
        np.testing.assert_allclose(center, view.pixel(np.array([66.0, 46.0])), atol=0.3)
    # surface brightness is kept: a pixel of a quarter of the area holds a quarter of the flux
    np.testing.assert_allclose(view.data[2].max(), view.data[0].max(), rtol=0.15)


def test_masked_pixels_have_infinite_sigma_and_no_residual(layers):
    weights = layers["long"].weights.copy()
    weights[0, :5] = 0
    layers["long"] = plot.Layer(
        *(weights if name == "weights" else getattr(layers["long"], name) for name in plot.Layer.__dataclass_fields__)
    )
    view = plot.make_view(layers, {name: 0 * each.data for name, each in layers.items()})
    assert np.isinf(view.sigma[2, :8]).all() and (view.residual[2, :8] == 0).all()
    assert np.isfinite(view.sigma[:2]).all()


def test_regrid_conserves_flux(layers):
    light = layers["long"].data * 0 + np.hypot(*np.mgrid[:25, :30]) / 50
    fine = regrid(layers["long"], layers["short"], light)
    assert fine.sum() == pytest.approx(light.sum(), rel=0.02)


def test_a_model_of_another_shape_is_an_error(layers):
    with pytest.raises(ShapeError, match="'long'"):
        plot.make_view(layers, {"short": layers["short"].data, "long": np.zeros((1, 3, 3))})


def test_cutouts_stay_inside(view):
    for center in ((-5.0, 3.0), (59.0, 49.0), (30.0, 20.0), (80.0, 80.0)):
        rows, columns = view.cutout(np.array(center), 10)
        assert 0 <= rows.start < rows.stop <= 50 and 0 <= columns.start < columns.stop <= 60


def test_every_figure_renders(view):
    where = view.cutout(np.array([33.0, 23.0]), 12)
    sigma = {"a": np.where(np.eye(12) > 0, np.inf, 1.0), "b": np.ones((9, 14))}
    images = {"a": np.random.default_rng(0).normal(size=(12, 12)), "b": np.ones((9, 14))}
    rendered(plot.scene(view, {"s1": np.array([33.0, 23.0])}))
    rendered(plot.source(view, 0.5 * view.model, where, name="s1"))
    rendered(plot.residual(images))
    rendered(plot.residual({str(i): images["a"] for i in range(5)}))
    rendered(plot.residual_histograms(images | {"empty": np.full(3, np.nan)}))
    rendered(plot.inputs(images, sigma))
    rendered(plot.loss(np.array([5.0, 3.0, np.inf, 1.0])))
    rendered(plot.loss(np.ones(4)))


def test_no_finite_loss_is_an_error():
    with pytest.raises(DataError, match="no finite value"):
        plot.loss(np.full(3, np.nan))


def test_pyplot_is_not_needed():
    import subprocess

    code = "import scarlet_sed.plot, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_marks_at_the_edge_leave_the_panels_alike(view):
    height, width = view.shape
    figure = plot.scene(view, {"edge": np.array([0.0, 0.0]), "corner": np.array([width - 1.0, height - 1.0])})
    figure.canvas.draw()
    panels = figure.axes[:3]
    assert panels[0].get_xlim() == panels[1].get_xlim() and panels[0].get_ylim() == panels[1].get_ylim()
    sizes = [axes.get_window_extent().width for axes in panels]
    assert max(sizes) < 1.02 * min(sizes)
