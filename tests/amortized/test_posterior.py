"""Amortized posteriors: draws and their density, files, training that goes on where it was."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import scarlet_sed as ss
from scarlet_sed.amortized.assess import assess, quantities, row_of, simulations, without
from scarlet_sed.amortized.file import load_amortized, read_amortized, read_record, save_amortized
from scarlet_sed.amortized.learn import join_amortized
from scarlet_sed.amortized.model import Described, library
from scarlet_sed.amortized.posterior import effective
from scarlet_sed.amortized.training import train
from scarlet_sed.errors import DataError, DomainError, FileFormatError, ParameterError, ShapeError
from tests.amortized import small


@pytest.mark.parametrize("known", [True, False], ids=["given", "free"])
def test_draws_know_their_density(known):
    posterior = small.posterior()
    flux, error, redshift = small.objects()
    z = redshift if known else None
    found = posterior.sample(flux, error, z, draws=30, seed=3)
    assert ("redshift" in found.values) == (not known)
    again = posterior.log_prob(found.values, flux, error, z)
    np.testing.assert_allclose(again, found.log_prob, atol=2e-2)
    if not known:
        assert np.all((found.values["redshift"] > 0.09) & (found.values["redshift"] < 8.01))
    # the prior holds every draw
    mass = found.values["log_mass"]
    assert mass.min() >= 6.0 and mass.max() <= 12.0
    # other objects beside it change nothing
    alone = posterior.sample(flux[:5], error[:5], None if z is None else z[:5], draws=30, seed=3)
    assert alone.values["log_mass"].shape == (5, 30)


def test_the_exact_density_is_that_of_the_fluxes_and_the_priors():
    posterior = small.posterior()
    flux, error, redshift = small.objects(4)
    found = posterior.sample(flux, error, redshift, draws=5)
    target = posterior.log_target(found.values, flux, error, redshift)
    model = posterior.described.model
    for i in range(4):
        expected = []
        for j in range(5):
            values = {path: v[i, j] for path, v in found.values.items()}
            there = np.isfinite(flux[i])
            light = np.asarray(model.fluxes(values, redshift[i], posterior.filters))
            chi2 = np.sum(((light - flux[i]) / error[i])[there] ** 2)
            expected.append(-0.5 * chi2 + float(posterior.described.log_prior(values)))
        np.testing.assert_allclose(target[i], expected, rtol=2e-4, atol=2e-2)
    weights = posterior.log_weights(found, flux, error, redshift)
    np.testing.assert_allclose(weights.max(axis=1), 0.0)
    assert np.all((effective(weights) >= 1 - 1e-9) & (effective(weights) <= 5 + 1e-9))


def test_the_same_posterior_comes_back_from_a_file(tmp_path):
    posterior = small.posterior()
    flux, error, _ = small.objects(3)
    path = save_amortized(posterior, tmp_path / "small.zip", small.RECIPE, {"note": "random"})
    back = load_amortized(path)
    one, other = (p.sample(flux, error, draws=10) for p in (posterior, back))
    for name in one.values:
        np.testing.assert_array_equal(one.values[name], other.values[name])
    assert read_record(path)["record"] == {"note": "random"}
    with pytest.raises(FileFormatError, match=r"no \.zip"):
        save_amortized(posterior, tmp_path / "small.npz", small.RECIPE, {})
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FileFormatError):
        load_amortized(path)


def test_training_learns_and_goes_on_bit_by_bit(tmp_path):
    described, spectra, networks = small.drawn()
    survey = small.survey()
    whole, record, done = train(described, survey, spectra, networks, small.RECIPE, tmp_path / "whole")
    assert done and record[-1]["step"] == small.RECIPE.steps
    halves = tmp_path / "halves"
    _, first, done = train(described, survey, spectra, networks, small.RECIPE, halves, seconds=0.01)
    assert not done and 0 < first[-1]["step"] < small.RECIPE.steps
    both, _, done = train(described, survey, spectra, networks, small.RECIPE, halves)
    assert done
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(both), strict=True):
        if eqx.is_array(one):
            np.testing.assert_array_equal(one, other)
    # a posterior knows more than its prior: a standard normal number has an entropy of 1.42
    assert record[-1]["numbers"] < first[-1]["numbers"] and record[-1]["numbers"] < 1.42 * described.numbers - 0.5
    with pytest.raises(FileFormatError, match="another recipe"):
        train(described, survey, spectra, networks, small.RECIPE.__class__(), halves)


def test_a_step_without_a_gradient_is_not_taken_and_a_training_without_any_ends(tmp_path):
    described, spectra, networks = small.drawn()
    survey, recipe = small.survey(), dataclasses.replace(small.RECIPE, steps=250)
    # the last spectra are not among those held back
    strange = eqx.tree_at(lambda s: s.flux, spectra, spectra.flux.at[-2:].set(np.nan))
    found, record, done = train(described, survey, strange, networks, recipe, tmp_path / "strange")
    assert done and np.isfinite(record[-1]["numbers"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(found, eqx.is_inexact_array)))
    broken = eqx.tree_at(lambda s: s.flux, spectra, spectra.flux * np.nan)
    with pytest.raises(ParameterError, match="left the numbers: 'numbers' is nan after step 250"):
        train(described, survey, broken, networks, recipe, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize("part", ["redshift", "numbers"])
def test_one_part_is_trained_and_the_other_stays(tmp_path, part):
    described, spectra, networks = small.drawn()
    only = dataclasses.replace(small.RECIPE, steps=250, parts=(part,))
    found, _, done = train(described, small.survey(), spectra, networks, only, tmp_path / "only")
    assert done

    def alike(part: str) -> bool:
        pairs = zip(
            *(jax.tree.leaves(eqx.filter(getattr(n, part), eqx.is_array)) for n in (found, networks)), strict=True
        )
        return all(np.array_equal(one, other) for one, other in pairs)

    assert alike("expected") and alike("redshift") == (part == "numbers")
    assert alike("flow") == alike("embedding") == (part == "redshift")
    assert eqx.tree_equal(found.redshift.profile, networks.redshift.profile)
    nothing = dataclasses.replace(only, parts=("flow",))
    with pytest.raises(ParameterError, match="nothing to train"):
        train(described, small.survey(), spectra, networks, nothing, tmp_path / "nothing")


def test_what_was_not_trained_is_not_answered(tmp_path):
    flux, error, redshift = small.objects(3)
    far = dataclasses.replace(small.posterior(), trained=("redshift",))
    path = save_amortized(far, tmp_path / "far.zip", small.RECIPE, {})
    far = load_amortized(path)
    assert len(ss.photoz(far, flux, error).mode) == 3
    with pytest.raises(ParameterError, match="redshifts alone"):
        far.sample(flux, error, redshift)
    with pytest.raises(ParameterError, match="redshifts alone"):
        ss.spectrum_moves(far)
    near = dataclasses.replace(small.posterior(), trained=("numbers",))
    with pytest.raises(ParameterError, match="knows no redshifts"):
        near.sample(flux, error)
    with pytest.raises(ParameterError, match="knows no redshifts"):
        ss.photoz(near, flux, error)


def test_parts_trained_side_by_side_are_joined(tmp_path):
    whole = small.posterior()
    other = eqx.tree_at(
        lambda p: p.networks, whole, jax.tree.map(lambda a: a + 1 if eqx.is_inexact_array(a) else a, whole.networks)
    )
    other = eqx.tree_at(lambda p: p.networks.expected, other, whole.networks.expected)
    told = {"library": "a", "survey": {"depth": 1.0}, "training": [{"step": 500}], "before": []}

    def written(posterior, part, **changes):
        path = tmp_path / f"{part}.zip"
        own = dataclasses.replace(posterior, trained=(part,))
        return save_amortized(own, path, dataclasses.replace(small.RECIPE, parts=(part,)), {**told, **changes})

    numbers, redshift, out = written(whole, "numbers"), written(other, "redshift"), tmp_path / "joined.zip"
    joined = join_amortized(numbers, redshift, out)
    again, record = read_amortized(out)
    for found in (joined, again):
        assert found.trained == ("numbers", "redshift")
        assert eqx.tree_equal(found.networks.redshift, other.networks.redshift)
        assert eqx.tree_equal(found.networks.embedding, whole.networks.embedding)
    assert [part["recipe"]["parts"] for part in record["record"]["before"]] == [("numbers",)]
    assert record["recipe"]["parts"] == ("redshift",)
    with pytest.raises(FileFormatError, match="not trained on its numbers"):
        join_amortized(redshift, numbers, out)
    written(other, "redshift", survey={"depth": 2.0})
    with pytest.raises(FileFormatError, match="other spectra or surveys"):
        join_amortized(numbers, redshift, out)


def test_simulated_objects_are_judged():
    posterior = small.posterior()
    made = simulations(posterior, small.survey(), 200, 7)
    assert made.fluxes.shape == (200, 7) and made.signal.min() >= 1
    found = assess(posterior, made, missing=(0, 2), known=False, draws=40)
    rows = found.rows
    assert {joint.missing for joint in found.joint} == {0, 2}
    assert {row.quantity for row in rows} >= {"log_mass", "log_age", "ln(1+z)", "attenuation.av"}
    assert {row.missing for row in rows} == {0, 2}
    for row in rows:
        assert 0 <= row.within68 <= row.within95 <= 1 and row.rms >= abs(row.bias) - 1e-6 and row.width > 0
    taken = without(made.fluxes, 2, 0)
    assert np.all(np.isnan(taken).sum(axis=1) == 2)


def test_tails_of_priors_are_not_heaped_up():
    """Student's t reaches far beyond what fits may; were draws held there, a flow would learn a spike."""
    described = Described.of(ss.deep_field_population("continuity"))
    spectra = library(described, small.REDSHIFT, small.FILTERS, 6000, 3)
    far = np.asarray(spectra.normal)
    assert far.shape[1] == described.numbers - 1 == 11
    for column in far.T:
        assert np.unique(column, return_counts=True)[1].max() <= 3
        assert stats.kstest(column, "norm").pvalue > 1e-4


