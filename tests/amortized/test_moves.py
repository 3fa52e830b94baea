"""Moves leave the posterior as it is: they alone draw from it, and with the sampler they cross between its modes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.diagnostics import effective_sample_size

import scarlet_sed as ss
from scarlet_sed.amortized.model import AMPLITUDE, library
from scarlet_sed.amortized.moves import spectrum_moves
from scarlet_sed.errors import ParameterError
from scarlet_sed.infer.sampling.entry import POLISH
from scarlet_sed.infer.sampling.target import Coordinates, maximum_at, target_at
from scarlet_sed.parameters import Parameter
from tests.amortized import small


def scene(**options) -> tuple[ss.Scene, ss.Observation]:
    """A faint galaxy of unknown redshift beside a bright one."""
    psfs = [ss.PSF.gaussian(w) for w in np.linspace(1.8, 3.0, len(small.BANDS))]
    blank = ss.Observation(
        np.zeros((len(small.BANDS), 26, 30)), small.FILTERS, psfs, sigma=0.4, pixel_scale=0.03, name="o"
    )
    truth = small.spectrum().set({"log_mass": 7.6, "attenuation.av": 0.4, "log_metallicity": -0.3})
    redshift = options.pop("redshift", Parameter(1.4, small.REDSHIFT))
    neighbour = ss.FreeSpectrum(np.full(len(small.BANDS), 60.0), small.FILTERS.names) * ss.Gaussian(0.08)
    sources = {
        "bright": ss.Source((0.18, 0.02), neighbour, box=0.6),
        "faint": ss.Source((-0.15, 0.0), truth * ss.Gaussian(0.06), redshift, box=0.6),
    }
    made = ss.Scene(sources, ss.Frame.covering(blank))
    noise = 0.4 * np.random.default_rng(3).normal(size=blank.shape)
    return made, blank.with_data(ss.render(made, blank) + noise)


@pytest.fixture(scope="module")
def settled() -> tuple[ss.LogPosterior, Coordinates]:
    """The scene's posterior, and coordinates around its maximum, as the sampler's own: compiled once for all tests."""
    model = ss.LogPosterior(*scene())
    return model, maximum_at(model, model.start, POLISH).coordinates


def test_coordinates_can_be_gone_back(settled):
    model, coordinates = settled
    for seed in range(3):
        whitened = np.random.default_rng(seed).normal(size=coordinates.size).astype(np.float32)
        values = coordinates.values(model.program, whitened).values
        np.testing.assert_allclose(coordinates.whitened(model.program, values), whitened, atol=5e-3)


def test_what_others_leave_of_a_galaxy_does_not_depend_on_its_spectrum():
    made, observation = scene()
    model = ss.LogPosterior(made, observation)
    move = spectrum_moves(small.posterior())(model)
    found = []
    for mass, z in ((7.6, 1.4), (9.1, 3.1)):
        values = model.pack({**model.unpack(model.start), "faint.spectrum.log_mass": mass, "faint.redshift": z})
        found.append(move._left(model.program, values, move.blocks[0]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=1e-3, atol=2e-2)
    # matched filter by hand: the others are known here
    alone = ss.isolate(made, observation, "faint").observation
    shape = np.asarray(model.program.unit_images(model.start, move.blocks[0].group, move.blocks[0].row)[0], float)
    power = np.sum(shape**2, axis=(1, 2)) / 0.16
    flux = np.sum(shape * np.asarray(alone.data, float), axis=(1, 2)) / 0.16 / power
    np.testing.assert_allclose(found[0][0][0], flux, rtol=2e-3, atol=2e-2)
    np.testing.assert_allclose(found[0][1][0], 1 / np.sqrt(power), rtol=1e-3)


@pytest.mark.optimized
def test_moves_alone_draw_from_the_posterior(settled):
    """Against draws from the priors that are weighed by the likelihood of the fluxes: random networks propose."""
    model, coordinates = settled
    move = spectrum_moves(small.posterior(), tries=40, rounds=8)(model)
    target = target_at(model.program, coordinates)

    def step(place, key):
        new, taken = move(target, place, key)
        place = jnp.where(taken > 0, new, place)
        return place, place

    keys = jax.random.split(jax.random.key(0), 850)
    places = jax.lax.scan(step, jnp.zeros(target.coordinates.size), keys)[1][50:]
    found = jax.vmap(lambda place: model.unpack(target.values(place)))(places)
    flux, sigma = (np.asarray(a[0], float) for a in move._left(model.program, model.start, move.blocks[0]))
    described, _, _ = small.drawn()
    spectra = library(described, small.REDSHIFT, small.FILTERS, 60_000, 9)
    unit, redshift = np.asarray(spectra.flux, float), np.asarray(spectra.redshift, float)
    mass = np.random.default_rng(4).uniform(6.0, 12.0, (60, len(unit)))
    chi2 = np.stack([np.sum(((10.0 ** (m - AMPLITUDE))[:, None] * unit - flux) ** 2 / sigma**2, axis=1) for m in mass])
    weight = np.exp(-0.5 * (chi2 - chi2.min()))
    assert weight.sum() ** 2 / np.sum(weight**2) > 300
    for path, values in (
        ("faint.spectrum.log_mass", mass),
        ("faint.redshift", np.broadcast_to(redshift, mass.shape)),
    ):
        order = np.argsort(values, axis=None)
        until = np.cumsum(weight.ravel()[order]) / weight.sum()
        drawn = np.asarray(found[path], float)
        for level in (0.16, 0.5, 0.84):
            below = drawn < values.ravel()[order][np.searchsorted(until, level)]
            count = float(effective_sample_size(below[None].astype(float)))
            assert count > 100
            assert np.mean(below) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / count)), (path, level)


def test_the_sampler_takes_moves_and_goes_on_bit_by_bit(tmp_path):
    made, observation = scene()
    options = {"chains": 2, "warmup": 50, "learn": False, "seed": 5, "progress": False}
    moves = spectrum_moves(small.posterior(), tries=32, every=2)
    whole = ss.sample(made, observation, draws=50, moves=moves, **options)
    assert whole.statistics["moved"].sum() > 0
    # half of the iterations only
    assert np.mean(whole.statistics["moved"] > 0) <= 0.5
    ss.sample(made, observation, draws=25, moves=moves, checkpoint=tmp_path / "c", **options)
    gone = ss.sample(made, observation, draws=50, moves=moves, checkpoint=tmp_path / "c", **options)
    np.testing.assert_array_equal(gone.whitened, whole.whitened)
    for other in (None, spectrum_moves(small.posterior(), tries=31, every=2)):
        with pytest.raises(ss.ScarletSEDError, match="begun with"):
            ss.sample(made, observation, draws=50, moves=other, checkpoint=tmp_path / "c", **options)


def test_what_cannot_be_proposed_is_named():
    made, observation = scene()
    model = ss.LogPosterior(made, observation)
    with pytest.raises(ParameterError, match="bright: its free"):
        spectrum_moves(small.posterior(), sources=("bright",))(model)
    freer = made.free("faint.spectrum.log_ionization", ss.deep_field_population().log_ionization.prior)
    with pytest.raises(ParameterError, match="log_ionization"):
        spectrum_moves(small.posterior())(ss.LogPosterior(freer, observation))
    tied = made.tie("bright.redshift", to="faint.redshift")
    with pytest.raises(ParameterError, match="shares redshift with others"):
        spectrum_moves(small.posterior())(ss.LogPosterior(tied, observation))
    with pytest.raises(ParameterError, match="marginalize"):
        brighter = made.free("bright.spectrum.flux", dist.LogNormal(4.0, 1.0))
        ss.sample(brighter, observation, moves=spectrum_moves(small.posterior()), marginalize=True)
