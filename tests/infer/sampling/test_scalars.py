"""Numbers by name, and the table of them."""

import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.sampling.derived import Derived
from scarlet_sed.infer.sampling.scalars import chosen, hardest, scalars, telling
from scarlet_sed.infer.sampling.summary import summary_table
from tests.infer.sampling.draws import made_up
from tests.infer.sampling.toys import linear_toy


@pytest.fixture(scope="module")
def posterior() -> ss.Posterior:
    toy = linear_toy()
    scene = toy.scene.free("*.radius", dist.LogNormal(-3.0, 1.0)).free("a.*.ellipticity", ss.EllipticityPrior(0.3))
    image = ss.Pixels.from_image(np.ones((3, 3)), 0.03, ss.SmoothImage((3, 3)))
    free = ss.Source((0.05, 0.05), ss.FreeSpectrum(1.0, toy.observation.bands) * image)
    scene = scene.with_sources({**scene.sources, "p": free})
    shifted = toy.observation.free("shift", dist.Normal(np.zeros((2, 2)), 0.05))
    return made_up(scene, shifted, spread=0.001)


def test_every_number_has_a_name_a_unit_and_a_prior(posterior):
    every = {s.name: s for s in scalars(posterior)}
    assert len(every) == sum(int(np.prod(v.shape[2:])) for v in posterior.draws.values())
    flux = every["a.spectrum.flux[F150W]"]
    assert flux.label == "a.spectrum.flux[F150W] (nJy)" and flux.prior == "Normal(0, 12)" and flux.rhat < 1.2
    np.testing.assert_array_equal(flux.draws, posterior.draws["a.spectrum.flux"][..., 1])
    assert every["a.morphology.radius"].element == "" and every["a.morphology.ellipticity[e2]"].unit == ""
    assert "nircam.shift[F115W north]" in every and every["p.morphology.image[1,2]"].image
    owners = [s.path.split(".")[0] for s in scalars(posterior)]
    assert owners == sorted(owners, key=["a", "b", "p", "nircam"].index)


def test_names_choose(posterior):
    assert {s.path.split(".")[0] for s in chosen(posterior, "a")} == {"a"}
    assert [s.name for s in chosen(posterior, "a.spectrum.flux[F115W]")] == ["a.spectrum.flux[F115W]"]
    assert len(chosen(posterior, ["*.radius", "a.morphology.radius"])) == 2
    with pytest.raises(ParameterError, match="no sampled parameter is called 'c'"):
        chosen(posterior, ["a", "c"])


def test_the_telling_numbers_of_a_source(posterior):
    assert [s.name for s in telling(chosen(posterior, "a"))] == [s.name for s in chosen(posterior, "a")]
    own = telling(chosen(posterior, "a"), 4)
    # where not all have a place: the band measured best, and everything else
    assert [s.name for s in own if "flux" in s.path] == ["a.spectrum.flux[F150W]"] and len(own) == 4
    assert [s.path for s in telling(chosen(posterior, "a"), 2)] == ["a.spectrum.flux", "a.morphology.radius"]
    assert [s.path for s in telling(chosen(posterior, "p"))] == []


def test_the_hardest_are_of_different_parameters(posterior):
    found = hardest(posterior, 4)
    assert len({s.path for s in found}) == 4
    worth = [min(s.bulk, s.tail) for s in found]
    assert worth == sorted(worth)


def test_the_table_holds_moments_quantiles_and_diagnostics(posterior, tmp_path):
    table = summary_table(posterior)
    row = table[(table["parameter"] == "b.spectrum.flux") & (table["element"] == "F115W")][0]
    own = posterior.draws["b.spectrum.flux"][..., 0].ravel()
    assert row["mean"] == pytest.approx(own.mean()) and row["sd"] == pytest.approx(own.std(ddof=1))
    assert row["p16"] == pytest.approx(np.percentile(own, 16)) and row["unit"] == "nJy" and row["ess_bulk"] > 50
    assert np.sum(table["image"]) == 9 and table.meta["chains"] == 3
    undiagnosed = summary_table(posterior._replace(diagnosis=None))
    assert np.isnan(undiagnosed["rhat"]).all()


def test_the_table_has_rows_of_what_follows_and_moves(posterior):
    screen = ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), 0.8)
    plain = posterior.posterior.scene
    light = ss.FreeSpectrum(ss.Parameter(np.ones(2), dist.Normal(np.zeros(2), 9.0)), ("F115W", "F150W"))
    dusty = ss.Source((0.0, 0.05), (light * ss.Gaussian(0.06)).behind(screen), 1.0)
    pair = ss.Blend({"x": light * ss.Gaussian(0.05), "y": ss.FreeSpectrum(1.0, light.bands) * ss.Gaussian(0.1)})
    sources = {"a": plain["a"], "d": dusty, "e": ss.Source((0.0, 0.0), pair)}
    draws = made_up(plain.with_sources(sources), linear_toy().observation, count=20, spread=0.01)
    found = ss.derived(draws)
    table = summary_table(draws, found)
    own = table[table["derived"]]
    # a.flux and e.x.flux are parameters, e.y.flux never moves
    assert set(own["parameter"]) == {"d.flux", "d.intrinsic_flux", "e.flux"} and len(own) == 6
    row = own[(own["parameter"] == "d.flux") & (own["element"] == "F150W")][0]
    values = found["d.flux"].values[..., 1].ravel()
    assert row["p84"] == pytest.approx(np.percentile(values, 84)) and row["unit"] == "nJy" and not row["prior"]
    assert row["ess_bulk"] > 20 and not np.any(table["derived"][: len(table) - 6])
    assert np.isnan(summary_table(draws._replace(diagnosis=None), found)["rhat"]).all()
    fixed = {path: Derived(np.ones_like(q.values), q.unit, q.description, q.bands) for path, q in found.items()}
    assert not np.any(summary_table(draws, fixed)["derived"])
