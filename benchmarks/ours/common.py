"""What our own benchmark scripts share: the peers' blends and clocks, and logs of what the library does.

Import this before jax: it chooses the CPU and switches a compilation cache off, as the peer scripts do.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# the checkout that these scripts lie in is what is measured, installed or not
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks" / "peers")]

from blends import STAMP, Blend, SimulatedBlend  # noqa: E402
from measuring import PACKAGES, peak_memory_mb, use_plain_cpu  # noqa: E402

use_plain_cpu()
_import_begin = time.perf_counter()

import jax  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from numpyro.distributions import constraints  # noqa: E402

import scarlet_sed as ss  # noqa: E402
from scarlet_sed.infer import optimize  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - _import_begin
IMPORT_MEMORY_MB = peak_memory_mb()
OUR_PACKAGES = ("scarlet_sed", *(name for name in PACKAGES if name != "scarlet2"))
NEVER_CONVERGED = -np.inf
_EVENTS = {
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "backend",
}

Values = tuple[jax.Array, ...]


class CompileLog:
    """Every XLA compilation of this process, however small, from JAX's own events.

    Attributes:
        seconds: spent in `lowering` (to StableHLO) and in the compiler (`backend`). Tracing is not in it.
        count: number of programs compiled.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(_EVENTS.values(), 0.0)
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def _add(self, event: str, duration: float, **_: Any) -> None:
        if event in _EVENTS:
            self.seconds[_EVENTS[event]] += duration
            self.count += _EVENTS[event] == "backend"

    def report(self) -> dict[str, float]:
        """Seconds by phase, and the count."""
        return {**self.seconds, "count": self.count}


class ChunkLog:
    """Context manager that times every chunk of optimiser steps that `ss.fit` runs inside it.

    `ss.fit` runs `optimize.CHUNK` steps at a time on the device, so that a chunk is the least that a user waits for.

    Attributes:
        begin, end: clock readings (`time.perf_counter`) around each chunk.
        processor: processor seconds of each chunk, all threads together: other work disturbs them less.
        memory_mb: peak memory of the process after each chunk.
    """

    def __init__(self) -> None:
        self.begin: list[float] = []
        self.end: list[float] = []
        self.processor: list[float] = []
        self._best: list[tuple[Callable[[Values], Values], Values]] = []
        self.memory_mb: list[float] = []
        self._original: Callable[..., Any] = optimize._run_chunk

    def __enter__(self) -> ChunkLog:
        optimize._run_chunk = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        optimize._run_chunk = self._original

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        processor = time.process_time()
        self.begin.append(time.perf_counter())
        result = jax.block_until_ready(self._original(*arguments, **options))
        self.end.append(time.perf_counter())
        self.processor.append(time.process_time() - processor)
        self.memory_mb.append(peak_memory_mb())
        self._best.append((arguments[2], result[0].best))
        return result

    @property
    def best(self) -> list[Values]:
        """Best iterate after each chunk, in unconstrained numbers; computed only when asked for."""
        return [whitening(whitened) for whitening, whitened in self._best]

    @property
    def seconds(self) -> list[float]:
        """Duration of each chunk, the first with its tracing and compilation."""
        return [end - begin for begin, end in zip(self.begin, self.end, strict=True)]

    @property
    def loop_seconds(self) -> list[float]:
        """From the end of one chunk to the end of the next: a chunk and the Python work between chunks."""
        return [after - before for before, after in zip(self.end, self.end[1:], strict=False)]


def per_step(chunk_seconds: list[float]) -> list[float]:
    """Seconds per optimiser step of each chunk."""
    return [seconds / optimize.CHUNK for seconds in chunk_seconds]


def observe(
    blend: Blend, pixel_scale: float, oversampling: int | None = None, margin: int | None = None
) -> tuple[ss.Observation, ss.Frame]:
    """Observation and model frame of a blend without a WCS; the frame as the library chooses it by default.

    Args:
        blend: images, variances and PSFs, which include the pixel.
        pixel_scale: arcsec per pixel.
        oversampling: model pixels per pixel; None lets the library choose.
        margin: model pixels around the images; None lets the library choose.
    """
    bands = ss.Filters.generic(blend.bands)
    observation = ss.Observation(
        blend.images, bands, list(blend.psfs), variance=blend.variance, pixel_scale=pixel_scale, name=blend.name
    )
    return observation, ss.Frame.covering(observation, oversampling=oversampling, margin_px=margin)


def positions(observation: ss.Observation, frame: ss.Frame, peaks: NDArray[np.floating]) -> NDArray[np.floating]:
    """(source, 2) offsets (east, north) in arcsec of peaks (y, x) in pixels."""
    return observation.grid.offsets(peaks[:, 1], peaks[:, 0], frame.tangent_point)


def simulated_sources(
    kind: str, blend: SimulatedBlend, observation: ss.Observation, frame: ss.Frame
) -> dict[str, ss.Source]:
    """The sources of a simulated blend with the starts, boxes and free numbers that the peer gives them.

    Images and PSF sigmas are in pixels, and a pixel is one arcsec here. Priors are flat on the supports that the peer
    uses; a free image also sums to one, which takes one number away.
    """
    places = positions(observation, frame, blend.peaks)
    make = {"free": free_light, "sersic": sersic_light}[kind]
    sources = {}
    for index, (place, radius, flux) in enumerate(zip(places, blend.radii, blend.fluxes, strict=True)):
        position = ss.Parameter(place, constraints.real) if kind == "sersic" else place
        spectrum = ss.FreeSpectrum(ss.Parameter(flux, constraints.positive), observation.filters)
        sources[f"s{index}"] = ss.Source(position, spectrum * make(float(radius)), box=float(STAMP))
    return sources


def free_light(radius: float) -> ss.Morphology:
    """A free 41x41 image at the native pixel spacing that starts as a Gaussian of this sigma in arcsec."""
    row = np.exp(-0.5 * ((np.arange(STAMP) - STAMP // 2) / radius) ** 2)
    return ss.Pixels.from_image(np.outer(row, row), 1.0, floor=1e-6)


def sersic_light(radius: float) -> ss.Morphology:
    """A Sersic profile, everything free, started at 1.2 times this radius in arcsec."""
    return ss.Sersic(
        ss.Parameter(1.2 * radius, constraints.positive),
        ss.Parameter(1.0, constraints.interval(0.5, 6.0)),
        ss.Parameter(np.array([0.05, -0.05]), ss.ellipse),
    )
