"""The neural emulator: trained in miniature on the small grid, kept in a file, checked where it is not valid."""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import DataError, DomainError, FileFormatError
from scarlet_sed.pipeline.comparing import compare_engines
from scarlet_sed.sps.emulator.neural import NeuralEmulator
from scarlet_sed.sps.emulator.weights import read_emulator, read_header
from scarlet_sed.sps.training import train as training
from scarlet_sed.sps.training.dataset import make
from scarlet_sed.sps.training.emulator import train_emulator
from scarlet_sed.sps.training.targets import PARTS, Exact
from tests.sps import small_grid

BANDS = ("acs_wfc_f606w", "F115W", "F182M", "F444W")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> NeuralEmulator:
    """Networks of a few hundred steps: right to some per cent on the smooth spectra of the small grid."""
    grid = small_grid.small_grid()
    source = Exact(small_grid.exact(), grid.provenance)
    made = train_emulator(source, folder, folder / "tiny.npz", rows=800, steps=1000, hidden=(48, 48))
    assert made is not None
    return made


def test_a_little_training_comes_close_to_exact_synthesis(tiny: NeuralEmulator) -> None:
    found = compare_engines(tiny, small_grid.exact(), draws=256)
    for family in found.draws:
        assert found.levels(family)[0] < 40 and found.levels(family)[1] < 200, family
        assert np.nanmedian(np.abs(found.lines[family])) < 1e-5  # a table, not a network
        assert all(np.isfinite(list(found.gradients[family].values())))
    assert "mmag" in found.table() and json.dumps(found.as_json())


def test_masses_are_exact_and_young_galaxies_have_no_old_stars(tiny: NeuralEmulator) -> None:
    young = ss.StellarPopulation(9.0, history=ss.Constant(0.005), engine=tiny)
    light = young._light(jnp.asarray(1.0), dusty=False)
    assert np.all(np.asarray(light.old) == 0) and np.all(np.asarray(light.young) > 0)
    old = ss.StellarPopulation(9.0, history=ss.Constant(3.0, 0.5), engine=tiny)
    light = old._light(jnp.asarray(1.0), dusty=False)
    assert np.all(np.asarray(light.young) == 0) and np.all(np.asarray(light.lines) == 0)
    assert 8.0 < float(old.surviving_mass()) < 9.1


def test_every_history_has_finite_fluxes_and_gradients(tiny: NeuralEmulator) -> None:
    filters = ss.Filters.load(BANDS)
    histories = (
        ss.DelayedTau(0.003, 0.01),
        ss.DelayedTau(13.0, 0.01),
        ss.DelayedTau(9.3, 0.18),  # 1e-22 of its mass is young, whose inverse square float32 cannot hold
        ss.Continuity(np.zeros(6)),
        ss.Dirichlet([0.1, 0.2, 0.3, 0.4]),
        ss.Constant(0.5),
        ss.Burst(0.2),
        ss.Burst(0.004, 0.005),
    )

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def total(pair: tuple[ss.History, jax.Array], engine: NeuralEmulator) -> jax.Array:
        return jnp.sum(ss.StellarPopulation(9.0, 0.0, -2.5, history=pair[0], engine=engine).fluxes(filters, pair[1]))

    for history in histories:
        value, slopes = total((history, jnp.asarray(1.3)), tiny)
        assert np.isfinite(value) and value > 0
        assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes))


@pytest.mark.parametrize("fraction", [1e-6, 3.65e-4, 2e-3])
def test_an_onset_before_the_youngest_that_networks_know_counts_as_that(fraction: float) -> None:
    """At redshift 11.7 the universe is 0.37 Gyr old; the networks were trained from 1 Myr on."""

    def light(**times: float) -> np.ndarray:
        history = ss.DelayedTau(log_tau=-0.9, **times)
        population = ss.StellarPopulation(9.0, 0.38, -3.0, history=history, intergalactic=False)
        return np.asarray(population(ss.Filters.load(["F150W", "F277W", "F444W"]), 11.7))

    np.testing.assert_allclose(light(age_fraction=fraction), light(age=1e-3), rtol=1e-4)


def test_the_weight_file_says_where_it_comes_from(tiny: NeuralEmulator, folder: Path) -> None:
    header = read_header(folder / "tiny.npz")
    assert set(header["training"]["parts"]) == set(PARTS) - {"lines"}
    assert header["training"]["grid"]["name"] == "made up"
    assert header["training"]["parts"]["young"]["record"][-1]["step"] == 1000
    assert tuple(header["domain"]["log_metallicity"]) == tiny.domain.log_metallicity
    again = read_emulator(folder / "tiny.npz")
    np.testing.assert_array_equal(again.young.basis, tiny.young.basis)


