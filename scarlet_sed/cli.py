"""The command line: parse, call, report errors."""

import argparse
import sys
from collections.abc import Sequence

from scarlet_sed import pipeline
from scarlet_sed.errors import ScarletSEDError
from scarlet_sed.io.cache import use_compilation_cache

BAD_INPUT = 2
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """What may be typed."""
    top = argparse.ArgumentParser(prog="scarlet-sed", description="Model blended multi-band images of galaxies.")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    fit = commands.add_parser("fit", help="fit the images of a configuration and write catalogue, scene and report")
    fit.add_argument("config", help="TOML file; paths inside it are relative to its folder")
    fit.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    fit.add_argument("--quiet", action="store_true", help="no progress bars, no summary")

    check = commands.add_parser("check", help="read and validate everything, draw the inputs, fit nothing")
    check.add_argument("config", help="TOML file")
    check.add_argument("--out", metavar="DIR", help="folder for check.html")

    demo = commands.add_parser("demo", help="draw a JADES-like blend with GalSim, fit it, compare with the truth")
    demo.add_argument("--out", default="demo_out", metavar="DIR", help="folder for images and results (demo_out)")
    demo.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    demo.add_argument("--quiet", action="store_true", help="no progress bars, no summary")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 for bad input."""
    given = parser().parse_args(arguments)
    try:
        print_if(run(given))
    except ScarletSEDError as error:
        print(f"scarlet-sed: error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("scarlet-sed: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def run(given: argparse.Namespace) -> str:
    """Call what was asked for; returns what to print."""
    use_compilation_cache()
    if given.command == "check":
        return pipeline.run_check(given.config, given.out)
    if given.command == "demo":
        outcome = pipeline.run_demo(given.out, given.seed, progress=not given.quiet)
    else:
        outcome = pipeline.run_fit(given.config, given.out, progress=not given.quiet)
    return "" if given.quiet else outcome.summary()


def print_if(text: str) -> None:
    """Print text unless there is none."""
    if text:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
