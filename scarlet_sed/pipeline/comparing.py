"""One engine of stellar populations against another, in photometry, lines and gradients, over random galaxies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scarlet_sed.dust.attenuation_curves import Salim
from scarlet_sed.dust.base import Attenuation
from scarlet_sed.parameters import as_float
from scarlet_sed.photometry.cosmology import Cosmology
from scarlet_sed.photometry.filters import Filters
from scarlet_sed.spectrum.stellar_population import StellarPopulation
from scarlet_sed.sps.engine import Engine
from scarlet_sed.sps.histories.binned import Dirichlet
from scarlet_sed.sps.histories.delayed_tau import DelayedTau
from scarlet_sed.typing import Array, HostArray

Mask = NDArray[np.bool_]

_ACS = ("f435w", "f606w", "f775w", "f814w", "f850lp")
_SHORT_WAVE = ("f090w", "f115w", "f150w", "f182m", "f200w", "f210m")
_LONG_WAVE = ("f277w", "f335m", "f356w", "f410m", "f430m", "f444w", "f460m", "f480m")
BANDS = (*(f"acs_wfc_{name}" for name in _ACS), *(f"jwst_{name}" for name in (*_SHORT_WAVE, *_LONG_WAVE)))
"""The 19 bands of SBIPIX (Iglesias-Navarro et al. 2025): ACS and NIRCam."""

FAMILIES = ("delayed", "dirichlet")
BINS = 7
BLUEST = 1250.0
"""Rest-frame Angstrom: bands that reach bluer are left out, for there the intergalactic gas rules."""

_AGES = (("< 30 Myr", 0.0, 0.03), ("30-300 Myr", 0.03, 0.3), ("> 300 Myr", 0.3, 99.0))
_REDSHIFTS = ((0, 1), (1, 3), (3, 5), (5, 8))
_LEVELS = (50, 90, 99, 99.9, 100)
_CHUNK = 64


class Draw(NamedTuple):
    """Random galaxies, one a row: redshift and the parameters of `population`."""

    redshift: Any
    log_metallicity: Any
    log_ionization: Any
    times: Any
    av: Any
    birth_cloud: Any
    slope: Any
    bump: Any

    @staticmethod
    def random(family: str, count: int, seed: int) -> "Draw":
        """From wide priors: onset a uniform fraction of the age of the universe, tau log-uniform; or Dirichlet bins."""
        rng = np.random.default_rng([seed, FAMILIES.index(family)])
        redshift = rng.uniform(0.01, 8.0, count)
        if family == "delayed":
            universe = np.asarray(Cosmology().age(redshift))
            fraction = np.maximum(rng.uniform(0, 1, count), 2e-3 / universe)
            times = np.stack([fraction, 10 ** rng.uniform(-2, 2, count)], axis=1)
        else:
            times = rng.dirichlet(np.ones(BINS), count)
        metals, ionization = rng.uniform(-2.3, 0.69, count), rng.uniform(-4, 0, count)
        av, clouds = rng.uniform(0, 4, count), rng.uniform(1, 3, count)
        return Draw(
            redshift, metals, ionization, times, av, clouds, rng.uniform(-1, 0.4, count), rng.uniform(0, 4, count)
        )


def population(family: str, engine: Engine) -> StellarPopulation:
    """A population of a family, whose numbers draws replace."""
    if family == "delayed":
        history: DelayedTau | Dirichlet = DelayedTau(age_fraction=as_float(0.5), tau=as_float(1.0))
    else:
        history = Dirichlet(fractions=as_float(np.full(BINS, 1 / BINS)))
    one = as_float(1.0)
    dust = Attenuation(Salim(slope=as_float(0.0), bump=one), av=one, birth_cloud=one)
    return StellarPopulation(10.0, 0.0, -2.5, history=history, attenuation=dust, engine=engine)


def with_draw(pop: StellarPopulation, draw: Any) -> StellarPopulation:
    """The population with the numbers of one row of a `Draw`."""
    if isinstance(pop.history, DelayedTau):
        history = eqx.tree_at(lambda h: (h.age_fraction, h.tau), pop.history, (draw.times[0], draw.times[1]))
    else:
        history = eqx.tree_at(lambda h: h.fractions, pop.history, draw.times)
    dust, curve = pop.attenuation, pop.attenuation.curve  # type: ignore[union-attr]
    return eqx.tree_at(
        lambda p: (p.log_metallicity, p.log_ionization, p.history, p.attenuation),
        pop,
        (
            draw.log_metallicity,
            draw.log_ionization,
            history,
            eqx.tree_at(
                lambda a: (a.av, a.birth_cloud, a.curve),
                dust,
                (
                    draw.av,
                    draw.birth_cloud,
                    eqx.tree_at(lambda c: (c.slope, c.bump), curve, (draw.slope, draw.bump)),
                ),
            ),
        ),
    )


def mapped(function: Callable[..., Any], pop: StellarPopulation, draw: Draw) -> Any:
    """`function(population, redshift)` over the rows, in chunks of one size."""
    count = len(draw.redshift)
    padded = -(-count // _CHUNK) * _CHUNK
    rows = Draw(*(as_float(np.resize(a, (padded, *a.shape[1:]))) for a in draw))

    @eqx.filter_jit
    def chunk(pop: StellarPopulation, part: Draw) -> Any:
        return jax.vmap(lambda row: function(with_draw(pop, row), row.redshift))(part)

    parts = [chunk(pop, Draw(*(a[i : i + _CHUNK] for a in rows))) for i in range(0, padded, _CHUNK)]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves])[:count], *parts)


def photometry(pop: StellarPopulation, draw: Draw, filters: Filters) -> HostArray:
    """(row, band) nJy."""
    found: HostArray = mapped(lambda p, z: p.fluxes(filters, z), pop, draw)
    return found


def usable(draw: Draw, filters: Filters) -> Mask:
    """(row, band) whether a band lies redward of `BLUEST` in the rest frame."""
    rest: Mask = filters.limits[:, 0] / (1 + draw.redshift[:, None]) > BLUEST
    return rest


@dataclass(frozen=True)
class Comparison:
    """How one engine differs from another.

    Args:
        differences: by family, (row, band) magnitudes.
        draws: by family.
        bands: names.
        lines: by family, (row, line) dex for lines above a hundredth of H-beta.
        gradients: by family and parameter, the median relative error of the gradient of ln flux over bands.
        age: by family, (row,) mass-weighted age in Gyr.
    """

    differences: dict[str, HostArray]
    draws: dict[str, Draw]
    bands: tuple[str, ...]
    lines: dict[str, HostArray]
    gradients: dict[str, dict[str, float]]
    age: dict[str, HostArray]

    def levels(self, family: str, keep: Mask | None = None) -> list[float]:
        """|dm| in mmag at 50, 90, 99, 99.9 and 100 % of rows and bands."""
        dm = np.abs(self.differences[family])
        return percentiles(dm if keep is None else dm[keep])

    def rows(self) -> list[tuple[str, str, list[float]]]:
        """Family, cut and levels: all, by age, by redshift, by band."""
        found = []
        for family, draw in self.draws.items():
            found.append((family, "all", self.levels(family)))
            age = self.age[family]
            cuts = [(f"age {name}", (age >= low) & (age < high)) for name, low, high in _AGES]
            z = draw.redshift
            cuts += [(f"z {low}-{high}", (z >= low) & (z < high)) for low, high in _REDSHIFTS]
            found += [(family, name, self.levels(family, keep)) for name, keep in cuts if keep.any()]
            for index, band in enumerate(self.bands):
                found.append((family, band, percentiles(np.abs(self.differences[family][:, index]))))
        return found

    def correlation(self, family: str) -> float:
        """Mean correlation of the differences of neighbouring bands."""
        dm = np.where(np.isfinite(self.differences[family]), self.differences[family], 0.0)
        matrix = np.corrcoef(dm.T)
        return float(np.mean(np.diag(matrix, 1)))

    def as_json(self) -> dict[str, Any]:
        """All of it but the rows."""
        return {
            "levels": [{"family": f, "cut": c, "mmag": v} for f, c, v in self.rows()],
            "lines_dex": {f: percentiles(np.abs(v), 1.0) for f, v in self.lines.items()},
            "gradients": self.gradients,
            "neighbour_correlation": {f: self.correlation(f) for f in self.draws},
        }

    def table(self) -> str:
        """Text for people."""
        lines = [f"{'family':<10} {'cut':<16} {'50 %':>8} {'90 %':>8} {'99 %':>8} {'99.9 %':>8} {'max':>8}  mmag"]
        lines += [f"{f:<10} {c:<16} " + " ".join(f"{x:8.3f}" for x in v) for f, c, v in self.rows()]
        for family, dex in self.lines.items():
            lines.append(f"lines, {family}: " + " ".join(f"{x:.4f}" for x in percentiles(np.abs(dex), 1.0)) + " dex")
            named = ", ".join(f"{name} {100 * value:.2f} %" for name, value in self.gradients[family].items())
            lines.append(f"gradients, {family}, median error: {named}")
            lines.append(f"neighbouring bands, {family}: correlation {self.correlation(family):.2f}")
        return "\n".join(lines)


def percentiles(values: HostArray, unit: float = 1000.0) -> list[float]:
    """50, 90, 99, 99.9 and 100 % of what is finite, times `unit`."""
    finite = values[np.isfinite(values)]
    return [float(unit * np.percentile(finite, p)) for p in _LEVELS] if finite.size else [float("nan")] * len(_LEVELS)


def compare_engines(
    engine: Engine,
    reference: Engine,
    *,
    draws: int = 20_000,
    seed: int = 1,
    families: tuple[str, ...] = FAMILIES,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare two engines on the same random galaxies; half of the draws go to each family."""
    filters = Filters.load(BANDS)
    found = Comparison({}, {}, filters.names, {}, {}, {})
    for family in families:
        draw = Draw.random(family, draws // len(families), seed)
        pops = [population(family, e) for e in (engine, reference)]
        fluxes = [photometry(p, draw, filters) for p in pops]
        keep = usable(draw, filters) & (fluxes[1] > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.differences[family] = np.where(keep, -2.5 * np.log10(fluxes[0] / fluxes[1]), np.nan)
        found.draws[family] = draw
        found.age[family] = mapped(lambda p, z: p.mean_age(z), pops[1], draw)
        found.lines[family] = _line_differences(pops, draw)
        progress(f"{family}: photometry and lines of {len(draw.redshift)} galaxies compared")
        few = Draw(*(a[:1024] for a in draw))
        found.gradients[family] = _gradient_errors(pops, few, filters, keep[:1024])
        progress(f"{family}: gradients compared")
    return found


def _line_differences(pops: list[StellarPopulation], draw: Draw) -> HostArray:
    names = [name for name in pops[0].engine.line_names if name in pops[1].engine.line_names]

    def lines(p: StellarPopulation, z: Array) -> Array:
        found = p.line_luminosities(z)
        return jnp.stack([found[name] for name in names])

    new, old = (mapped(lines, p, draw) for p in pops)
    at = np.array([dict(zip(pops[0].engine.line_names, pops[0].engine.line_wavelength, strict=True))[n] for n in names])
    beta = old[:, np.argmin(np.abs(at - 4861.0))][:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((old > 0.01 * beta) & (beta > 0), np.log10(new / old), np.nan)


def _gradient_errors(pops: list[StellarPopulation], draw: Draw, filters: Filters, keep: Mask) -> dict[str, float]:
    def gradient(p: StellarPopulation, z: Array) -> tuple[StellarPopulation, Array]:
        numbers, rest = eqx.partition(p, eqx.is_array)
        engine, gas = p.engine, p.gas

        def log_flux(pair: tuple[StellarPopulation, Array]) -> Array:
            own = eqx.combine(pair[0], rest)
            whole = eqx.tree_at(lambda x: (x.engine, x.gas), own, (engine, gas), is_leaf=lambda x: x is None)
            return jnp.log(jnp.maximum(whole.fluxes(filters, pair[1]), 1e-30))

        bare = eqx.tree_at(lambda x: (x.engine, x.gas), numbers, (None, None))
        jacobian: tuple[StellarPopulation, Array] = jax.jacfwd(log_flux)((bare, z))
        return jacobian

    new, old = (mapped(gradient, p, draw) for p in pops)
    flat = [jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (new, old)]
    errors = {}
    for (path, a), (_, b) in zip(*flat, strict=True):
        name = jax.tree_util.keystr(path).strip("[]0.").split(".")[-1] or "redshift"
        mask = keep.reshape(*keep.shape, *(1,) * (a.ndim - 2))
        off, size = (np.sqrt(np.sum(np.square(np.where(mask, x, 0.0)), axis=1)) for x in (a - b, b))
        good = size > 1e-6
        if good.any():
            errors["redshift" if name in ("1", "") else name] = float(np.median(off[good] / size[good]))
    return errors
