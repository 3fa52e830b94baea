"""Amortized posteriors on disk, without pickle: one file with spectrum, priors, weights and the record of training."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from scarlet_sed.amortized.context_range import ContextRange
from scarlet_sed.amortized.expected import ExpectedFluxes
from scarlet_sed.amortized.model import Described
from scarlet_sed.amortized.networks import Networks, Sizes
from scarlet_sed.amortized.posterior import AmortizedPosterior
from scarlet_sed.amortized.redshift import RedshiftDensity
from scarlet_sed.amortized.training import Recipe
from scarlet_sed.errors import FileFormatError
from scarlet_sed.io.scene_file import load_scene, save_scene
from scarlet_sed.sps.emulator.network import Perceptron
from scarlet_sed.typing import Array

KIND = "amortized posterior 4"
SHIPPED = ("jades_delayed", "jades_binned")
"""Names of posteriors that ship.

Both are for the 19 ACS and NIRCam bands of JADES, redshifts 0.02 to 12, free or given, at a mean signal-to-noise of
one and more: `jades_delayed` for populations of delayed exponentials (`deep_field_population()`), `jades_binned` for
rates in seven bins of age (`deep_field_population("continuity")`). They are made by `make posteriors`: the numbers in
240,000 and 200,000 steps (commits dcd5fc1 and b801dd2), the density of redshift in 120,000. `read_record` has seeds,
survey and training.
"""


def save_amortized(posterior: AmortizedPosterior, path: str | Path, recipe: Recipe, record: dict[str, Any]) -> Path:
    """Write a posterior, replacing what was there in one move.

    Args:
        posterior: trained.
        path: a name that ends in `.zip`.
        recipe: its sizes are needed to read it.
        record: JSON: how it was trained.

    Raises:
        FileFormatError: for another name.
    """
    if Path(path).suffix != ".zip":
        raise FileFormatError(f"{str(path)!r} is no .zip file", fix="give a name that ends in .zip")
    networks, described = posterior.networks, posterior.described
    sizes = {name: list(v) if isinstance(v, tuple) else v for name, v in recipe.sizes._asdict().items()}
    tree = {
        "kind": KIND,
        "spectrum": described.model.spectrum,
        "filters": posterior.filters,
        "redshift": posterior.redshift,
        "prior": described.prior,
        "ratio": described.ratio,
        "expected": networks.expected,
        "embedding": networks.embedding,
        "density": networks.redshift,
        "usual": posterior.usual,
        "trained": list(posterior.trained),
        "flow": [jnp.asarray(leaf) for leaf in _leaves(networks.flow)],
        "recipe": {**asdict(recipe), "sizes": sizes},
        "record": record,
    }
    return save_scene(tree, path)


def load_amortized(path: str | Path) -> AmortizedPosterior:
    """Read what `save_amortized` wrote, or what ships.

    Args:
        path: of a file, or a name among `SHIPPED`.

    Raises:
        FileFormatError: if the file is missing, damaged or of another kind.
    """
    return read_amortized(path)[0]


def read_record(path: str | Path) -> dict[str, Any]:
    """How the posterior of a file was trained: `recipe` and `record`."""
    return read_amortized(path)[1]


def read_amortized(path: str | Path) -> tuple[AmortizedPosterior, dict[str, Any]]:
    """Both of them, for who needs both."""
    tree = load_scene(_located(path))
    if not isinstance(tree, dict) or tree.get("kind") != KIND:
        if isinstance(tree, dict) and str(tree.get("kind")).startswith(KIND.rstrip("0123456789")):
            raise FileFormatError(f"{str(path)!r} is of another version than {KIND!r}", fix="train it again")
        raise FileFormatError(f"{str(path)!r} holds no amortized posterior", fix="give a file of `posterior train`")
    try:
        described = Described.of(tree["spectrum"], tree["prior"])
        described = eqx.tree_at(lambda d: d.ratio, described, jnp.asarray(tree["ratio"]))
        sizes = _sizes_of(tree["recipe"])
        expected, embedding, density, usual = (tree[n] for n in ("expected", "embedding", "density", "usual"))
        trained = tuple(tree["trained"])
        assert isinstance(expected, ExpectedFluxes)
        assert isinstance(embedding, Perceptron) and isinstance(usual, ContextRange)
        assert density is None or isinstance(density, RedshiftDensity)
        skeleton = Networks.flow_of(jax.random.key(0), sizes, described.numbers)
        flow = _with_leaves(skeleton, tree["flow"])
    except (KeyError, ValueError, TypeError, AssertionError) as error:
        raise FileFormatError(f"the posterior {str(path)!r} is incomplete ({error})", fix="train it again") from error
    networks = Networks(expected, embedding, flow, density)
    found = AmortizedPosterior(described, networks, tree["filters"], tree["redshift"], usual, trained)
    return found, {"recipe": tree["recipe"], "record": tree["record"]}


def recipe_of(record: Mapping[str, Any]) -> Recipe:
    """The recipe in what `read_record` returns."""
    plain = record["recipe"]
    return Recipe(**{**plain, "parts": tuple(plain["parts"]), "sizes": _sizes_of(plain)})


def _sizes_of(recipe: Mapping[str, Any]) -> Sizes:
    kept: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in recipe["sizes"].items()}
    return Sizes(**kept)


def _located(path: str | Path) -> Path:
    if str(path) not in SHIPPED:
        return Path(path)
    return Path(str(files("scarlet_sed.amortized") / "weights" / f"{path}.zip"))


def _leaves(flow: Any) -> list[Array]:
    return list(jax.tree.leaves(eqx.filter(flow, eqx.is_array)))


def _with_leaves(flow: Any, leaves: list[Any]) -> Any:
    own, rest = eqx.partition(flow, eqx.is_array)
    structure = jax.tree.structure(own)
    shapes = [leaf.shape for leaf in jax.tree.leaves(own)]
    if shapes != [np.shape(leaf) for leaf in leaves]:
        raise ValueError("the weights of the flow have other shapes")
    return eqx.combine(jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves]), rest)
