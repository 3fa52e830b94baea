"""Do priors rank galaxies above their corrupted images? And is the gradient of each log-density that of its values?

usage: python benchmarks/priors/ranking.py [--galaxies 200] [--seed 20000001] [--shared FOLDER]

Galaxies are of the recipe that the priors were learnt from, with other seeds, and real ones seen by HST. The area under
the curve (AUC) is the probability that an intact galaxy has a higher log-density than a corrupted one, of all pairs of
the two kinds; the second number is the share of galaxies that have a higher one than their own corrupted images.

Densities compare images only a unit of something. All are stated a unit of the numbers of `ImageCoordinates`, so that
the flow's has the volume of its bends, and those that know pixels have the volume of pixels. A second table states the
same densities a unit of pixels: what changes from one to the other is no property of a prior.

A density is highest where images have no details, and hardly any image is there. So one that is known exactly ranks
smoothed images above its own draws, as the rows of own draws show: an AUC below one half is not yet a failing of what
was learnt.

Prints tables and writes benchmarks/results/priors_ranking.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import galsim
import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from kinds import SHAPE, of_kind, priors
from scipy.ndimage import gaussian_filter, shift
from scipy.stats import mannwhitneyu

from scarlet_sed.io.outputs import write_json
from scarlet_sed.priors.base import standard_normal
from scarlet_sed.priors.coordinates import ImageCoordinates
from scarlet_sed.priors.gaussian import unit_images
from scarlet_sed.priors.procedural import stamps

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ours"))
from jobs import RESULTS
from table import markdown

ROOT = Path(__file__).resolve().parents[2]
Density = Callable[[jax.Array], jax.Array]
COORDINATES = ImageCoordinates(SHAPE)
SPARSE = "sparse-10"
CORRUPTIONS = ("noise 5 %", "noise 0.5 %", "shuffled", "blended", "smoothed 1", "smoothed 2")
UNITS = ("coordinates", "pixels")

HST_SCALE = 0.03
"""Arcsec; two by two pixels are added, which makes the PSF about as narrow as the recipe's."""
HST_SIDE = 2 * SHAPE[0]
HST_PEAK = 15.0
"""Least signal-to-noise of the brightest pixel of a stamp."""
WIDTHS = (8.0, 4.0, 2.0, 1.0, 0.0)
SIGNIFICANT = 5.0


def densities(known: Mapping[str, Any]) -> dict[str, Density]:
    """Natural logarithms of densities a unit of the (n - 1,) numbers of `ImageCoordinates`, up to a constant."""
    normal, flow = known["normal"].base, known["flow"].images

    def of_pixels(prior: Any) -> Density:
        def density(numbers: jax.Array) -> jax.Array:
            image = COORDINATES(numbers)
            return prior.log_prob(image) + volume(image)

        return density

    return {
        "normal": lambda numbers: standard_normal(normal.white(numbers)),
        "flow": lambda numbers: flow.log_density(flow.base.white(numbers)),
        "smooth": of_pixels(known["smooth"]),
        SPARSE: of_pixels(of_kind(SPARSE, dict(known))),
    }


def volume(images: jax.Array) -> jax.Array:
    """(...,) logarithm of the volume of pixels a unit of that of the coordinates' numbers, up to a constant.

    With slopes s of the softplus, pixels change by s (du - sum(s du) / sum(s)), whose determinant among changes that
    sum to zero is n prod(s) / sum(s).
    """
    slopes = -jnp.expm1(-images / COORDINATES.knee)
    return jnp.sum(jnp.log(slopes), axis=(-2, -1)) - jnp.log(jnp.sum(slopes, axis=(-2, -1)))


