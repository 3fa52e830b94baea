"""Pictures of posteriors: what they show, and what they say of bad input."""

import io

import matplotlib.image
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed import plot
from scarlet_sed.errors import DataError, ParameterError
from scarlet_sed.infer.sampling.maps import PropertyMaps
from scarlet_sed.infer.sampling.residuals import ObservedResiduals, Residuals
from scarlet_sed.plot.predictions import p_text
from scarlet_sed.plot.words import with_spread
from scarlet_sed.scene.boxes import Box
from tests.infer.sampling.draws import made_up
from tests.infer.sampling.toys import linear_toy


@pytest.fixture(scope="module")
def posterior() -> ss.Posterior:
    toy = linear_toy()
    scene = toy.scene.free("a.*.ellipticity", ss.EllipticityPrior(0.3)).free("*.radius", dist.LogNormal(-3.0, 1.0))
    return made_up(scene, toy.observation, spread=0.01)


def drawn(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    buffer.seek(0)
    return matplotlib.image.imread(buffer)


def visible(figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible()]


def test_a_corner_plot_of_a_source_has_a_triangle_of_its_telling_numbers(posterior):
    figure = plot.corner(posterior, "a", most=4, truth={"a.spectrum.flux": [10.0, 20.0], "a.morphology.radius": 0.06})
    panels = visible(figure)
    assert len(panels) == 4 * 5 // 2
    titles = [axes.get_title() for axes in panels if axes.get_title()]
    assert [title.split("\n")[0] for title in titles] == [
        "flux F150W (nJy)",
        "radius (arcsec)",
        "ellipticity e1",
        "ellipticity e2",
    ]
    median = np.median(posterior.draws["a.spectrum.flux"][..., 1])
    assert f"{median:.4f}" in titles[0]
    assert drawn(figure).std() > 0.01


def test_a_corner_plot_of_chosen_numbers_has_them_all(posterior):
    figure = plot.corner(posterior, ["*.flux", "nircam.sky[F115W]"], most=2)
    labels = {axes.get_xlabel() for axes in visible(figure)}
    assert len(visible(figure)) == 5 * 6 // 2 and "nircam sky F115W (nJy)" in labels and "a flux F150W (nJy)" in labels


def test_contours_hold_the_mass_that_they_are_said_to(posterior):
    from scarlet_sed.plot.corners import _levels

    x, y = np.mgrid[-5:5:201j, -5:5:201j]
    density = np.exp(-0.5 * (x**2 + y**2))
    outer, inner = _levels(density, (0.3935, 0.8647))
    assert inner == pytest.approx(np.exp(-0.5), rel=0.03) and outer == pytest.approx(np.exp(-2.0), rel=0.05)


def test_numbers_that_never_moved_are_drawn_too(posterior):
    still = {path: np.broadcast_to(values[:1, :1], values.shape) for path, values in posterior.draws.items()}
    stuck = posterior._replace(draws=still, diagnosis=None)
    for figure in (plot.corner(stuck, "a"), plot.trace(stuck, "a.spectrum.flux"), plot.rank(stuck, "*.radius")):
        drawn(figure)


def test_traces_and_ranks_show_each_chain_of_the_hardest_numbers(posterior):
    traces = plot.trace(posterior)
    assert len(traces.axes) == 2 * 5
    assert all(len(axes.lines) == 3 for axes in traces.axes)
    assert all("R-hat" in axes.get_title() for axes in traces.axes[1::2])
    ranks = plot.rank(posterior, "a.spectrum.flux")
    assert len(ranks.axes) == 3 * 2 and ranks.axes[0].get_title() == "flux F115W (nJy)"
    counts = [
        sum(patch.get_data().values) for axes in ranks.axes for patch in axes.patches if hasattr(patch, "get_data")
    ]
    assert counts == [100] * 6
    drawn(traces)
    drawn(ranks)


def test_predictions_have_two_panels_a_band_and_frames_where_something_is_missing():
    rng = np.random.default_rng(0)
    excess = rng.normal(size=(2, 5, 5))
    excess[1, 3, 2] = 9.0
    own = ObservedResiduals(("F115W", "F150W"), rng.normal(size=(2, 14, 14)), np.array([0.4, 0.0]), 3, excess)
    figure = plot.predictive(Residuals({"nircam": own}, 50))
    titles = [axes.get_title() for axes in visible(figure)]
    assert "F115W   p = 0.40" in titles and "F150W   p < 0.02" in titles
    (framed,) = [axes for axes in visible(figure) if axes.patches]
    assert framed.patches[0].get_xy() == (5.0, 8.0)
    drawn(figure)
    assert (p_text(1.0, 50), p_text(0.5, 50)) == ("> 0.98", "= 0.50")


def test_numbers_have_the_digits_that_their_spread_tells():
    assert with_spread(10.1234, 10.1, 10.16) == "$10.123_{-0.023}^{+0.037}$"
    assert with_spread(2.5e9, 2.4e9, 2.7e9) == r"($2.50_{-0.10}^{+0.20}$) $\times 10^{9}$"
    assert with_spread(3.0, 3.0, 3.0) == "3"


def test_bad_input(posterior):
    with pytest.raises(ParameterError, match="'z'"):
        plot.corner(posterior, "z")
    none = posterior._replace(log_density=posterior.log_density[:, :0])
    for picture in (lambda: plot.corner(none, "a"), lambda: plot.trace(none), lambda: plot.rank(none)):
        with pytest.raises(DataError, match="no draws"):
            picture()
    with pytest.raises(AttributeError, match="corners_of"):
        plot.corners_of  # noqa: B018


def test_maps_of_dust_have_two_panels_and_two_more_where_there_are_stars():
    rng = np.random.default_rng(0)
    light = np.exp(-np.hypot(*np.mgrid[-10:10:21j, -8:8:17j]) / 3)
    av = 1 + 0.1 * rng.normal(size=light.shape)
    frame = ss.Frame.bare((40, 40), 0.03)
    own = PropertyMaps("g", frame, Box((21, 17), (3, 5)), "F115W", light, None, None, av, 0.1 * av, 0.0)
    figure = plot.property_maps(own)
    # each panel with its bar
    assert len(visible(figure)) == 4 and figure.axes[0].get_title() == "$A_V$"
    shown = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    assert np.sum(np.isfinite(shown)) == own.bright(0.98).sum() < light.size
    assert shown.shape[0] > shown.shape[1] and np.nanmax(shown) == av[own.bright(0.98)].max()
    drawn(figure)
    stars = plot.property_maps(own._replace(mass=1e8 * light, mass_sd=1e7 * light, av=np.zeros_like(av)))
    assert len(visible(stars)) == 8
    np.testing.assert_allclose(np.ma.compressed(stars.axes[3].images[0].get_array()), 0.1 / np.log(10))
    drawn(stars)
    drawn(plot.property_maps(own._replace(light=-light, av=np.full_like(av, np.nan))))