def test_training_goes_on_from_a_weight_file_part_by_part(tiny: NeuralEmulator, folder: Path) -> None:
    source, start = Exact(small_grid.exact()), folder / "tiny.npz"
    settings = {"rows": 800, "steps": 100, "seed": 1, "hidden": (48, 48), "start_from": start}
    made = train_emulator(source, folder, folder / "more.npz", only=["young"], **settings)
    assert made is not None
    before, after = read_header(start)["training"]["parts"], read_header(folder / "more.npz")["training"]["parts"]
    assert after["delayed"] == before["delayed"] and after["young"]["before"] == before["young"]
    np.testing.assert_array_equal(made.delayed.perceptron.matrices[0], tiny.delayed.perceptron.matrices[0])
    np.testing.assert_array_equal(made.delayed.basis, tiny.delayed.basis)
    assert not np.array_equal(made.young.perceptron.matrices[0], tiny.young.perceptron.matrices[0])
    # it starts where the other ended: a fresh network is far worse after so few steps
    assert after["young"]["record"][0]["50 %"] < 3 * before["young"]["record"][-1]["50 %"]
    with pytest.raises(DataError, match="no network of the part 'delayed' to keep"):
        train_emulator(source, folder, folder / "none.npz", only=["young"], **{**settings, "hidden": (32,)})


@pytest.mark.parametrize("harm", ["truncated", "altered", "missing", "another file"])
def test_harmed_weight_files_are_refused(tiny: NeuralEmulator, folder: Path, tmp_path: Path, harm: str) -> None:
    path, good = tmp_path / "weights.npz", folder / "tiny.npz"
    if harm == "truncated":
        path.write_bytes(good.read_bytes()[:-2000])
    if harm == "altered":
        with np.load(good) as file:
            arrays = {name: file[name] for name in file.files}
        arrays["young/mean"] = arrays["young/mean"] + 1e-3
        np.savez(path, **arrays)
    if harm == "another file":
        np.savez(path, a=np.zeros(3))
    with pytest.raises(FileFormatError, match="weight"):
        read_emulator(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"log_metallicity": 0.6}, "log_metallicity"),
        ({"log_metallicity": dist.Normal(0.0, 1.0)}, "prior of log_metallicity"),
        ({"log_ionization": 0.5}, "log_ionization"),
        ({"history": ss.DelayedTau(1.0, 0.001)}, "tau"),
        ({"history": ss.DelayedTau(1.0, dist.LogUniform(1e-3, 10.0))}, "prior of tau"),
        ({"history": ss.DelayedTau(19.0, 1.0)}, "age"),
        ({"history": ss.Burst(1.0, 1e-4)}, "duration"),
    ],
)
def test_parameters_outside_the_domain_are_refused(tiny: NeuralEmulator, changes: dict, says: str) -> None:
    arguments = {"log_mass": 9.0, "history": ss.DelayedTau(1.0, 0.5), "engine": tiny} | changes
    with pytest.raises(DomainError, match=says):
        ss.StellarPopulation(**arguments)


def test_training_goes_on_where_it_was_cut_off(
    tiny: NeuralEmulator, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(Exact(small_grid.exact()), "lines", folder, 800, 0)
    recipe = training.Recipe(hidden=(16,), steps=40, batch=32)
    monkeypatch.setattr(training, "_CHUNK", 10)
    whole, _, done = training.train(data, recipe, tmp_path / "whole")
    assert done
    # a clock that moves a second whenever it is looked at ends the first sitting after a chunk or two
    ticks = iter(range(1000))
    with monkeypatch.context() as patch:
        patch.setattr("scarlet_sed.resume.time.monotonic", lambda: float(next(ticks)))
        _, record, done = training.train(data, recipe, tmp_path / "parts", seconds=2.5)
    assert not done and 0 < record[-1]["step"] < 40
    parts, record, done = training.train(data, recipe, tmp_path / "parts")
    assert done and record[-1]["step"] == 40
    for first, second in zip(whole.matrices, parts.matrices, strict=True):
        np.testing.assert_array_equal(first, second)
    with pytest.raises(FileFormatError, match="another recipe"):
        training.train(data, training.Recipe(hidden=(16,), steps=80, batch=32), tmp_path / "parts")