def corrupted(images: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """(image, y, x) images that sum to one, intact and in each of `CORRUPTIONS`, all with the floor of `unit_images`.

    Noise is a share of the peak, and what it makes negative is set to zero. Shuffling permutes the four pixels of every
    block of two by two. Blends have another galaxy of 0.5 to 2 times the flux, 4 to 8 pixels away. Smoothing is by a
    Gaussian of 1 or 2 pixels.

    Args:
        images: (image, y, x) that sum to one.
        others: as many more, to blend them with.
        rng: of all that is random.
    """
    peaks = images.max(axis=(1, 2), keepdims=True)
    noise = rng.normal(size=images.shape)
    blocks = images.reshape(-1, SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).swapaxes(2, 3)
    permuted = rng.permuted(blocks.reshape(*blocks.shape[:3], 4), axis=-1).reshape(blocks.shape)
    away, angles = rng.uniform(4, 8, len(images)), rng.uniform(0, 2 * np.pi, len(images))
    steps = np.round(away * np.stack([np.sin(angles), np.cos(angles)])).T
    fluxes = np.exp(rng.uniform(-1, 1, len(images)) * np.log(2))
    beside = [flux * shift(other, step, order=0) for other, step, flux in zip(others, steps, fluxes, strict=True)]
    made = (
        images,
        np.maximum(images + 0.05 * peaks * noise, 0),
        np.maximum(images + 0.005 * peaks * noise, 0),
        permuted.swapaxes(2, 3).reshape(images.shape),
        images + np.stack(beside),
        gaussian_filter(images, (0, 1, 1), mode="constant"),
        gaussian_filter(images, (0, 2, 2), mode="constant"),
    )
    return {name: unit_images(each) for name, each in zip(("intact", *CORRUPTIONS), made, strict=True)}


def ranked(galaxies: str, density: tuple[str, Density], images: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """How a prior ranks the intact over each corruption, in both units."""
    name, of_numbers = density
    evaluate = jax.jit(lambda some: (jax.lax.map(of_numbers, COORDINATES.inv(some), batch_size=50), volume(some)))
    found = {kind: [np.asarray(each) for each in evaluate(jnp.asarray(some))] for kind, some in images.items()}
    rows = []
    for unit in UNITS:
        levels = {kind: level - (unit == "pixels") * volumes for kind, (level, volumes) in found.items()}
        intact = levels["intact"]
        for kind in CORRUPTIONS:
            pairs = intact.size * levels[kind].size
            rows.append(
                {"galaxies": galaxies, "prior": name, "unit": unit, "corruption": kind, "count": intact.size}
                | {"auc": float(mannwhitneyu(intact, levels[kind]).statistic / pairs)}
                | {"paired": float(np.mean(intact > levels[kind]))}
                | {"intact": float(np.median(intact)), "change": float(np.median(levels[kind] - intact))}
            )
    return rows


def gradient_error(density: Density, images: np.ndarray, rng: np.random.Generator, step: float = 1e-4) -> float:
    """Largest difference of gradient and central differences along random directions, in units of the gradient's norm.

    Directions have a deviation of one in every number: the gradient's norm is what they find on average.
    """
    slope = jax.jit(lambda at, way: jax.jvp(density, (at,), (way,))[1])
    gradient, value = jax.jit(jax.grad(density)), jax.jit(density)
    worst = 0.0
    for at in COORDINATES.inv(jnp.asarray(images)):
        exact = gradient(at)
        for way in jnp.asarray(rng.normal(size=(4, at.size))):
            near, far = (value(at + s * step * way) - value(at - s * step * way) for s in (1, 2))
            differences = (8 * near - far) / (12 * step)
            errors = jnp.abs(jnp.array([exact @ way, slope(at, way)]) - differences)
            worst = max(worst, float(jnp.max(errors) / jnp.linalg.norm(exact)))
    return worst


class Seen(NamedTuple):
    """A real galaxy, and what it was seen with.

    Args:
        image: (y, x) counts, with noise.
        psf: of unit flux.
        noise: correlated, of pixels of `HST_SCALE`.
    """

    image: np.ndarray
    psf: galsim.InterpolatedImage
    noise: galsim.BaseCorrelatedNoise

    @property
    def deviation(self) -> float:
        """Of single pixels of `HST_SCALE`."""
        return float(np.sqrt(self.noise.getVariance()))


def hst_galaxies(folder: Path, seed: int) -> list[Seen]:
    """All that have a centre; where a stamp ends there is noise as its catalogue says."""
    catalogue = fits.getdata(folder / "real_galaxy_catalog_26_extension_example.fits", 1)
    random = galsim.BaseDeviate(seed)
    found = []
    with (
        fits.open(folder / "real_galaxy_images_extension.fits") as lights,
        fits.open(folder / "real_galaxy_PSF_images_extension.fits") as psfs,
    ):
        for row in catalogue:
            stamp = galsim.Image(lights[row["GAL_HDU"]].data.astype(float) - row["NOISE_MEAN"], scale=HST_SCALE)
            moments = galsim.hsm.FindAdaptiveMom(stamp, strict=False)
            if moments.moments_status:
                continue
            noise = hst_noise(folder, random, float(row["NOISE_VARIANCE"]))
            frame = galsim.Image(HST_SIDE, HST_SIDE, scale=HST_SCALE, dtype=float)
            frame.addNoise(noise)
            step = frame.true_center - moments.moments_centroid
            stamp.shift(round(step.x), round(step.y))
            both = frame.bounds & stamp.bounds
            frame[both] = stamp[both]
            psf = galsim.Image(psfs[row["PSF_HDU"]].data.astype(float))
            found.append(Seen(binned(frame), galsim.InterpolatedImage(psf, scale=HST_SCALE, flux=1.0), noise))
    return found


def hst_noise(folder: Path, random: galsim.BaseDeviate, variance: float) -> galsim.BaseCorrelatedNoise:
    """Noise as correlated as that of the stamps."""
    name = str(folder / "acs_I_unrot_sci_20_cf.fits")
    return galsim.getCOSMOSNoise(file_name=name, rng=random, cosmos_scale=HST_SCALE, variance=variance)


def binned(image: galsim.Image) -> np.ndarray:
    """Sums over two by two pixels."""
    height, width = image.array.shape
    return image.array.reshape(height // 2, 2, width // 2, 2).sum(axis=(1, 3))


def seen_by_hst(galaxy: np.ndarray, like: Seen) -> np.ndarray:
    """A galaxy with PSF, flux and noise of a real one."""
    pixels = galsim.Image(galaxy.astype(float))
    light = galsim.InterpolatedImage(pixels, scale=2 * HST_SCALE, flux=like.image.sum())
    # the PSF has the pixel in it
    image = galsim.Convolve(light, like.psf).drawImage(
        nx=HST_SIDE, ny=HST_SIDE, scale=HST_SCALE, method="no_pixel", dtype=float
    )
    image.addNoise(like.noise)
    return binned(image)


def widths_of_noise(folder: Path, seed: int) -> dict[float, float]:
    """Deviation of binned noise through Gaussians of `WIDTHS` over that of single pixels."""
    wide = galsim.Image(8 * HST_SIDE, 8 * HST_SIDE, scale=HST_SCALE, dtype=float)
    wide.addNoise(hst_noise(folder, galsim.BaseDeviate(seed), 1.0))
    return {width: float(gaussian_filter(binned(wide), width).std()) for width in WIDTHS}


def without_noise(image: np.ndarray, deviations: Mapping[float, float]) -> np.ndarray:
    """Every pixel through the narrowest Gaussian in which it stands out of the noise.

    This is the adaptive smoothing of Ebeling, White & Rangarajan (2006, MNRAS 368, 65).

    Args:
        image: with noise.
        deviations: of noise seen through Gaussians, from the widest to the narrowest.
    """
    found = gaussian_filter(image, max(deviations))
    for width, deviation in deviations.items():
        through = gaussian_filter(image, width)
        found = np.where(through > SIGNIFICANT * deviation, through, found)
    found = np.maximum(found, 0)
    return found / found.sum()


def hst_pairs(folder: Path, seed: int, first: int) -> dict[str, np.ndarray]:
    """Real galaxies of much signal-to-noise, and as many of the recipe seen likewise, without most of their noise."""
    noise = widths_of_noise(folder, seed)
    every = hst_galaxies(folder, seed)
    good = [each for each in every if each.image.max() > HST_PEAK * noise[0.0] * each.deviation]
    print(f"{len(good)} of {len(every)} HST galaxies have a peak of {HST_PEAK:g} times the noise")
    galaxies = stamps(len(good), SHAPE[0], seed, first=first)
    made = [seen_by_hst(galaxy, like) for galaxy, like in zip(galaxies, good, strict=True)]
    deviations = [{width: each.deviation * more for width, more in noise.items()} for each in good]
    return {
        "HST": np.stack([without_noise(each.image, own) for each, own in zip(good, deviations, strict=True)]),
        "procedural, as HST": np.stack([without_noise(each, own) for each, own in zip(made, deviations, strict=True)]),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rows, and the errors of gradients."""
    known = priors()
    every = densities(known)
    rng = np.random.default_rng([options.seed, 1])
    count = options.galaxies
    made = stamps(2 * count, SHAPE[0], options.seed).astype(float)
    images = corrupted(made[:count], made[count:], rng)
    rows = [row for density in every.items() for row in ranked("procedural", density, images)]
    few = np.concatenate([images["intact"][:3], images["blended"][:3]])
    errors = {name: gradient_error(density, few, rng) for name, density in every.items()}
    for name in ("normal", "flow"):
        own = np.asarray(known[name].sample(jax.random.key(options.seed), (2 * count,)))
        rows += ranked("own draws", (name, every[name]), corrupted(own[:count], own[count:], rng))
    folder = options.shared / "data" / "hst_stamps"
    if not folder.is_dir():
        reason = f"there is no {folder} (give --shared)"
        print(f"skipped HST: {reason}")
        return {"rows": rows, "gradient": errors, "skipped": {"HST": reason}}
    for galaxies, some in hst_pairs(folder, options.seed, 2 * count).items():
        images = corrupted(some, np.roll(some, 1, axis=0), rng)
        rows += [row for density in every.items() for row in ranked(galaxies, density, images)]
    return {"rows": rows, "gradient": errors}


def table(rows: list[dict[str, Any]], unit: str) -> str:
    """AUC, and the share of galaxies above their own corruption."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["unit"] == unit:
            line = found.setdefault((row["galaxies"], row["prior"], str(row["count"])), [])
            line.append(f"{row['auc']:.2f} / {row['paired']:.2f}")
    return markdown(("galaxies", "prior", "count", *CORRUPTIONS), [[*of, *cells] for of, cells in found.items()])


def main() -> int:
    """Measure and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galaxies", type=int, default=200)
    parser.add_argument(
        "--seed", type=int, default=20_000_001, help="2 is that of the galaxies that ship was learnt from"
    )
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("SCARLET_SED_SHARED", ROOT.parent / "shared"))
    )
    options = parser.parse_args()
    begun = time.perf_counter()
    with jax.enable_x64(True):
        told = measure(options)
    for unit in UNITS:
        print(f"\nAUC / share above their own, of densities a unit of {unit}\n{table(told['rows'], unit)}")
    print("\ngradients against five-point differences, float64")
    print(markdown(("prior", "worst error"), [[name, f"{error:.1e}"] for name, error in told["gradient"].items()]))
    told |= {"seed": options.seed, "seconds": time.perf_counter() - begun, "load_1min": os.getloadavg()[0]}
    write_json(RESULTS / "priors_ranking.json", told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
