"""How good an amortized posterior is on simulated objects that it has never seen, beside the exact posterior.

usage: python benchmarks/amortized/gates.py POSTERIOR [--objects 80000] [--most 12000] [--missing 0 5 10] [--exact 200]
                                            [--free]

Most objects of the priors are bright: of so many drawn, each bin of signal-to-noise keeps the first `--most`.
Tables: bias, rms, R2, coverage, widths and PIT by signal-to-noise and missing bands; all numbers together (TARP); the
same of some objects of each bin refined to the exact posterior, whose numbers are the ceiling, and the ratio of widths;
importance weights; redshifts; seconds. Writes benchmarks/results/amortized_NAME.json.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import results

from scarlet_sed.amortized.assess import SIGNALS, Simulations, assess, quantities, row_of, simulations, without
from scarlet_sed.amortized.file import read_amortized
from scarlet_sed.amortized.posterior import effective
from scarlet_sed.amortized.refine import refine
from scarlet_sed.amortized.survey import Survey
from scarlet_sed.pipeline.amortized import table_of

POOL = 640
"""Draws of the network that refined ones are picked from."""


def exact(posterior, made, missing: int, known: bool, count: int, seed: int) -> list[dict]:
    """Rows of the network and of the exact posterior for the first `count` objects of each bin."""
    found = []
    z = made.values["redshift"]
    fluxes = without(made.fluxes, missing, seed)
    for low, high in pairwise(SIGNALS):
        own = np.flatnonzero((made.signal >= low) & (made.signal < high))[:count]
        given = z[own] if known else None
        drawn = posterior.sample(fluxes[own], made.errors[own], given, draws=POOL, seed=seed + 5)
        start = time.process_time()
        better = refine(posterior, fluxes[own], made.errors[own], given, pool=POOL, seed=seed + 5)
        seconds = time.process_time() - start
        truths = quantities(posterior, {p: v[own][:, None] for p, v in made.values.items()}, z[own][:, None])
        rows = {}
        for name, values in (("network", drawn.values), ("exact", better.values)):
            shape = next(iter(values.values())).shape[:2]
            at = np.repeat(z[own][:, None], shape[1], axis=1) if known else values["redshift"]
            judged = quantities(posterior, values, at)
            rows[name] = {
                q: row_of(q, (low, high), missing, each, truths[q][:, 0])._asdict()
                for q, each in judged.items()
                if not (known and q == "ln(1+z)")
            }
            rows[name + " widths"] = {
                q: 0.5 * np.diff(np.quantile(each, (0.16, 0.84), axis=1), axis=0)[0] for q, each in judged.items()
            }
        wide, narrow = rows.pop("network widths"), rows.pop("exact widths")
        ratio = {q: float(np.median(wide[q] / np.maximum(narrow[q], 1e-9))) for q in rows["exact"]}
        found.append(
            {
                "signal": (low, high),
                "missing": missing,
                "objects": len(own),
                "efficiency": float(np.median(better.effective / POOL)),
                "efficiency_10": float(np.quantile(better.effective / POOL, 0.1)),
                "accepted": float(np.median(better.accepted)),
                "refined_per_cpu_second": len(own) / seconds,
                "width_ratio": ratio,
                **rows,
            }
        )
    return found


def kept(made: Simulations, most: int) -> Simulations:
    """The first objects of each bin of signal-to-noise."""
    own = np.sort(
        np.concatenate(
            [np.flatnonzero((made.signal >= low) & (made.signal < high))[:most] for low, high in pairwise(SIGNALS)]
        )
    )
    values = {path: v[own] for path, v in made.values.items()}
    return Simulations(made.fluxes[own], made.errors[own], values, made.signal[own])


def weighed(posterior, made: Simulations, known: bool, count: int, seed: int) -> float:
    """Median share of effective draws of the first objects, nothing missing."""
    flux, error = made.fluxes[:count], made.errors[:count]
    z = made.values["redshift"][:count] if known else None
    drawn = posterior.sample(flux, error, z, draws=POOL, seed=seed + 6)
    weights = posterior.log_weights(drawn, flux, error, z)
    return float(np.median(effective(weights, drawn.leak)) / POOL)


def main() -> None:
    """Judge one posterior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("posterior", type=Path)
    parser.add_argument("--objects", type=int, default=80_000)
    parser.add_argument("--most", type=int, default=12_000)
    parser.add_argument("--weighed", type=int, default=400, help="objects as they come whose draws are weighed")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--missing", type=int, nargs="+", default=[0, 5, 10])
    parser.add_argument("--exact", type=int, default=200)
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    posterior, record = read_amortized(options.posterior)
    made = simulations(posterior, Survey.of_plain(record["record"]["survey"]), options.objects, options.seed)
    known = not options.free
    usual = weighed(posterior, made, known, options.weighed, options.seed)
    print(f"importance ESS/N, median of {options.weighed} objects as they come: {usual:.3f}")
    made = kept(made, options.most)
    start = time.process_time()
    found = assess(posterior, made, missing=options.missing, known=known, draws=options.draws, seed=options.seed)
    spent = time.process_time() - start
    print("\n".join(table_of(found)))
    print(f"assessed in {spent:.0f} CPU-s")
    result = {
        "posterior": options.posterior.name,
        "free": options.free,
        "objects": len(made.signal),
        "efficiency": usual,
        "load": os.getloadavg(),
        "rows": [row._asdict() for row in found.rows],
        "joint": [row._asdict() for row in found.joint],
    }
    if options.free:
        drawn = posterior.sample(made.fluxes, made.errors, draws=options.draws, seed=options.seed)
        away = (np.median(drawn.values["redshift"], axis=1) - made.values["redshift"]) / (1 + made.values["redshift"])
        result["redshift"] = []
        for low, high in pairwise(SIGNALS):
            own = away[(made.signal >= low) & (made.signal < high)]
            nmad = float(1.4826 * np.median(np.abs(own - np.median(own))))
            outliers = float(np.mean(np.abs(own) > 0.15))
            result["redshift"].append({"signal": (low, high), "nmad": nmad, "outliers": outliers, "n": len(own)})
            print(f"redshift, S/N {low:g}-{high:g}: NMAD {nmad:.3f}, outliers {100 * outliers:.1f} %, {len(own)}")
    if options.exact:
        result["exact"] = []
        for missing in options.missing:
            for part in exact(posterior, made, missing, known, options.exact, options.seed):
                result["exact"].append(part)
                low, high = part["signal"]
                print(
                    f"\nS/N {low:g}-{high:g}, {missing} missing, {part['objects']} objects: importance ESS/N "
                    f"{part['efficiency']:.3f} (tenth {part['efficiency_10']:.3f}), refined "
                    f"{part['refined_per_cpu_second']:.1f} a CPU-second, {part['accepted']:.2f} accepted"
                )
                for q in part["exact"]:
                    net, top = part["network"][q], part["exact"][q]
                    print(
                        f"  {q:32s} R2 {net['r2']:6.3f} exact {top['r2']:6.3f}   rms {net['rms']:.3f} exact "
                        f"{top['rms']:.3f}   width {net['width']:.3f} exact {top['width']:.3f} ratio "
                        f"{part['width_ratio'][q]:.2f}   68 % {net['within68']:.2f} exact {top['within68']:.2f}"
                    )
    name = f"amortized_{options.posterior.stem}_{'free' if options.free else 'given'}"
    print(f"wrote {results.write(name, result)}")


if __name__ == "__main__":
    main()
