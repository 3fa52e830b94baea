"""A galaxy that is either near and dusty or a Lyman break far away, blended with a neighbour: are both modes weighed?

usage: python benchmarks/amortized/bimodal.py [--posterior jades_delayed] [--draws 1000] [--seed 1]

Shapes and places are known, the fluxes of the neighbour are free, so that the images tell the galaxy one flux a band
and its error; what share of the posterior lies below REDSHIFT is known from 600,000 draws of the prior, weighted by
these. Among noises the one is taken that makes the modes most alike. `sample` draws without global moves and with
them. Prints a table, writes benchmarks/results/amortized_bimodal.json and a figure.
"""

from __future__ import annotations

import argparse
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import results

import scarlet_sed as ss
from scarlet_sed.amortized.model import AMPLITUDE, library
from scarlet_sed.amortized.posterior import effective as effective_draws
from scarlet_sed.parameters import Parameter

BANDS = ("f090w", "f115w", "f150w", "f200w", "f277w", "f356w", "f444w")
FILTERS = ss.Filters.load(list(BANDS))
LIGHT = {"galaxy": ((-0.09, 0.0), ss.Exponential(0.06)), "neighbour": ((0.15, 0.06), ss.Gaussian(0.1))}
NOISE = 0.25
SCALE = 0.03
REDSHIFT = 5.0
"""Between the modes."""
PRIOR = 600_000
MASSES = 24
NOISES = 60


def blend(posterior: ss.AmortizedPosterior) -> tuple[ss.Scene, ss.Observation]:
    """The scene with its truth as values, and its images without noise."""
    psfs = [ss.PSF.gaussian(width) for width in np.linspace(1.4, 4.5, len(BANDS))]
    blank = ss.Observation(np.zeros((len(BANDS), 40, 40)), FILTERS, psfs, sigma=NOISE, pixel_scale=SCALE, name="o")
    truth = ss.deep_field_population().set(
        {"log_mass": 8.4, "attenuation.av": 0.25, "log_metallicity": -0.9, "history.age_fraction": 0.5}
    )
    fluxes = Parameter(np.linspace(20.0, 45.0, len(BANDS)), dist.Normal(30.0, 100.0))
    sources = {
        name: ss.Source(place, spectrum * shape, *redshift)
        for (name, (place, shape)), (spectrum, *redshift) in zip(
            LIGHT.items(),
            ((truth, Parameter(9.2, posterior.redshift)), (ss.FreeSpectrum(fluxes, FILTERS.names),)),
            strict=True,
        )
    }
    made = ss.Scene(sources, ss.Frame.covering(blank))
    return made, blank.with_data(ss.render(made, blank))


