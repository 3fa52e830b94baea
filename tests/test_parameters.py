"""Parameters: paths, free, freeze, tie; supports and their transforms; nothing global."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy import units as u
from numpyro.distributions import biject_to, constraints
from scipy import stats

from scarlet_sed.constraints import ellipse, image_simplex, lowest
from scarlet_sed.distributions import EllipticityPrior, SmoothImage
from scarlet_sed.errors import ImproperPriorError, ParameterError, ScarletSEDError, ShapeError, UnitError
from scarlet_sed.parameters import (
    Parameter,
    Parameterized,
    Tied,
    current_values,
    free_parameters,
    parameter,
    prior_median,
    resolve,
    set_values,
)
from scarlet_sed.paths import slots, transparent
from scarlet_sed.transforms import (
    ImageSimplexTransform,
    StudentTTransform,
    TruncatedNormalTransform,
    UnitDiscTransform,
    bijection,
)
from scarlet_sed.typing import Array

ROOT = Path(__file__).resolve().parent.parent


class Shape(eqx.Module):
    radius: Array = parameter(unit="arcsec", doc="size", shape=())
    ellipticity: Array = parameter(shape=(2,), default=0.0)


class Thing(Parameterized):
    flux: Array = parameter(unit="nJy")
    shape: Shape
    parts: dict[str, Shape] = transparent()


def thing(radius: object = 1.0) -> Thing:
    return Thing(
        flux=dist.LogNormal(jnp.log(3.0), 1.0),
        shape=Shape(radius, Parameter((0.1, 0.0), EllipticityPrior())),
        parts={"a": Shape(dist.Uniform(1.0, 3.0)), "b": Shape(Parameter(4.0, constraints.positive), (0.0, 0.5))},
    )


PATHS = ["flux", "shape.radius", "shape.ellipticity", "a.radius", "a.ellipticity", "b.radius", "b.ellipticity"]


def test_paths_numbers_fixed_priors_free() -> None:
    assert [slot.path for slot in slots(thing())] == PATHS
    assert list(thing().parameters) == ["flux", "shape.ellipticity", "a.radius", "b.radius"]
    assert {slot.path: slot.unit for slot in slots(thing())}["shape.radius"] == "arcsec"


def test_starting_values() -> None:
    values = thing().values
    assert float(values["flux"]) == pytest.approx(3.0, rel=1e-5)
    assert float(values["a.radius"]) == 2.0 and values["a.ellipticity"].tolist() == [0.0, 0.0]
    assert all(value.dtype == jnp.float32 for value in values.values())
    with jax.enable_x64(True):
        assert all(value.dtype == jnp.float64 for value in thing().values.values())


def test_units_are_converted() -> None:
    assert float(Shape(500.0 * u.mas).radius) == pytest.approx(0.5)
    with pytest.raises(UnitError, match="arcsec"):
        Shape(3.0 * u.nJy)


def test_free_keeps_the_value_and_freeze_undoes_it() -> None:
    freed = thing().free("*.ellipticity", EllipticityPrior(0.2))
    assert {"a.ellipticity", "b.ellipticity", "shape.ellipticity"} <= set(freed.parameters)
    assert freed.values["b.ellipticity"].tolist() == [0.0, 0.5]
    frozen = freed.freeze("*")
    assert frozen.parameters == {}
    for path, value in frozen.values.items():
        np.testing.assert_array_equal(value, thing().values[path])
    assert list(thing().parameters) == list(thing().free("a.radius", dist.Uniform(0, 3)).parameters)


def test_tie_follows_and_resolves() -> None:
    tied = thing().tie("b.radius", to="a.radius").tie("shape.radius", to="b.radius")
    assert list(tied.parameters) == ["flux", "shape.ellipticity", "a.radius"]
    assert [float(tied.values[path]) for path in ("shape.radius", "a.radius", "b.radius")] == [2.0] * 3
    moved = tied.set({"a.radius": 2.5})
    assert float(resolve(moved).shape.radius) == 2.5
    assert isinstance(moved.shape.radius, Tied) and float(thing().values["b.radius"]) == 4.0
    assert float(tied.freeze("b.radius").parts["b"].radius) == 2.0


def test_set_keeps_priors() -> None:
    moved = thing().set({"flux": 5.0, "shape.radius": 2.0})
    assert float(moved.values["flux"]) == 5.0 and isinstance(moved.flux, Parameter)
    assert float(moved.shape.radius) == 2.0 and not isinstance(moved.shape.radius, Parameter)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: thing().free("*.colour", dist.Normal()), ParameterError, "no parameter matches"),
        (lambda: thing().freeze("colour"), ParameterError, "flux"),
        (lambda: thing().set({"colour": 1.0}), ParameterError, "unknown parameter 'colour'"),
        (lambda: thing().tie("a.*", to="b.*"), ParameterError, "2 parameters"),
        (lambda: thing().tie("*.radius", to="a.radius"), ParameterError, "itself"),
        (lambda: thing().tie("a.radius", to="b.radius").tie("b.radius", to="a.radius"), ParameterError, "circular"),
        (lambda: current_values(thing(Tied("nowhere"))), ParameterError, "does not exist"),
        (lambda: thing().free("shape.radius", dist.Uniform(2.0, 3.0)), ParameterError, "outside the support"),
        (lambda: Parameter(-1.0, dist.LogNormal(0.0, 1.0)), ParameterError, "outside the support"),
        (lambda: Parameter(jnp.nan, dist.Normal()), ParameterError, "not finite"),
        (lambda: Parameter(1.0, 2.0), ParameterError, "numpyro distribution"),
        (lambda: Parameter((0.9, 0.9), ellipse), ParameterError, "outside the support"),
        (lambda: Shape(jnp.inf), ParameterError, "not finite"),
        (lambda: Shape("large"), ParameterError, "not a number"),
        (lambda: Shape([1.0, 2.0]), ShapeError, "single number"),
        (lambda: Shape(1.0, (0.1, 0.2, 0.3)), ShapeError, "(2,)"),
        (lambda: Shape(dist.Cauchy(jnp.zeros(3), 1.0)), ShapeError, "(3,)"),
        (lambda: Shape(dist.ImproperUniform(constraints.positive, (), ())), ImproperPriorError, "starting value"),
        (lambda: list(slots({"x": {"y": Shape(1.0)}, "x.y": Shape(1.0)})), ParameterError, "two parameters"),
    ],
)
def test_errors(make: object, error: type[ScarletSEDError], says: str) -> None:
    with pytest.raises(error, match="Fix: ") as caught:
        make()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("prior", "median"),
    [
        (dist.Uniform(2.0, 4.0), 3.0),
        (dist.LogNormal(1.0, 2.0), np.e),
        (dist.HalfNormal(1.0), 0.6745),
        (dist.TruncatedNormal(0.0, 1.0, low=0.0), 0.6745),
        (dist.Dirichlet(jnp.array([1.0, 3.0])), [0.25, 0.75]),
        (EllipticityPrior(), [0.0, 0.0]),
    ],
)
def test_medians(prior: dist.Distribution, median: object) -> None:
    np.testing.assert_allclose(prior_median(prior), median, rtol=1e-4)


def test_jax_transformations() -> None:
    example = thing()

    def total(values: dict[str, Array]) -> Array:
        plain = resolve(set_values(example, values))
        return plain.flux * plain.parts["a"].radius + jnp.sum(plain.shape.ellipticity)

    values = {path: parameter.value for path, parameter in free_parameters(example).items()}
    gradient = jax.jit(jax.grad(total))(values)
    assert float(gradient["a.radius"]) == pytest.approx(3.0, rel=1e-5)
    batch = {path: jnp.stack([value, 2 * value]) for path, value in values.items()}
    np.testing.assert_allclose(jax.vmap(total)(batch)[0], total(values), rtol=1e-6)
    doubled = jax.tree.map(lambda leaf: leaf, example)
    assert jax.tree.structure(doubled) == jax.tree.structure(example)
    moved = eqx.tree_at(lambda t: t.parts["a"].radius.value, example, jnp.array(2.9))
    assert float(moved.values["a.radius"]) == pytest.approx(2.9) and list(moved.parameters) == list(example.parameters)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), resolve(example), resolve(moved))
    radii = jax.vmap(lambda t: t.parts["a"].radius)(stacked)
    np.testing.assert_allclose(radii, [2.0, 2.9])


def test_modules_can_be_made_inside_jit() -> None:
    def area(radius: Array) -> Array:
        return resolve(Thing(1.0, Shape(radius), {"a": Shape(2.0, (0.1, 0.2))})).shape.radius ** 2

    assert float(jax.jit(jax.grad(area))(3.0)) == 6.0


def test_threads_build_independent_scenes() -> None:
    def build(radius: int) -> dict[str, Array]:
        made = [
            thing(float(radius)).tie("b.radius", to="a.radius").free("flux", dist.Exponential(1.0)) for _ in range(5)
        ]
        return made[-1].values

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(build, range(1, 33)))
    assert [float(values["shape.radius"]) for values in results] == [float(i) for i in range(1, 33)]


_CHILD = """
import pickle, sys
sys.path.insert(0, sys.argv[2])
thing = pickle.load(open(sys.argv[1], "rb"))
print(list(thing.parameters), {path: float(value.sum()) for path, value in thing.values.items()})
"""


def test_pickling_to_a_fresh_process(tmp_path: Path) -> None:
    example = thing().tie("b.radius", to="a.radius").free("*.ellipticity", EllipticityPrior(0.2))
    path = tmp_path / "thing.pickle"
    path.write_bytes(pickle.dumps(example))
    command = [sys.executable, "-c", _CHILD, str(path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    here = {path: float(value.sum()) for path, value in example.values.items()}
    assert done.stdout.strip() == f"{list(example.parameters)} {here}"


def test_errors_survive_pickling() -> None:
    error = ShapeError("this is wrong", fix="do that")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ShapeError and str(again) == str(error) == "this is wrong. Fix: do that."


def numerical_log_det(function: object, x: Array) -> float:
    return float(np.linalg.slogdet(np.asarray(jax.jacfwd(function)(x)))[1])


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 30.0])
def test_unit_disc_transform(size: float, x64: None, rng: np.random.Generator) -> None:
    x = jnp.asarray(size * rng.normal(size=2))
    transform = UnitDiscTransform()
    y = transform(x)
    assert bool(ellipse(y)) and float(jnp.sum(y**2)) < 1
    np.testing.assert_allclose(transform.inv(y), x, rtol=1e-9, atol=1e-12)
    log_det = float(transform.log_abs_det_jacobian(x, y))
    assert log_det == pytest.approx(numerical_log_det(transform, x), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("shape", "size"), [((3, 4), 0.1), ((5, 5), 1.0), ((2, 3), 5.0), ((1, 2), 1.0)])
def test_image_simplex_transform(shape: tuple[int, int], size: float, x64: None, rng: np.random.Generator) -> None:
    transform = ImageSimplexTransform(shape)
    x = jnp.asarray(size * rng.normal(size=shape[0] * shape[1] - 1))
    y = transform(x)
    assert y.shape == shape == transform.forward_shape(x.shape) and transform.inverse_shape(shape) == x.shape
    assert bool(image_simplex(y)) and float(jnp.sum(y)) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(transform.inv(y), x, rtol=1e-9, atol=1e-9)
    # the density on the simplex is that of its first K-1 coordinates
    log_det = numerical_log_det(lambda v: transform(v).ravel()[:-1], x)
    assert float(transform.log_abs_det_jacobian(x, y)) == pytest.approx(log_det, rel=1e-8)


def test_image_simplex_transform_has_no_flat_direction(x64: None) -> None:
    jacobian = jax.jacfwd(lambda x: ImageSimplexTransform((4, 4))(x).ravel())(jnp.zeros(15))
    singular = jnp.linalg.svd(jacobian, compute_uv=False)
    np.testing.assert_allclose(singular, 1 / 16, rtol=1e-9)


def test_bijections() -> None:
    assert isinstance(bijection(EllipticityPrior(), (2,)), UnitDiscTransform)
    assert isinstance(biject_to(ellipse), UnitDiscTransform)
    free_image = Parameter(jnp.full((3, 5), 1 / 15), image_simplex)
    transform = bijection(free_image.prior, (3, 5))
    assert transform == ImageSimplexTransform((3, 5)) and hash(transform) == hash(ImageSimplexTransform((3, 5)))
    positive = Parameter(jnp.ones(3), constraints.positive)
    np.testing.assert_allclose(bijection(positive.prior, (3,))(jnp.zeros(3)), 1.0)


CUT = [(0.0, 0.7, -2.0, 2.0), (1.5, 1.5, 0.3, 8.0), (-2.5, 0.4, -4.0, -1.0), (0.0, 1.0, 3.0, 6.0), (9.0, 1.0, 0.0, 3.0)]


@pytest.mark.parametrize("prior", CUT, ids=str)
def test_truncated_normal_priors_are_standard_normal_in_unconstrained_numbers(prior: tuple, x64: None) -> None:
    cut = dist.TruncatedNormal(*prior[:2], low=prior[2], high=prior[3])
    transform = bijection(cut, ())
    assert isinstance(transform, TruncatedNormalTransform)
    x = jnp.linspace(-6.0, 6.0, 25)
    y = transform(x)
    assert np.all(np.diff(y) > 0) and prior[2] <= y[0] and y[-1] <= prior[3]
    np.testing.assert_allclose(transform.inv(y), x, rtol=1e-6, atol=1e-6)
    slope = transform.log_abs_det_jacobian(x, y)
    np.testing.assert_allclose(jnp.log(jax.vmap(jax.grad(transform))(x)), slope, atol=1e-9)
    step = 1e-5
    np.testing.assert_allclose(
        (transform(x + step) - transform(x - step)) / (2 * step), jnp.exp(slope), rtol=1e-5, atol=1e-9
    )
    np.testing.assert_allclose(cut.log_prob(y) + slope, dist.Normal().log_prob(x), atol=1e-9)


@pytest.mark.parametrize("prior", CUT[:3], ids=str)
def test_truncated_normal_priors_keep_their_digits_in_single_precision(prior: tuple) -> None:
    cut = dist.TruncatedNormal(*prior[:2], low=prior[2], high=prior[3])
    transform = bijection(cut, ())
    x = jnp.linspace(-4.0, 4.0, 17)
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y), x, atol=2e-3)
    np.testing.assert_allclose(
        cut.log_prob(y) + transform.log_abs_det_jacobian(x, y), dist.Normal().log_prob(x), atol=1e-4
    )
    far = transform(jnp.array([-30.0, 30.0]))
    assert np.all(np.isfinite(far)) and far[0] >= prior[2] and far[1] <= prior[3]


@pytest.mark.parametrize("df", [1.0, 2.0, 4.0, 30.0])
def test_students_t_priors_are_nearly_standard_normal_in_unconstrained_numbers(df: float, x64: None) -> None:
    prior = dist.StudentT(df, 0.1, 0.3)
    transform = bijection(prior, ())
    assert isinstance(transform, StudentTTransform)
    x = jnp.linspace(-6.0, 6.0, 49)
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y), x, atol=1e-6)
    slope = transform.log_abs_det_jacobian(x, y)
    np.testing.assert_allclose(jnp.log(jax.vmap(jax.grad(transform))(x)), slope, atol=1e-9)
    step = 1e-5
    np.testing.assert_allclose((transform(x + step) - transform(x - step)) / (2 * step), jnp.exp(slope), rtol=1e-5)
    quantile = stats.norm.ppf(stats.t.cdf((y - 0.1) / 0.3, df))
    near = np.abs(x) < 2
    np.testing.assert_allclose(quantile[near], x[near], atol=0.15 / df)


def test_students_t_priors_keep_their_digits_in_single_precision() -> None:
    prior = dist.StudentT(2.0, 0.0, 0.3)
    transform = bijection(prior, (6,))
    x = jnp.concatenate([jnp.linspace(-9.0, 9.0, 25), jnp.array([-1e-3, 1e-3, 0.0, -11.0, 11.0])])
    y = transform(x)
    assert np.all(np.isfinite(y))
    np.testing.assert_allclose(transform.inv(y), x, rtol=1e-5)
    slope = jax.vmap(jax.grad(lambda x: transform.log_abs_det_jacobian(x, transform(x)) + prior.log_prob(transform(x))))
    np.testing.assert_array_equal(np.isfinite(slope(x)), True)


def test_slopes_of_truncated_normals_in_their_own_numbers(x64: None) -> None:
    def value(numbers: Array, x: float) -> Array:
        return TruncatedNormalTransform(*numbers)(jnp.asarray(x))

    numbers = jnp.array([0.2, 0.7, -1.5, 2.0])
    for x in (-1.3, 0.1, 2.2):
        found = jax.grad(value)(numbers, x)
        steps = 1e-6 * jnp.eye(4)
        expected = [(value(numbers + s, x) - value(numbers - s, x)) / 2e-6 for s in steps]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0, 5.0])
def test_ellipticity_prior_is_normalised(scale: float, x64: None) -> None:
    prior = EllipticityPrior(scale)
    radius, angle = np.meshgrid((np.arange(4000) + 0.5) / 4000, [0.3], indexing="ij")
    e = jnp.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    density = jnp.exp(prior.log_prob(e))[:, 0]
    assert float(jnp.sum(density * 2 * np.pi * radius[:, 0]) / 4000) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("scale", [0.2, 2.0])
def test_ellipticity_prior_samples_its_density(scale: float, key: Array) -> None:
    prior = EllipticityPrior(scale)
    draws = np.asarray(prior.sample(key, (20000,)))
    assert draws.shape == (20000, 2) and np.all(np.sum(draws**2, axis=1) < 1)
    # the squared radius has a truncated exponential distribution: compare the two distribution functions
    squared = np.sort(np.sum(draws**2, axis=1))
    expected = np.expm1(-0.5 * squared / scale**2) / np.expm1(-0.5 / scale**2)
    assert np.max(np.abs(expected - (np.arange(20000) + 0.5) / 20000)) < 1.63 / np.sqrt(20000)
    angle = np.sort(np.arctan2(draws[:, 1], draws[:, 0])) / (2 * np.pi) + 0.5
    assert np.max(np.abs(angle - (np.arange(20000) + 0.5) / 20000)) < 1.63 / np.sqrt(20000)


def test_ellipticity_prior_batches() -> None:
    prior = EllipticityPrior(jnp.array([0.1, 0.3, 0.5]))
    assert prior.batch_shape == (3,) and prior.event_shape == (2,)
    assert prior.sample(jax.random.key(0), (4,)).shape == (4, 3, 2)
    assert prior.log_prob(jnp.zeros((3, 2))).shape == (3,)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_smooth_image_prior_is_the_sum_over_neighbours(scale: float, x64: None, rng: np.random.Generator) -> None:
    image = rng.dirichlet(np.ones(12)).reshape(3, 4)
    log = np.log(image)
    pairs = [(log[i, j] - log[i + 1, j]) ** 2 for i in range(2) for j in range(4)]
    pairs += [(log[i, j] - log[i, j + 1]) ** 2 for i in range(3) for j in range(3)]
    prior = SmoothImage((3, 4), scale)
    assert float(prior.log_prob(jnp.asarray(image))) == pytest.approx(-0.5 * sum(pairs) / scale**2, rel=1e-12)
    assert float(prior.log_prob(prior.mean)) == 0.0


def test_smooth_image_prior_stacks_and_takes_empty_pixels() -> None:
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), SmoothImage((2, 2), 0.5), SmoothImage((2, 2), 1.0))
    image = jnp.asarray([[0.0, 1.0], [0.0, 0.0]])
    values = jax.vmap(lambda prior: prior.log_prob(image))(stacked)
    assert np.all(np.isfinite(values)) and float(values[0]) == pytest.approx(4 * float(values[1]))
    assert np.all(np.isfinite(jax.grad(SmoothImage((2, 2)).log_prob)(image)))


@pytest.mark.parametrize(
    ("prior", "least"),
    [
        (dist.Normal(0, 1), -np.inf),
        (dist.HalfNormal(1.0), 0.0),
        (dist.TruncatedNormal(0.0, 1.0, low=-3.0), -3.0),
        (dist.Uniform(2.0, 5.0), 2.0),
    ],
)
def test_lowest_value_of_a_support(prior: dist.Distribution, least: float) -> None:
    assert float(lowest(prior)) == least