def test_elements_of_vectors_are_judged_one_by_one():
    described = Described.of(ss.deep_field_population("continuity", bins=5))
    posterior = dataclasses.replace(small.posterior(), described=described)
    redshift = np.full((1, 2), 1.5)
    one = described.with_mass(jnp.linspace(-1.0, 1.0, described.numbers - 1), jnp.asarray(9.0))
    values = {path: np.broadcast_to(value, (1, 2, *value.shape)) for path, value in one.items()}
    found = quantities(posterior, values, redshift)
    np.testing.assert_array_equal(found["history.log_ratios[3]"], np.full((1, 2), one["history.log_ratios"][3]))
    assert "history.log_ratios" not in found and len(found) == described.numbers + 2


@pytest.mark.parametrize(("width", "within", "wrong"), [(1.0, 0.68, False), (2.5, 0.987, True)])
def test_an_assessment_tells_right_widths_from_wrong_ones(rng, width, within, wrong):
    """Truths with unit normal errors: draws of the right width cover them as they should, wider ones more often."""
    truth = rng.normal(size=4000) * 5
    draws = (truth + rng.normal(size=4000))[:, None] + width * rng.normal(size=(4000, 300))
    row = row_of("x", (1.0, 5.0), 0, draws, truth)
    assert row.within68 == pytest.approx(within, abs=0.02) and row.width == pytest.approx(width, rel=0.05)
    assert row.r2 == pytest.approx(1 - 1 / 25, abs=0.01) and abs(row.bias) < 0.06
    assert (row.pit > 0.05) is wrong


