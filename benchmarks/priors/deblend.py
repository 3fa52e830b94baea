"""Blends of two galaxies taken apart with several priors on their images: which finds shapes, fluxes and colours?

usage: python benchmarks/priors/deblend.py [--blends 216] [--kinds none sparse-3000 smooth normal flow scarlet2 ...]
                                           [--structured] [--off 0] [--keep build/deblend]

Galaxies are of the recipe that the priors were learnt from, with other seeds; `--structured` draws more of arms, clumps
and tails than they have seen. `--off 2` misplaces both centres by two pixels, which are then fitted. Each blend is kept
as it is done; run again to go on. Prints a table and writes benchmarks/results/priors_deblend*.json.

`guard-100` is `smooth` with neighbours kept apart (`Scene.flux_guard`), at a strength of 100.

Widths, as in `sparse-3000` and `monotonic-0.003`, are tuned on other blends: `--first 1000 --blends 36`. `scarlet2` is
that code as its guide sets it up, `scarlet2-wide` has larger boxes and steps; both are skipped where its environment,
which benchmarks/peer_env.sh makes, is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blends
import kinds
import numpy as np
import numpyro.distributions as dist

import scarlet_sed as ss
from scarlet_sed.files import atomic
from scarlet_sed.io.outputs import write_json
from scarlet_sed.priors.procedural import GALAXIES, Recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from jobs import RESULTS, peer, run
from table import markdown

STRUCTURED = GALAXIES._replace(
    kinds=(0.05, 0.35, 0.4, 0.05, 0.15), arms=(1.0, (0.5, 0.95), (0.1, 0.7)), clumps=((4, 16), (0.3, 0.7), (0.08, 0.2))
)
PEERS = {"scarlet2": (), "scarlet2-wide": ("--box", 33, "--image-step", 0.1)}
"""Arguments of `scarlet2_deblend.py`."""
TUNED = ("sparse-3000", "monotonic-0.003")
"""Of widths in steps of three, none is clearly better by median L2 on blends 1000 to 1035."""
PEER_TIMEOUT = 6 * 3600.0


def given_places(made: blends.Blend, off: float, seed: int) -> np.ndarray:
    """(2, 2) arcsec where a fit looks for the galaxies, `off` pixels beside them."""
    angles = np.random.default_rng([1, seed]).uniform(0, 2 * np.pi, 2)
    return made.places + off * blends.SCALE * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def start(
    made: blends.Blend, prior: Any, places: np.ndarray, free: float | None = None, guard: float = 0.0
) -> ss.Scene:
    """Both galaxies with a prior on their images, as `blends.source` places them."""
    level = np.asarray(made.data.data).sum(axis=(1, 2)).clip(30) / 2
    flux = ss.Parameter(level, dist.HalfNormal(np.full(len(blends.BANDS), 30 * level.max())))
    galaxies = {
        name: blends.source(place, flux, kinds.start(prior, blends.SCALE), free)
        for name, place in zip("ab", places, strict=True)
    }
    return ss.Scene(galaxies, ss.Frame.covering(made.data), flux_guard=guard)


def measure(made: blends.Blend, prior: Any, off: float, seed: int, guard: float) -> dict[str, Any]:
    """One blend, fitted."""
    begin = start(made, prior, given_places(made, off, seed), off * blends.SCALE if off else None, guard)
    begun = time.perf_counter()
    fitted = ss.fit(begin, made.data, progress=False, uncertainties=False)
    return {
        "seconds": time.perf_counter() - begun,
        "status": fitted.status.name,
        "steps": fitted.steps,
        "chi2": float(np.mean(list(fitted.chi2["five"].values()))),
        "errors": [errors._asdict() for errors in blends.errors(fitted.scene, made)],
    }


def peer_fits(kind: str, made: dict[int, blends.Blend], off: float, folder: Path) -> dict[int, dict[str, Any]]:
    """What `measure` gives, of blends that scarlet2 takes apart in its own environment; nothing where it cannot."""
    for seed, blend in made.items():
        path = folder / "for_peers" / f"{seed:05d}.npz"
        if not path.exists():
            peaks = blends.pixels(given_places(blend, off, seed))[:, ::-1].round()
            with atomic(path) as temporary:
                np.savez_compressed(temporary, **blends.arrays(blend), peaks=peaks)
    there = ("--blends", folder / "for_peers", "--to", folder / kind)
    report = run(peer(kind, "scarlet2_deblend", *there, *PEERS[kind]), PEER_TIMEOUT)
    if report["status"] != "ok":
        print(f"{kind}: {report['status']}: {report.get(report['status'])}")
        return {}
    found = {}
    for seed, blend in made.items():
        with np.load(folder / kind / f"{seed:05d}.npz") as file:
            errors = blends.errors_of(file["shapes"], file["fluxes"], blend)
            told = {name: float(file[name]) for name in ("seconds", "steps", "chi2")}
        found[seed] = {**told, "status": "", "errors": [each._asdict() for each in errors]}
    return found


def fits(
    chosen: Sequence[str], seeds: Sequence[int], recipe: Recipe, off: float, folder: Path
) -> dict[str, dict[int, dict[str, Any]]]:
    """What `measure` gives by kind and seed; what is kept in the folder is not done again."""
    known = kinds.priors()
    rows: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in chosen}
    for_peers: dict[str, dict[int, blends.Blend]] = {kind: {} for kind in chosen if kind in PEERS}
    for seed in seeds:
        made: blends.Blend | None = None
        for kind in chosen:
            path = kept(folder, kind, seed)
            if not path.exists():
                made = made or blends.blend(seed, recipe)
                if kind in PEERS:
                    for_peers[kind][seed] = made
                    continue
                keep(path, measure(made, kinds.of_kind(kind, known), off, seed, kinds.guard(kind)))
            rows[kind][seed] = json.loads(path.read_text())
        if seed % 18 == 17:
            print(f"{seed + 1} blends", flush=True)
    for kind, missing in for_peers.items():
        done = peer_fits(kind, missing, off, folder) if missing else {}
        for seed, row in done.items():
            keep(kept(folder, kind, seed), row)
        rows[kind] |= done
    return {kind: row for kind, row in rows.items() if len(row) == len(seeds)}


def kept(folder: Path, kind: str, seed: int) -> Path:
    return folder / f"{kind}-{seed:05d}.json"


def keep(path: Path, row: dict[str, Any]) -> None:
    """Write a row as it is: what is not finite has to come back."""
    text = json.dumps(row)
    with atomic(path) as temporary:
        temporary.write_text(text)


def summary(kind: str, signal: float | None, rows: list[dict[str, Any]], plain: list[dict[str, Any]]) -> list[str]:
    """One line of the table: medians over galaxies; `plain` are the same blends with the normal prior."""
    errors = {
        name: np.array([each[name] for row in rows for each in row["errors"]])
        for name in ("shape", "seen", "similarity", "flux", "colour")
    }
    normal = np.array([each["shape"] for row in plain for each in row["errors"]])
    better = f"{np.mean(errors['shape'] < normal):.0%}" if len(normal) == len(errors["shape"]) else ""
    return [
        kind,
        "all" if signal is None else f"{signal:.0f}",
        str(errors["shape"].size),
        f"{np.median(errors['shape']):.3f}",
        f"{np.median(errors['seen']):.3f}",
        f"{np.median(errors['similarity']):.3f}",
        f"{np.median(errors['flux']):+.3f}",
        f"{np.median(np.abs(errors['flux'])):.3f}",
        f"{np.median(np.abs(errors['colour'])):.3f}",
        "" if kind == "normal" else better,
        f"{max(row['chi2'] for row in rows):.3f}",
        f"{np.median([row['seconds'] for row in rows]):.2f}",
    ]


HEAD = (
    *("prior", "S/N", "galaxies", "L2", "L2 seen", "similarity", "flux bias", "|flux|", "|colour|"),
    *("nearer", "chi2, worst", "s"),
)


def main() -> int:
    """Measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blends", type=int, default=216)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=["none", *TUNED, "smooth", "normal", "flow", *PEERS])
    parser.add_argument("--structured", action="store_true")
    parser.add_argument("--off", type=float, default=0.0)
    parser.add_argument("--keep", type=Path, default=Path("build/deblend"))
    options = parser.parse_args()
    name = ("_structured" if options.structured else "") + (f"_off{options.off:g}" if options.off else "")
    seeds = range(options.first, options.first + options.blends)
    recipe = STRUCTURED if options.structured else GALAXIES
    rows = fits(options.kinds, seeds, recipe, options.off, options.keep / (name or "_plain"))
    table = []
    for signal in (*blends.SIGNALS, None):
        own = [seed for seed in seeds if signal in (None, blends.cells()[seed % len(blends.cells())][0])]
        if not own:
            continue
        plain = [rows["normal"][seed] for seed in own] if "normal" in rows else []
        table += [summary(kind, signal, [rows[kind][seed] for seed in own], plain) for kind in rows]
    print(markdown(HEAD, table))
    told = {"head": HEAD, "table": table, "blends": options.blends, "load_1min": os.getloadavg()[0]}
    write_json(RESULTS / f"priors_deblend{name}{f'_from{options.first}' if options.first else ''}.json", told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