def seen_fluxes(scene: ss.Scene, observation: ss.Observation, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(image, band) fluxes of the galaxy by least squares with the neighbour, and (band,) errors, neighbour free."""
    shapes = []
    for name, (place, shape) in LIGHT.items():
        alone = ss.Source(place, ss.FreeSpectrum(np.ones(len(BANDS)), FILTERS.names) * shape)
        shapes.append(np.asarray(ss.render(ss.Scene({name: alone}, scene.frame), observation), float))
    fluxes, errors = [], []
    for band in range(len(BANDS)):
        design = np.stack([shape[band].ravel() for shape in shapes], axis=1) / NOISE
        covariance = np.linalg.inv(design.T @ design)
        fluxes.append((images[:, band].reshape(len(images), -1) / NOISE @ design @ covariance)[:, 0])
        errors.append(np.sqrt(covariance[0, 0]))
    return np.stack(fluxes, axis=1), np.array(errors)


def weighed(posterior: ss.AmortizedPosterior, flux: np.ndarray, sigma: np.ndarray, unit: np.ndarray, away: np.ndarray):
    """(draw,) likelihoods of spectra drawn from the prior, over the highest; each is summed over masses.

    Args:
        posterior: whose prior of the mass is uniform.
        flux, sigma: (band,).
        unit: (draw, band) fluxes at the library's mass.
        away: (draw, mass) dex from each spectrum's best mass, uniform: others have no likelihood.
    """
    low, high = (float(end) for end in posterior.described.ends)
    weight = 1 / sigma**2
    best = np.log10(np.maximum((unit * weight) @ flux, 1e-6) / np.sum(unit**2 * weight, axis=1)) + AMPLITUDE
    chi2 = np.empty(away.shape)
    for number, step in enumerate(away.T):
        mass = best + step
        brightness = np.where((mass > low) & (mass < high), 10.0 ** (mass - AMPLITUDE), np.inf)
        off = np.where(np.isfinite(brightness), brightness, 0.0)[:, None] * unit - flux
        chi2[:, number] = np.where(np.isfinite(brightness), np.sum((off / sigma) ** 2, axis=1), np.inf)
    return np.sum(np.exp(-0.5 * (chi2 - chi2.min())), axis=1)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posterior", default="jades_delayed")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    posterior = ss.load_amortized(options.posterior)
    scene, clean = blend(posterior)
    rng = np.random.default_rng(options.seed)
    noise = NOISE * rng.normal(size=(NOISES, *clean.shape))
    flux, sigma = seen_fluxes(scene, clean, np.asarray(clean.data) + noise)
    print("flux", np.array2string(flux.mean(axis=0), precision=1), "error", np.array2string(sigma, precision=2))

    spectra = library(posterior.described, posterior.redshift, FILTERS, PRIOR, 9)
    unit, redshift = np.asarray(spectra.flux, float), np.asarray(spectra.redshift, float)
    away = rng.uniform(-1.0, 1.0, (PRIOR, MASSES))
    shares = []
    for each in flux:
        total = weighed(posterior, each, sigma, unit, away[:, :4])
        shares.append(total[redshift < REDSHIFT].sum() / total.sum())
    shares = np.array(shares)
    chosen = int(np.argmin(np.abs(shares - 0.5)))
    total = weighed(posterior, flux[chosen], sigma, unit, away)
    share = total[redshift < REDSHIFT].sum() / total.sum()
    effective = total.sum() ** 2 / np.sum(total**2)
    print(f"noise {chosen}: share below {REDSHIFT:g} {share:.3f}, {effective:.0f} effective draws of the prior")
    print("shares of all noises", np.array2string(np.sort(shares), precision=2))
    found = {"share": float(share), "effective": float(effective), "load": os.getloadavg(), "runs": []}

    # the same from the network's draws
    padded = np.full((1, len(posterior.filters)), np.nan)
    errors = padded.copy()
    places = list(FILTERS.places_in(posterior.filters))
    padded[0, places], errors[0, places] = flux[chosen], sigma
    own = posterior.sample(padded, errors, draws=20_000, seed=3)
    log_weights = posterior.log_weights(own, padded, errors)
    weights = np.exp(log_weights[0])
    z = own.values["redshift"][0]
    found["network"] = float(np.mean(z < REDSHIFT))
    found["importance"] = float(weights[z < REDSHIFT].sum() / weights.sum())
    found["importance_effective"] = float(effective_draws(log_weights)[0])
    print(f"network alone {found['network']:.3f}; its draws weighted {found['importance']:.3f} "
          f"({found['importance_effective']:.0f} effective)")  # fmt: skip

    observation = clean.with_data(np.asarray(clean.data) + noise[chosen])
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    edges = np.linspace(0, 12, 121)
    axes.hist(redshift, bins=edges, weights=total, density=True, color="0.8", label="prior draws, weighted")
    for label, moves in (("without moves", None), ("with moves", ss.spectrum_moves(posterior))):
        start = time.perf_counter()
        result = ss.sample(
            scene, observation, warmup=options.warmup, draws=options.draws, seed=5, moves=moves, progress=False
        )
        spent = time.perf_counter() - start
        each = np.asarray(result.draws["galaxy.redshift"])
        below = float(np.mean(each < REDSHIFT))
        crossed = int(np.sum((each[:, 1:] < REDSHIFT) != (each[:, :-1] < REDSHIFT)))
        run = {
            "moves": moves is not None, "share": below, "crossings": crossed, "seconds": spent,
            "by_chain": [float(v) for v in np.mean(each < REDSHIFT, axis=1)], "status": result.status.name,
        }  # fmt: skip
        found["runs"].append(run)
        print(f"{label}: share {below:.3f} (truth {share:.3f}), by chain "
              f"{np.array2string(np.array(run['by_chain']), precision=2)}, {crossed} crossings, {run['status']}, "
              f"{spent:.0f} s", flush=True)  # fmt: skip
        axes.hist(each.ravel(), bins=edges, density=True, histtype="step", lw=1.6, label=label)
    axes.set(xlabel="redshift", ylabel="density", yscale="log")
    axes.legend()
    results.draw("bimodal", figure)
    results.write("amortized_bimodal", found)


if __name__ == "__main__":
    main()