def test_bad_fluxes_are_named():
    posterior = small.posterior()
    flux, error, redshift = small.objects(3)
    with pytest.raises(ShapeError, match="7 bands"):
        posterior.sample(flux[:, :5], error[:, :5])
    with pytest.raises(DataError, match="object 1 has no flux"):
        posterior.sample(np.where(np.arange(3)[:, None] == 1, np.nan, flux), error)
    with pytest.raises(DataError, match="object 2 has an error"):
        posterior.sample(flux, np.where(np.arange(3)[:, None] == 2, 0.0, error))
    for scale in (1e-31, 1e31):
        with pytest.raises(DataError, match="object 0 has an error that is not 1e-06"):
            posterior.sample(flux * scale, error * scale)
    with pytest.raises(DataError, match="no object"):
        posterior.sample(flux[:0], error[:0])
    with pytest.raises(ParameterError, match="draws=0"):
        posterior.sample(flux, error, draws=0)
    bad = error.copy()
    bad[1, 0], bad[2] = -1.0, np.nan
    assert posterior.usable(flux, bad).tolist() == [True, False, False]
    with pytest.raises(DomainError, match="redshift 9"):
        posterior.sample(flux, error, 9.0)
    with pytest.raises(ShapeError, match="redshift"):
        posterior.sample(flux, error, redshift[:2])
    with pytest.raises(ParameterError, match="lack 'redshift'"):
        posterior.log_prob(posterior.sample(flux, error, redshift).values, flux, error)
    without_redshift = eqx.tree_at(lambda p: p.networks.redshift, posterior, None)
    with pytest.raises(ParameterError, match="knows no redshifts"):
        without_redshift.sample(flux, error)
