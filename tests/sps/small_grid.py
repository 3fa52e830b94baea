"""A small made-up grid with the features of a real one: breaks, age and metallicity trends, nebulae, lines, dust."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.photometry.quadrature import LOG_STEP
from scarlet_sed.photometry.rebin import LIGHT_SPEED, nearest_cell
from scarlet_sed.sps.basis import BasisSynthesis
from scarlet_sed.sps.exact import ExactSynthesis
from scarlet_sed.sps.grid import Grid

FIRST, LAST = nearest_cell(912.0), nearest_cell(61000.0)
Q_PAH, U_MIN = np.array([0.5, 1.5, 2.5, 4.5]), np.array([0.1, 0.4, 1.0, 5.0, 25.0])
LINES = {"H 1 1215.67": 1215.67, "H 1 4861.32": 4861.32, "O 3 5006.84": 5006.84, "H 1 6562.80": 6562.8}


def content() -> dict[str, Any]:
    """Arrays named as in a grid file."""
    wavelength = np.exp((FIRST + np.arange(LAST - FIRST + 1)) * LOG_STEP)
    age = np.array([0.0, 1e-3, 3e-3, 6e-3, 0.01, 0.02, 0.05, 0.15, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0])
    metals = np.array([0.05, 0.4, 1.0, 2.5])
    temperature = 4e4 * (age + 2e-3) ** -0.25 / (2e-3) ** -0.25
    stars = np.empty((metals.size, age.size, wavelength.size))
    for i, z in enumerate(metals):
        for j, (a, t) in enumerate(zip(age, temperature * z**-0.05, strict=True)):
            x = 1.4388e8 / (wavelength * t)
            planck = (1e4 / wavelength) ** 3 / np.expm1(np.minimum(x, 200.0)) + 1e-6
            breaks = 1 - 0.4 * np.clip(a, 0, 1) * z**0.2 * (wavelength < 4000.0)
            lines = 1 - 0.2 * np.exp(-0.5 * (np.log(wavelength / 4102.0) / 0.003) ** 2)
            stars[i, j] = 1e-15 * planck * breaks * lines / np.mean(planck) * (a + 1e-3) ** -0.7
    ionization, edges = np.array([-4.0, -2.5, -1.0, 0.0]), np.array([0.0, 2e-3, 5e-3, 0.01])
    strength = np.array([1.0, 0.6, 0.2]) * (1 + 0.1 * ionization[:, None]) * (1 - 0.1 * np.log(metals))[:, None, None]
    jump = (wavelength / 5000.0) ** 0.2 * np.where(wavelength < 3646.0, 1.0, 0.4)
    at = np.array(list(LINES.values()))
    ratios = np.stack([np.full(4, 8.0), np.ones(4), 10.0 ** (0.5 * ionization + 1.2), np.full(4, 2.9)], axis=-1)
    return {
        "log_metallicity": np.log10(metals),
        "age": age,
        "stars": stars,
        "living_mass": np.broadcast_to(1 - 0.06 * np.log1p(age / 1e-3), (metals.size, age.size)).copy(),
        "nebular/log_ionization": ionization,
        "nebular/age_edges": edges,
        "nebular/continuum": 1e-13 * strength[..., None] * jump,
        "nebular/lines": 20.0 * strength[..., None] * ratios[None, :, None, :],
        "nebular/line_wavelength": at,
        "nebular/line_name": np.array(list(LINES)),
        "dust/q_pah": Q_PAH,
        "dust/u_min": U_MIN,
        "dust/minimum": dust(wavelength),
        "dust/range": dust(wavelength, hot=0.3),
    }


def dust(wavelength: np.ndarray, hot: float = 0.0) -> np.ndarray:
    """(q, u, n) 1/Hz of one Lsun in all: aromatic features, cold dust beyond the grid, and a share that is hot."""
    q, u = np.meshgrid(Q_PAH, U_MIN, indexing="ij")

    def bump(at: Any, width: float) -> np.ndarray:
        """Of unit luminosity: a Gaussian in ln(wavelength)."""
        x = np.log(wavelength / np.broadcast_to(at, q.shape)[..., None]) / width
        return np.exp(-0.5 * x**2) / (np.sqrt(2 * np.pi) * width) * wavelength / LIGHT_SPEED

    features = 0.02 * q[..., None]
    aromatic = 0.2 * bump(33000.0, 0.05) + 0.8 * bump(77000.0, 0.08)
    cold = (1 - hot) * bump(1.5e6 * u ** (-1 / 6), 0.4) + hot * bump(1e5, 0.5)
    return features * aromatic + (1 - features) * cold


def exact() -> ExactSynthesis:
    """The engine of the small grid, in the floating type that is enabled."""
    return _exact(jnp.result_type(float).name)


def small_grid() -> Grid:
    """The grid, in the floating type that is enabled."""
    return _grid(jnp.result_type(float).name)


def basis() -> BasisSynthesis:
    """The low-rank engine of the small grid, in the floating type that is enabled."""
    return _basis(jnp.result_type(float).name)


@cache
def _grid(_: str) -> Grid:
    with jax.ensure_compile_time_eval():
        return Grid.from_arrays(content(), FIRST, '{"name": "made up"}')


@cache
def _basis(_: str) -> BasisSynthesis:
    with jax.ensure_compile_time_eval():
        return BasisSynthesis.build(exact())


@cache
def _exact(_: str) -> ExactSynthesis:
    with jax.ensure_compile_time_eval():
        return ExactSynthesis(small_grid())
