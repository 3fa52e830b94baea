"""Check the exact synthesis of stellar populations against a direct quadrature, bagpipes and DSPS (`make
validate-populations`).

usage: python benchmarks/populations/validate.py [--only reference bagpipes dsps] [--count 2000] [--galaxies 1000]
       [--source FOLDER] [--grid FILE] [--render]

What lacks its input (the grid, bagpipes' data files, the environment of `benchmarks/population_env.sh`) is skipped with
the reason. Numbers go to `benchmarks/results/populations.json`, tables and pictures to REPORT.md beside this file. With
`--only`, the last numbers of the other comparisons are kept. About 15 minutes on 2 busy cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import against_bagpipes
import against_dsps
import against_reference
import report
from measures import FOLDER, Skipped

sys.path.insert(0, str(FOLDER.parent / "ours"))
from jobs import RESULTS, write_json

OUT = RESULTS / "populations.json"
TITLES = {
    "reference": "Exact synthesis against direct quadrature",
    "bagpipes": "Against bagpipes 1.3.6",
    "dsps": "Sums over stars against DSPS",
}
SECTIONS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "reference": report.reference_section,
    "bagpipes": report.bagpipes_section,
    "dsps": report.dsps_section,
}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES), help="comparisons to make")
    parser.add_argument("--render", action="store_true", help="write the report from the last numbers; run nothing")
    against_reference.options(parser)
    against_bagpipes.options(parser)
    return parser.parse_args()


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One comparison, its pictures drawn."""
    if name == "reference":
        found, arrays = against_reference.compare(options.count, options.parts, options.source, options.grid)
        report.pictures("reference", {"exact synthesis - reference": arrays["dm"]}, arrays)
    elif name == "bagpipes":
        found, arrays = against_bagpipes.compare(options.galaxies, options.resolution, options.grid)
        report.pictures("bagpipes", {"like for like": arrays["like"], "native": arrays["native"]}, arrays)
    else:
        found = against_dsps.compare(options.source)
    return found


def main() -> None:
    """Compare, print, write."""
    options = parse()
    results: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in () if options.render else options.only:
        begin = time.perf_counter()
        try:
            results[name] = compare(name, options)
        except Skipped as reason:
            print(f"{name} skipped: {reason}")
            # an older result stays, because nothing has contradicted it
            results.setdefault(name, {"skipped": str(reason)})
            continue
        results[name] |= {"date": time.strftime("%Y-%m-%d"), "minutes": (time.perf_counter() - begin) / 60}
        results["machine"] = {"cpus": os.cpu_count(), "load_1min": round(os.getloadavg()[0], 2)}
        write_json(OUT, results)
    sections: list[str] = []
    for name, title in TITLES.items():
        found = results.get(name, {"skipped": "not run yet"})
        made = report.skipped_section(title, found["skipped"]) if "skipped" in found else SECTIONS[name](found)
        sections += made
    print("\n\n".join(part for part in sections if not part.startswith("!")))
    dates = ", ".join(f"{name} {results[name]['date']}" for name in TITLES if "date" in results.get(name, {}))
    head = (
        "Made by `make validate-populations` ([validate.py](validate.py)); the numbers are in "
        f"`benchmarks/results/populations.json`. Last run: {dates or 'never'}."
    )
    report.write(FOLDER / "REPORT.md", head, sections)


if __name__ == "__main__":
    main()
