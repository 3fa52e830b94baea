"""What a fit returns."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from scarlet_sed.constraints import keeps_unit_sum
from scarlet_sed.infer.covariance import Laplace
from scarlet_sed.infer.families import FamilyValues
from scarlet_sed.infer.gaussian import Gaussian
from scarlet_sed.infer.posterior import LogPosterior, evaluate, source_images
from scarlet_sed.infer.status import FitStatus
from scarlet_sed.instrument.observation import Observation
from scarlet_sed.parameters import as_float
from scarlet_sed.scene.scene import Scene
from scarlet_sed.transforms import bijection
from scarlet_sed.typing import HostArray


class Timing(NamedTuple):
    """Seconds spent, and programs compiled (zero when equal shapes were fitted before)."""

    build: float
    compile: float
    run: float
    step: float
    uncertainties: float
    compilations: int


class FitResult(NamedTuple):
    """A fitted scene.

    Args:
        scene: the scene at the best iterate; parameters stay free.
        observations: the observations with fitted sky, calibration and shift.
        status: why the fit stopped, with advice.
        loss: (step,) minus log-posterior along the way.
        log_posterior: at the best iterate.
        chi2: chi-square per unmasked pixel, by observation and band.
        models: (band, height, width) model image by observation, nJy, sky included.
        timing: seconds and compilations.
        uncertainties: standard deviations by path; None where they were not asked for.
        laplace: the Gaussian they come from.
        posterior: the log-posterior that was climbed.
        values: the best iterate as the posterior packs it.
    """

    scene: Scene
    observations: tuple[Observation, ...]
    status: FitStatus
    loss: HostArray
    log_posterior: float
    chi2: dict[str, dict[str, float]]
    models: dict[str, HostArray]
    timing: Timing
    uncertainties: dict[str, HostArray] | None
    laplace: Laplace | None
    posterior: LogPosterior
    values: FamilyValues

    @property
    def steps(self) -> int:
        """Number of optimiser steps taken."""
        return len(self.loss)

    def with_laplace(self, laplace: Laplace) -> "FitResult":
        """The same with uncertainties."""
        return self._replace(uncertainties=laplace.uncertainties, laplace=laplace)

    def gaussian(self, paths: Iterable[str]) -> Gaussian | None:
        """The Laplace approximation of some parameters, whose `spread` carries it through functions of them.

        Args:
            paths: of free parameters; those that the covariance leaves out (fixed numbers, images) stay out.

        Returns:
            None where there are no uncertainties, or none for these parameters.
        """
        if self.laplace is None:
            return None
        order = np.asarray(self.laplace.order)
        known = {path: self.scene.parameters[path] for path in paths if path in order}
        known = {path: parameter for path, parameter in known.items() if not keeps_unit_sum(parameter.prior)}
        if not known:
            return None
        rows = [np.flatnonzero(order == path) for path in known]
        every = np.concatenate(rows)
        eigenvalues, vectors = np.linalg.eigh(self.laplace.covariance[np.ix_(every, every)])
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
        best = {path: bijection(p.prior, p.value.shape).inv(p.value) for path, p in known.items()}
        ends = np.cumsum([len(own) for own in rows])
        parts = zip(best.items(), np.split(root, ends[:-1]), strict=True)
        roots = {path: as_float(part.reshape(*np.shape(u), -1)) for (path, u), part in parts}
        return Gaussian({path: p.prior for path, p in known.items()}, best, roots)

    def source_models(self) -> dict[str, dict[str, HostArray]]:
        """De-blended light: source name -> observation name -> (band, height, width) nJy, PSF-convolved, no sky."""
        program = self.posterior.program
        found: dict[str, dict[str, HostArray]] = {}
        for index, name in enumerate(self.scene.sources):
            drawn = source_images(program, self.values, np.int32(index))
            found[name] = {o.name: np.asarray(i) for o, i in zip(self.observations, drawn, strict=True)}
        return found


def make_result(
    posterior: LogPosterior, values: FamilyValues, status: FitStatus, loss: HostArray, timing: Timing
) -> FitResult:
    """The result at these parameter values."""
    scene, observations = posterior.at(values)
    found = evaluate(posterior.program, values)
    models = {o.name: np.asarray(image) for o, image in zip(observations, found.images, strict=True)}
    chi2 = {}
    for observation, squares in zip(observations, found.chi2, strict=True):
        used = np.sum(np.asarray(observation.weights) > 0, axis=(1, 2))
        per_band = np.asarray(squares, float) / np.maximum(used, 1)
        chi2[observation.name] = dict(zip(observation.filters.names, per_band.tolist(), strict=True))
    return FitResult(
        scene,
        observations,
        status,
        loss,
        float(np.asarray(found.log_prob)),
        chi2,
        models,
        timing,
        None,
        None,
        posterior,
        values,
    )
