"""A flow of images: bends that can be undone, training, files, and fits that begin with its normal distribution."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed.errors import FileFormatError
from scarlet_sed.infer import optimize
from scarlet_sed.infer.optimize import eased
from scarlet_sed.parameters import Parameter
from scarlet_sed.priors.flow import Bends, FlowPrior
from scarlet_sed.priors.gaussian import GaussianImagePrior, GaussianImages
from scarlet_sed.priors.learning import HELD, Recipe, train_energy, train_flow
from scarlet_sed.priors.shipped import KIND
from scarlet_sed.weights import write_weights
from tests.registry import flow_images, galaxies


def test_the_volume_is_that_of_the_bends(x64):
    flow = flow_images()
    white = jnp.asarray(np.random.default_rng(0).normal(size=63))
    normal, volume = eqx.filter_jit(flow.bends.normal)(white)
    np.testing.assert_allclose(eqx.filter_jit(flow.bends.bent)(normal), white, atol=1e-9)
    jacobian = jax.jit(jax.jacfwd(lambda w: flow.bends.normal(w)[0]))(white)
    assert float(volume) == pytest.approx(float(np.linalg.slogdet(jacobian)[1]), abs=1e-8)


def test_bends_that_know_nothing_do_nothing():
    bends = Bends.initial(jax.random.key(0), 16, 8)
    numbers = np.random.default_rng(0).normal(size=63).astype(np.float32)
    np.testing.assert_allclose(eqx.filter_jit(bends.bent)(jnp.asarray(numbers)), numbers, atol=1e-6)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A short training, in two sittings."""
    images = galaxies(HELD * 2 + 100, seed=5)
    base = GaussianImages.of(images[HELD:], rank=16)
    path = tmp_path_factory.mktemp("flow") / "checkpoint"
    recipe = Recipe(width=16, steps=400, batch=64, memory=50)
    first = train_flow(base, images, 0.1, recipe, path, seconds=0.01)
    assert not first[2]
    return base, train_flow(base, images, 0.1, recipe, path)


def test_training_goes_on_and_gains(learnt):
    _, (_, record, finished) = learnt
    assert finished
    assert [row["step"] for row in record] == [100, 400]
    # widths of galaxies go with their sizes, which no normal distribution knows
    assert record[-1]["gain in log-density"] > 3
    assert record[-1]["error of the score"] < 0.9


def test_an_energy_tells_noise_better_than_the_normal_distribution(tmp_path):
    images = galaxies(HELD * 2 + 100, seed=5)
    base = GaussianImages.of(images[HELD:], rank=16)
    energy, record, finished = train_energy(base, images, Recipe(32, 300, 64, memory=50), tmp_path / "checkpoint")
    assert finished
    assert record[-1]["error at 0.5"] < 0.97
    assert "gate" in energy.refusal


def test_a_file_keeps_it(learnt, tmp_path):
    base, (flow, record, _) = learnt
    header = {"shape": list(base.shape), "knee": base.knee, "level": 0.1, "record": record}
    write_weights(tmp_path / "prior.npz", base.arrays() | flow.bends.arrays(), header, KIND)
    again = FlowPrior.load(tmp_path / "prior.npz")
    image = FlowPrior(flow).sample(jax.random.key(0))
    assert float(again.log_prob(image)) == pytest.approx(float(FlowPrior(flow).log_prob(image)), rel=2e-2)
    normal = GaussianImagePrior.load(tmp_path / "prior.npz")
    assert float(normal.log_prob(image)) == pytest.approx(float(GaussianImagePrior(base).log_prob(image)), rel=2e-2)


def test_a_file_without_a_flow_is_named(tmp_path):
    base = GaussianImages.of(galaxies(), rank=16)
    header = {"shape": list(base.shape), "knee": base.knee}
    write_weights(tmp_path / "prior.npz", base.arrays(), header, KIND)
    with pytest.raises(FileFormatError, match="holds no flow"):
        FlowPrior.load(tmp_path / "prior.npz")
    with pytest.raises(FileFormatError, match="scarlet-sed prior train"):
        FlowPrior.load(tmp_path / "nothing.npz")


@pytest.fixture(scope="module")
def begun(learnt):
    """A galaxy seen with noise, a scene that begins from the prior's middle, and the truth."""
    _, (flow, _, _) = learnt
    prior = FlowPrior(flow)
    truth = galaxies(1, seed=11)[0]
    blank = ss.Observation(
        np.zeros((1, 20, 20)), ("hsc_g",), ss.PSF.gaussian(fwhm=2.5), sigma=1.0, pixel_scale=0.1, name="o"
    )
    frame = ss.Frame.covering(blank)

    def scene(shape: ss.Pixels) -> ss.Scene:
        return ss.Scene({"a": ss.Source((0.0, 0.0), ss.FreeSpectrum(400.0, ("hsc_g",)) * shape)}, frame)

    clean = ss.render(scene(ss.Pixels(truth, 0.1)), blank)
    seen = blank.with_data(clean + np.random.default_rng(0).normal(size=clean.shape))
    return scene(ss.Pixels(Parameter(np.asarray(prior.mean), prior), 0.1)), seen, truth / truth.sum()


def test_fits_begin_with_the_normal_distribution(begun):
    start, seen, known = begun
    first = eased(start)
    assert first is not None
    assert isinstance(first.parameters["a.morphology.image"].prior, GaussianImagePrior)
    assert eased(first) is None
    fitted = ss.fit(start, seen, progress=False, uncertainties=False)
    assert isinstance(fitted.scene.parameters["a.morphology.image"].prior, FlowPrior)
    found = np.asarray(fitted.scene.values["a.morphology.image"], float)
    assert np.linalg.norm(found - known) / np.linalg.norm(known) < 0.15


def test_an_interrupted_beginning_is_kept(begun, monkeypatch):
    start, seen, _ = begun
    run, chunks = optimize._run_chunk, []

    def interrupted(*args):
        chunks.append(args)
        if len(chunks) == 4:
            raise KeyboardInterrupt
        return run(*args)

    monkeypatch.setattr(optimize, "_run_chunk", interrupted)
    fitted = ss.fit(start, seen, progress=False)
    assert fitted.status is ss.FitStatus.INTERRUPTED
    # one chunk of probes, two of steps; none with the flow
    assert len(chunks) == 4
    assert fitted.loss.size == 2 * optimize.CHUNK
    assert isinstance(fitted.scene.parameters["a.morphology.image"].prior, FlowPrior)
    assert fitted.loss[-1] < fitted.loss[0]
    begin, found = (np.asarray(scene.values["a.morphology.image"]) for scene in (start, fitted.scene))
    assert not np.allclose(found, begin, rtol=0.01)
