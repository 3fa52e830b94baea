"""Low-rank synthesis: spectra of a grid as sums of a few, exactly linear in the weights of the history."""

from collections.abc import Callable
from pathlib import Path
from typing import final

import equinox as eqx
import numpy as np

from scarlet_sed.errors import FileFormatError
from scarlet_sed.files import atomic
from scarlet_sed.parameters import as_float
from scarlet_sed.sps.domain import Domain
from scarlet_sed.sps.exact import AgeAxes, ExactSynthesis, GridSynthesis, Weights
from scarlet_sed.typing import Array, HostArray

COMPONENTS = {"old": 150, "young": 50, "nebular": 50}
_SWEEPS = 3
_FIELDS = ("coefficients", "basis")


class LowRank(eqx.Module):
    """Spectra as coefficients times a basis.

    Args:
        coefficients: (row, component).
        basis: (component, cell) in the unit of the spectra.
    """

    coefficients: Array
    basis: Array

    def __call__(self, weights: Array) -> Array:
        """(cell,) the weighted sum of the spectra."""
        return (weights @ self.coefficients) @ self.basis


@final
class BasisSynthesis(GridSynthesis):
    """The grid in a flux-space basis of low rank: nearly exact, for any history, and a few times faster.

    A plain singular value decomposition fits where flux is large and fails in the faint ultraviolet of old stars.
    The basis here minimises the sum over spectra and cells of ((model - flux) / flux)^2 by alternating weighted least
    squares (Gabriel & Zamir 1979, Technometrics 21, 489).
    """

    axes: AgeAxes
    old: LowRank
    young: LowRank
    nebular: LowRank
    lines: Array
    living: Array
    domain: Domain = eqx.field(static=True)
    log_start: int = eqx.field(static=True)
    cells: int = eqx.field(static=True)
    line_wavelength: tuple[float, ...] = eqx.field(static=True)
    line_names: tuple[str, ...] = eqx.field(static=True)

    @staticmethod
    def build(
        exact: ExactSynthesis, *, cells: int | None = None, progress: Callable[[str], None] = lambda _: None
    ) -> "BasisSynthesis":
        """Fit the basis of a grid (well under a minute for BC03).

        Args:
            exact: the grid's synthesis.
            cells: how many of its cells to keep; None keeps all.
            progress: called with a line about each part.
        """
        parts = {}
        for name, rank in COMPONENTS.items():
            spectra = np.asarray(getattr(exact, name), np.float32)[:, :cells]
            coefficients, basis, error = relative_low_rank(spectra, rank)
            parts[name] = LowRank(as_float(coefficients), as_float(basis))
            progress(
                f"{name}: {min(rank, len(spectra))} components, root mean square of the relative error {error:.1e}"
            )
        return BasisSynthesis._of(exact, parts, exact.cells if cells is None else cells)

    @staticmethod
    def _of(exact: ExactSynthesis, parts: dict[str, LowRank], cells: int) -> "BasisSynthesis":
        return BasisSynthesis(
            axes=exact.axes,
            **parts,
            lines=exact.lines,
            living=exact.living,
            domain=exact.domain,
            log_start=exact.log_start,
            cells=cells,
            line_wavelength=exact.line_wavelength,
            line_names=exact.line_names,
        )

    @staticmethod
    def open(
        path: str | Path, exact: ExactSynthesis, *, progress: Callable[[str], None] = lambda _: None
    ) -> "BasisSynthesis":
        """The basis in a cache file, or built and put there.

        Args:
            path: an .npz file.
            exact: the grid's synthesis, which axes, lines and living masses come from.
            progress: as for `build`.

        Raises:
            FileFormatError: if the file holds a basis of another grid, or is damaged.
        """
        path = Path(path)
        if not path.exists():
            made = BasisSynthesis.build(exact, progress=progress)
            parts = {name: getattr(made, name) for name in COMPONENTS}
            stored = {f"{n}.{field}": np.asarray(getattr(parts[n], field)) for n in parts for field in _FIELDS}
            with atomic(path) as temporary:
                np.savez(temporary, **stored)  # type: ignore[arg-type]
            return made
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = {n: LowRank(*(as_float(file[f"{n}.{field}"]) for field in _FIELDS)) for n in COMPONENTS}
        except Exception as error:
            problem = f"cannot read the basis {str(path)!r} ({error})"
            raise FileFormatError(problem, fix="remove it: it is remade") from error
        for name, part in found.items():
            rows = getattr(exact, name)
            if part.coefficients.shape[0] != rows.shape[0] or part.basis.shape[1] != rows.shape[1]:
                raise FileFormatError(f"the basis {str(path)!r} belongs to another grid", fix="remove it: it is remade")
        return BasisSynthesis._of(exact, found, exact.cells)

    def sums(self, weights: Weights) -> tuple[Array, Array]:
        return self.old(weights.old), self.young(weights.young) + self.nebular(weights.nebular)


def relative_low_rank(spectra: HostArray, rank: int) -> tuple[HostArray, HostArray, float]:
    """Coefficients and basis with the least mean square of relative errors.

    Args:
        spectra: (row, cell), not negative; entries below 1e-8 of their row's largest count with that error.
        rank: the number of components.

    Returns:
        (row, rank), (rank, cell), and the root mean square of the relative error.
    """
    rank = min(rank, *spectra.shape)
    largest = spectra.max(axis=1, keepdims=True)
    # rows of equal weight: each in units of its own largest value
    scale = np.where(largest > 0, largest, 1.0)
    target = (spectra / scale).astype(np.float64)
    weight = 1.0 / np.square(np.maximum(target, 1e-8)).astype(np.float64)
    # a start that knows about faint parts: the decomposition of the roots of relative brightness
    typical = np.exp(np.log(np.maximum(target, 1e-8)).mean(axis=0))
    basis: HostArray = np.linalg.svd(target / typical, full_matrices=False)[2][:rank] * typical
    coefficients: HostArray = np.zeros((len(target), rank))
    for _ in range(_SWEEPS):
        coefficients = _weighted_rows(target, weight, basis)
        basis = _weighted_rows(target.T, weight.T, coefficients.T).T
        # an orthonormal gauge keeps the systems well conditioned
        q, r = np.linalg.qr((basis / typical).T)
        basis, coefficients = q.T * typical, coefficients @ r.T
    coefficients = _weighted_rows(target, weight, basis)
    error = np.sqrt(np.mean(np.square(coefficients @ basis - target) * weight))
    return (coefficients * scale).astype(np.float32), basis.astype(np.float32), float(error)


def _weighted_rows(target: HostArray, weight: HostArray, basis: HostArray) -> HostArray:
    """For each row of the target, the coefficients of the basis with the least weighted square error."""
    rank = len(basis)
    upper = np.triu_indices(rank)
    products = (basis[upper[0]] * basis[upper[1]]).T
    found = np.empty((len(target), rank))
    for start in range(0, len(target), 512):
        chunk = slice(start, start + 512)
        normal = np.empty((len(target[chunk]), rank, rank))
        normal[:, upper[0], upper[1]] = normal[:, upper[1], upper[0]] = weight[chunk] @ products
        right = (weight[chunk] * target[chunk]) @ basis.T
        ridge = 1e-13 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / rank * np.eye(rank)
        found[chunk] = np.linalg.solve(normal + ridge, right[..., None])[..., 0]
    return found
