"""The basis and the neural emulator against exact synthesis, and what each costs.

    .venv/bin/python benchmarks/populations/evaluate.py [--draws 20000] [--weights FILE]

Needs a grid: `scarlet-sed grid build`. Prints tables, and writes benchmarks/results/engines.json and a figure.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import sections

import scarlet_sed as ss
from scarlet_sed.pipeline.comparing import BANDS, Comparison, Draw, compare_engines, percentiles, population, with_draw
from scarlet_sed.pipeline.populations import default_grid
from scarlet_sed.sps.basis import BasisSynthesis
from scarlet_sed.sps.emulator.shipped import shipped_path
from scarlet_sed.sps.emulator.weights import read_emulator, read_header
from scarlet_sed.sps.engine import Engine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from against_bagpipes import PEER_PYTHON, theirs
from draws import make
from reference_parts import Curve
from table import markdown

ROOT = Path(__file__).resolve().parents[2]
FIGURES = Path(__file__).parent / "figures"
K = TypeVar("K")


def timed(calls: dict[K, Callable[[], Any]], rounds: int = 15, repeats: int = 4) -> dict[K, tuple[float, float]]:
    """Seconds of each call: the first beyond the median, and the median of later ones.

    Calls take turns, so that all meet the same load. A turn begins with one that fills the caches and does not count.
    """
    first, each = {}, {name: [] for name in calls}
    for name, call in calls.items():
        start = time.perf_counter()
        jax.block_until_ready(call())
        first[name] = time.perf_counter() - start
    for _ in range(rounds):
        for name, call in calls.items():
            jax.block_until_ready(call())
            for _ in range(repeats):
                start = time.perf_counter()
                jax.block_until_ready(call())
                each[name].append(time.perf_counter() - start)
    median = {name: float(np.median(seconds)) for name, seconds in each.items()}
    return {name: (first[name] - median[name], median[name]) for name in calls}


def speed(engines: dict[str, Engine], family: str, batch: int) -> dict[str, dict[str, float]]:
    """Microseconds a galaxy, everything included (dust, gas, lines, shift, filters), and seconds of compilation."""
    draw = Draw(*(jnp.asarray(a, jnp.float32) for a in Draw.random(family, batch, 7)))

    # populations and filters are arguments, as in a fit: of what is constant XLA makes slower programs
    def log_flux(pop: ss.StellarPopulation, filters: ss.Filters, row: Draw) -> jax.Array:
        return jnp.log(with_draw(pop, row).fluxes(filters, row.redshift) + 1e-6)

    def total(row: Draw, pop: ss.StellarPopulation, filters: ss.Filters) -> jax.Array:
        return jnp.sum(log_flux(pop, filters, row))

    def calls(engine: Engine) -> dict[str, Callable[[], Any]]:
        pop, filters = population(family, engine), ss.Filters.load(BANDS)
        forward = eqx.filter_jit(lambda pop, fs, draw: jax.vmap(lambda row: log_flux(pop, fs, row))(draw))
        each = jax.value_and_grad(total)
        gradient = eqx.filter_jit(lambda pop, fs, draw: jax.vmap(lambda row: each(row, pop, fs))(draw))
        return {"forward": partial(forward, pop, filters, draw), "gradient": partial(gradient, pop, filters, draw)}

    taken = timed({(name, label): call for name, e in engines.items() for label, call in calls(e).items()})
    found: dict[str, dict[str, float]] = {name: {} for name in engines}
    for (name, label), (compilation, run) in taken.items():
        found[name] |= {f"{label} us": run / batch * 1e6, f"{label} compile s": compilation}
    return found


def bagpipes() -> float | None:
    """Microseconds of `model_galaxy.update` as a user calls it, median of 300; None without its environment."""
    if not PEER_PYTHON.exists():
        print(f"bagpipes skipped: no environment at {PEER_PYTHON} (benchmarks/population_env.sh)")
        return None
    with tempfile.TemporaryDirectory() as scratch:
        for name in BANDS:
            curve = Curve(name)
            np.savetxt(Path(scratch) / f"{name}.txt", np.column_stack([curve.wavelength, curve.through]))
        return 1e6 * float(np.median(theirs(make(300, 11, bagpipes=True), Path(scratch), "--time")["seconds"]))


def figure(comparisons: dict[str, Comparison]) -> None:
    """|dm| by band and by redshift, 50 and 99 %."""
    FIGURES.mkdir(exist_ok=True)
    drawing, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for color, (name, comparison) in enumerate(comparisons.items()):
        for family, style in zip(comparison.draws, ("-", "--"), strict=False):
            dm = 1000 * np.abs(comparison.differences[family])
            redshift = comparison.draws[family].redshift
            edges = np.linspace(0, 8, 17)
            cells = [dm[(redshift >= a) & (redshift < b)] for a, b in pairwise(edges)]
            for level, alpha in ((50, 0.5), (99, 1.0)):
                label = f"{name}, {family}" if level == 99 else None
                axes[0].plot(
                    range(len(BANDS)), np.nanpercentile(dm, level, axis=0), style, color=f"C{color}", alpha=alpha,
                    label=label,
                )  # fmt: skip
                by_z = [np.nanpercentile(cell, level) for cell in cells]
                axes[1].plot(0.5 * (edges[1:] + edges[:-1]), by_z, style, color=f"C{color}", alpha=alpha)
    axes[0].set_xticks(range(len(BANDS)), [b.split("_")[-1] for b in BANDS], rotation=90)
    axes[0].set(yscale="log", ylabel="|dm| in mmag, 50 % (pale) and 99 %")
    axes[1].set(xlabel="redshift")
    drawing.legend(loc="outside upper center", ncols=4, fontsize=8)
    drawing.savefig(FIGURES / "engines.png", dpi=100)


def speed_ratios(costs: dict[str, dict[str, float]], peer: list[float]) -> dict[str, float]:
    """What the neural emulator gains in batches, from one run; bagpipes is timed before and after."""
    neural, exact = costs["neural"], costs["exact"]
    found = {f"exact over neural, {k}": exact[f"{k} us"] / neural[f"{k} us"] for k in ("forward", "gradient")}
    found |= {f"basis over neural, {k}": costs["basis"][f"{k} us"] / neural[f"{k} us"] for k in ("forward", "gradient")}
    if peer:
        found |= {
            "bagpipes, us": float(np.mean(peer)),
            "bagpipes over neural": float(np.mean(peer)) / neural["forward us"],
        }
    return found


def described(
    draws: int,
    name: str,
    comparisons: dict[str, Comparison],
    costs: dict[str, Any],
    ratios: dict[str, float],
    weights: Path,
) -> list[str]:
    """The section of the report."""
    parts = [
        f"`evaluate.py`, {draws} fresh galaxies, half of each family, {len(BANDS)} bands, redshifts 0.01-8, bands at "
        f"rest above 1250 A, lines included; weights {name[:12]}. |dm| in mmag."
    ]
    levels = ("50 %", "90 %", "99 %", "99.9 %", "largest")
    for engine, comparison in comparisons.items():
        rows = [[family, cut, *(f"{x:.3f}" for x in values)] for family, cut, values in comparison.rows()]
        parts.append(f"**{engine}**")
        parts.append(markdown(("family", "galaxies", *levels), rows))
        for family, dex in comparison.lines.items():
            slopes = ", ".join(f"{k} {100 * v:.2f} %" for k, v in comparison.gradients[family].items())
            parts.append(
                f"{family}: lines above 1 % of H-beta differ by "
                + " / ".join(f"{x:.4f}" for x in percentiles(np.abs(dex), 1.0)[:3])
                + f" dex at 50/90/99 %; median relative error of the gradient of ln flux: {slopes}; differences of "
                f"neighbouring bands correlate with {comparison.correlation(family):.2f}."
            )
    table = [
        [case, engine, *(f"{row[key]:.2f}" if "compile" in key else f"{row[key]:.0f}" for key in row)]
        for case, engines in costs.items()
        for engine, row in engines.items()
    ]
    heads = ("case", "engine", "forward (us a galaxy)", "compile (s)", "with gradient (us)", "compile (s)")
    told = ", ".join(f"{k} {v:.3g}" for k, v in ratios.items())
    parts.append(markdown(heads, table))
    parts.append(f"In the same run, delayed exponentials in batches of 64: {told}.")
    parts.append(
        "Error against the length of training, |dm| in mmag of each part of the light alone, on rows held out of the "
        "training's own distribution, with the minutes that a machine with other work took:"
    )
    parts.append(training_table(weights))
    parts.append("![by band and redshift](figures/engines.png)")
    return parts


def training_table(weights: Path) -> str:
    """What the weight file records: errors on rows held out, against the length of the training, part by part."""
    rows = []
    for part, last in read_header(weights)["training"]["parts"].items():
        runs = [last]
        while "before" in runs[0]:
            runs.insert(0, runs[0]["before"])
        steps, seconds = 0, 0.0
        for run in runs:
            record = run["record"]
            for entry in [e for e in record[:-1] if e["step"] in (4000, 8000, 16000, 32000)] + record[-1:]:
                errors = (f"{entry[level]:.2f}" for level in ("50 %", "90 %", "99 %", "99.9 %", "slope %"))
                rows.append([part, f"{steps + entry['step']:,}", f"{(seconds + entry['seconds']) / 60:.0f}", *errors])
            steps, seconds = steps + record[-1]["step"], seconds + record[-1]["seconds"]
    return markdown(("network", "steps", "minutes", "50 %", "90 %", "99 %", "99.9 %", "slopes (%)"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--weights")
    given = parser.parse_args()
    if not default_grid().exists():
        print(f"skipped: {default_grid()} is missing (scarlet-sed grid build)")
        return
    exact = ss.ExactSynthesis(ss.Grid.open(default_grid()))
    basis_file = default_grid().with_name("basis.npz")
    start = time.monotonic()
    basis = BasisSynthesis.open(basis_file, exact, progress=print)
    built = time.monotonic() - start
    weights = shipped_path() if given.weights is None else Path(given.weights)
    neural = read_emulator(weights)
    comparisons = {
        name: compare_engines(engine, exact, draws=given.draws, progress=print)
        for name, engine in (("basis", basis), ("neural", neural))
    }
    for name, comparison in comparisons.items():
        print(f"\n{name} against exact\n{comparison.table()}")
    engines: dict[str, Engine] = {"exact": exact, "basis": basis, "neural": neural}
    before = bagpipes()
    costs = {f"{family}, batch {batch}": speed(engines, family, batch) for family, batch in CASES}
    peer = [us for us in (before, bagpipes()) if us is not None]
    ratios = speed_ratios(costs[f"{CASES[0][0]}, batch {CASES[0][1]}"], peer)
    print("\n" + "\n".join(f"{name}: {value:.3g}" for name, value in ratios.items()))
    for case, table in costs.items():
        print(f"\n{case}")
        for name, row in table.items():
            print(f"  {name:<8}" + "  ".join(f"{key} {value:8.2f}" for key, value in row.items()))
    figure(comparisons)
    sections.put("evaluate", described(given.draws, neural.name, comparisons, costs, ratios, weights))
    result = {
        "draws": given.draws,
        "weights": neural.name,
        "load": os.getloadavg(),
        "basis seconds": built,
        "accuracy": {name: c.as_json() for name, c in comparisons.items()},
        "speed": costs,
        "ratios": ratios,
    }
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    (ROOT / "benchmarks/results/engines.json").write_text(json.dumps(result, indent=1) + "\n")


CASES = (("delayed", 64), ("delayed", 1), ("dirichlet", 64))

if __name__ == "__main__":
    main()
