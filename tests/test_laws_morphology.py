"""Every morphology of the registry obeys every law."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.parameters import current_values, resolve, set_values
from tests import laws
from tests.registry import MORPHOLOGIES, Case, evaluate, grid

every_morphology = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in MORPHOLOGIES.items()])


def of_values(shape: Morphology, where: PixelGrid) -> laws.Function:
    """The image as a function of all values and of the source's position on the grid."""

    def image(values: dict[str, jax.Array]) -> jax.Array:
        own = {path: value for path, value in values.items() if path != "position"}
        shift = values["position"]
        moved = PixelGrid(where.x - shift[0], where.y - shift[1], where.matrix, where.psf_sigma)
        return resolve(set_values(shape, own)).evaluate(moved)

    return image


def all_values(shape: Morphology, position: tuple[float, float] = (0.0, 0.0)) -> dict[str, jax.Array]:
    return {**current_values(shape), "position": jnp.asarray(position, dtype=jnp.result_type(float))}


@every_morphology
def test_gradient_matches_finite_differences(case: Case, x64: None, rng: np.random.Generator) -> None:
    shape = case.make()
    laws.check_gradient(of_values(shape, grid()), all_values(shape, (0.2, 0.1)), rng, case.step)


@every_morphology
def test_finite_at_edges_and_at_zero_radius(case: Case) -> None:
    shape = case.make()
    centred = grid(centre=(0.0, 0.0))
    edges = ({}, *case.edges, *laws.support_extremes(shape))
    laws.check_finite(of_values(shape, centred), all_values(shape), edges)


@every_morphology
def test_jit_equals_eager_and_vmap_equals_loop(case: Case) -> None:
    shape = case.make()
    laws.check_jit_and_vmap(of_values(shape, grid()), all_values(shape))


@every_morphology
def test_flux_is_one_over_the_plane(case: Case) -> None:
    shape = case.make()
    fraction = 0.999
    radius = shape.extent(fraction)
    pixel_scale = max(0.02, radius / 150)
    size = 2 * int(radius / pixel_scale + 6) + 1
    flux = float(jnp.sum(resolve(shape).evaluate(grid(size, pixel_scale))))
    assert fraction - 2e-4 <= flux <= 1 + 2e-4


@every_morphology
def test_extent_grows_and_holds_the_flux(case: Case) -> None:
    shape = case.make()
    radii = [shape.extent(fraction) for fraction in (0.5, 0.9, 0.99, 0.999)]
    assert all(np.isfinite(radii)) and radii == sorted(radii)


@every_morphology
def test_light_is_nowhere_negative(case: Case) -> None:
    image = evaluate(case.make())
    assert float(jnp.min(image)) >= -1e-5 * float(jnp.max(image))


@every_morphology
def test_floating_type_is_the_callers(case: Case) -> None:
    assert evaluate(case.make()).dtype == jnp.float32
    with jax.enable_x64(True):
        assert evaluate(case.make()).dtype == jnp.float64


@every_morphology
def test_tree_operations(case: Case) -> None:
    laws.check_tree_operations(case.make(), evaluate)


@every_morphology
def test_save_and_load(case: Case, tmp_path: Path) -> None:
    laws.check_saved(case.make(), evaluate, tmp_path / "shape")


def test_pickling_to_a_fresh_process(tmp_path: Path) -> None:
    laws.check_pickled({name: case.make() for name, case in MORPHOLOGIES.items()}, evaluate, tmp_path / "shapes")
