"""The package's own answers for draws, in a process of its own so that float64 can be switched on.

usage: python run_ours.py DRAWS.npz OUT.npz --grid GRID.h5 [--x64] [--without lines] [--age-bins] ...
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from draws import BANDS, CALZETTI, DELAYED, DIRICHLET, LOG_MASS, Draws

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
CHUNK = 64


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draws", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--grid", type=Path, required=True)
    parser.add_argument("--x64", action="store_true", help="float64 throughout")
    parser.add_argument("--without", choices=("lines", "nebulae"), help="leave out")
    parser.add_argument("--age-bins", action="store_true", help="spectra constant in bagpipes' bins of age (test only)")
    parser.add_argument("--published-dust", action="store_true", help="Calzetti's curve with bagpipes' ends")
    parser.add_argument("--time", action="store_true", help="time single and batched calls")
    return parser.parse_args()


def grid_of(options: argparse.Namespace) -> Any:
    """The grid, changed as asked."""
    import h5py
    from age_bins import binned_content

    from scarlet_sed.sps.grid import Grid

    with h5py.File(options.grid, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        content = {name: file[name][()] for name in names if not name.startswith("dust/")}
        log_start = int(file.attrs["log_start"])
    if options.without:
        content["nebular/lines"] = 0 * content["nebular/lines"]
        if options.without == "nebulae":
            content["nebular/continuum"] = 0 * content["nebular/continuum"]
    if options.age_bins:
        content = binned_content(content)
    return Grid.from_arrays(content, log_start, "{}")


def main() -> None:
    """Compute and write."""
    options = parse()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["JAX_ENABLE_X64"] = "1" if options.x64 else "0"
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from age_bins import EDGES
    from published import PublishedCalzetti

    from scarlet_sed.dust.attenuation_curves import Calzetti, Salim
    from scarlet_sed.dust.base import Attenuation
    from scarlet_sed.photometry.filters import Filters
    from scarlet_sed.spectrum.stellar_population import StellarPopulation
    from scarlet_sed.sps.exact import ExactSynthesis
    from scarlet_sed.sps.histories.binned import Continuity, Dirichlet
    from scarlet_sed.sps.histories.delayed_tau import DelayedTau

    draws, filters = Draws.load(options.draws), Filters.load(BANDS)
    engine = ExactSynthesis(grid_of(options))

    edges = tuple(EDGES.tolist()) if options.age_bins else None

    def population(engine: ExactSynthesis, draw: Draws, family: int, curve: int) -> StellarPopulation:
        if family == DELAYED:
            history = DelayedTau(age_fraction=draw.age_fraction, tau=draw.tau)
        else:
            history = Dirichlet(draw.fractions, edges) if family == DIRICHLET else Continuity(draw.log_ratios)
        calzetti = PublishedCalzetti() if options.published_dust else Calzetti()
        dust = calzetti if curve == CALZETTI else Salim(draw.slope, draw.bump)
        attenuation = Attenuation(dust, draw.av, draw.birth_cloud)
        gas = {"log_metallicity": draw.log_metallicity, "log_ionization": draw.log_ionization}
        return StellarPopulation(LOG_MASS, **gas, history=history, attenuation=attenuation, engine=engine)

    def answers(engine: ExactSynthesis, draw: Draws, family: int, curve: int) -> dict[str, Any]:
        own, z = population(engine, draw, family, curve), draw.redshift
        return {
            "fluxes": own.fluxes(filters, z),
            "surviving": own.surviving_mass(z),
            "sfr100": own.sfr(z),
            "sfr10": own.sfr(z, 0.01),
            "mean_age": own.mean_age(z),
            "lines": jnp.stack(list(own.line_luminosities(z).values())),
            "dimmed_lines": jnp.stack(list(own.line_luminosities(z, attenuated=True).values())),
        }

    batched = eqx.filter_jit(
        lambda engine, draw, family, curve: jax.vmap(lambda d: answers(engine, d, family, curve))(draw)
    )
    found: dict[str, Any] = {}
    for family, curve in sorted(set(zip(draws.family.tolist(), draws.curve.tolist(), strict=True))):
        rows = np.flatnonzero((draws.family == family) & (draws.curve == curve))
        for begin in range(0, rows.size, CHUNK):
            part = rows[begin : begin + CHUNK]
            padded = draws.take(np.resize(part, CHUNK))
            given = Draws(*(jnp.asarray(c, float) if c.dtype.kind == "f" else jnp.asarray(c) for c in padded))
            result = batched(engine, given, family, curve)
            for name, values in result.items():
                host = np.asarray(values, np.float64)
                found.setdefault(name, np.zeros((draws.redshift.size, *host.shape[1:])))[part] = host[: part.size]
    found |= {"line_wave": np.array(engine.line_wavelength), "line_names": np.array(engine.line_names)}
    if options.time:
        single = eqx.filter_jit(lambda engine, d: population(engine, d, DELAYED, CALZETTI).fluxes(filters, d.redshift))
        many = eqx.filter_jit(
            lambda engine, d: jax.vmap(
                lambda one: population(engine, one, DELAYED, CALZETTI).fluxes(filters, one.redshift)
            )(d)
        )
        given = Draws(*map(jnp.asarray, draws.take(np.resize(np.arange(draws.redshift.size), CHUNK))))
        first = Draws(*(c[0] for c in given))
        found["seconds_single"] = _seconds(lambda: single(engine, first))
        found["seconds_batched"] = _seconds(lambda: many(engine, given)) / CHUNK
    found["load_1min"] = np.array(os.getloadavg()[0])
    np.savez(options.out, **found)


def _seconds(call: Any, repeats: int = 100) -> Any:
    """Median over repeats, after a first call that compiles."""
    call().block_until_ready()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call().block_until_ready()
        times.append(time.perf_counter() - begin)
    return np.median(times)


if __name__ == "__main__":
    main()
