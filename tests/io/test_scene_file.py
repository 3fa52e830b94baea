"""Scene files: everything comes back bit by bit, and nothing unknown gets in."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints

from scarlet_sed.constraints import ellipse, image_simplex
from scarlet_sed.distributions import EllipticityPrior, LogUniformRedshift, SmoothImage
from scarlet_sed.errors import FileFormatError
from scarlet_sed.instrument.frame import Frame
from scarlet_sed.io.encoding import Classes
from scarlet_sed.io.scene_file import load_scene, save_scene
from scarlet_sed.morphology.base import Morphology, PixelGrid
from scarlet_sed.morphology.pixels import Pixels
from scarlet_sed.morphology.point import Point
from scarlet_sed.morphology.sersic import Sersic
from scarlet_sed.parameters import Parameter, parameter
from scarlet_sed.scene.scene import Scene
from scarlet_sed.scene.source import Source
from scarlet_sed.spectrum.blackbody import BlackBody
from scarlet_sed.spectrum.free import FreeSpectrum
from scarlet_sed.typing import Array


class Holder(eqx.Module):
    """Holds anything: what a user's own module may look like."""

    content: Any


class Disc(Morphology):
    """A user's own morphology."""

    radius: Array = parameter(unit="arcsec")
    label: str = eqx.field(static=True, default="disc")

    def evaluate(self, grid: PixelGrid) -> Array:
        return jnp.ones(grid.shape) * self.radius

    def extent(self, fraction: float) -> float:
        return 1.0


def a_scene(morphology: Morphology | None = None) -> Scene:
    bands = ["F115W", "F444W"]
    disk = FreeSpectrum(dist.LogNormal(0.0, 1.0), bands) * Sersic(
        dist.LogNormal(-1.0, 0.5), dist.Uniform(0.5, 6.0), Parameter((0.1, 0.2), EllipticityPrior(0.25))
    )
    bulge = FreeSpectrum(Parameter([1.0, -2.0], constraints.real), bands) * Pixels.from_image(np.ones((5, 4)), 0.05)
    star = BlackBody(dist.TruncatedNormal(5e3, 1e3, low=1e3), 3.0) * (morphology or Point())
    sources = {
        "galaxy": Source(Parameter((0.1, 0.2), dist.Normal(jnp.zeros(2), 0.1)), {"disk": disk, "bulge": bulge}, 1.5),
        "star": Source((0.5, -0.5), star, box=1.0),
    }
    return Scene(sources, Frame.bare((40, 50), 0.06)).tie("galaxy.bulge.*.pixel_scale", to="galaxy.disk.*.radius")


def assert_same(old: Any, new: Any) -> None:
    assert jax.tree.structure(old) == jax.tree.structure(new)
    for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
        assert type(a) is type(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes() and np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize("name", ["scene", "scene.zip", "new/folder/scene"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    scene = a_scene()
    assert save_scene(scene, tmp_path / name) == tmp_path / name
    again = load_scene(tmp_path / name)
    assert_same(scene, again)
    assert list(again.sources) == list(scene.sources) and list(again.parameters) == list(scene.parameters)
    for path, value in scene.values.items():
        np.testing.assert_array_equal(again.values[path], value)


@pytest.mark.parametrize("name", ["scene", "scene.zip"])
def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    save_scene(a_scene(), tmp_path / name)
    save_scene(BlackBody(4000.0, 1.0), tmp_path / name)
    assert float(load_scene(tmp_path / name).temperature) == 4000.0
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name == "scene":
        assert len(list((tmp_path / name).iterdir())) == 2


PRIORS = [
    dist.Normal(0.0, jnp.ones(3)),
    dist.Normal(0, 1).expand([3]).to_event(1),
    dist.Uniform(0, 9),
    dist.LogUniform(1.0, 2.0),
    dist.LogNormal(0.0, 1.0),
    dist.HalfNormal(1.0),
    dist.TruncatedNormal(0.0, 1.0, low=0.0),
    dist.TruncatedNormal(0.0, 1.0, high=0.0),
    dist.TruncatedNormal(0.0, 1.0, low=-1.0, high=2.0),
    dist.Beta(1.0, 2.0),
    dist.Gamma(1.0, 2.0),
    dist.InverseGamma(1.0, 2.0),
    dist.Exponential(2.0),
    dist.Cauchy(0.0, 1.0),
    dist.HalfCauchy(1.0),
    dist.Laplace(0.0, 1.0),
    dist.StudentT(3.0, 0.0, 1.0),
    dist.Weibull(1.0, 2.0),
    dist.Pareto(1.0, 2.0),
    dist.Dirichlet(np.array([1.0, 2.0])),
    dist.MultivariateNormal(jnp.zeros(2), jnp.array([[2.0, 0.5], [0.5, 1.0]])),
    dist.ImproperUniform(constraints.positive, (), ()),
    dist.ImproperUniform(constraints.positive, (), (9,)),
    dist.ImproperUniform(constraints.interval(0.0, 3.0), (), ()),
    dist.ImproperUniform(constraints.greater_than(-1.0), (), (3,)),
    dist.ImproperUniform(constraints.real_vector, (), (2,)),
    dist.ImproperUniform(ellipse, (), (2,)),
    dist.ImproperUniform(image_simplex, (), (5, 4)),
    EllipticityPrior(0.2),
    SmoothImage((3, 4), 0.7),
]


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: f"{type(prior).__name__}{prior.shape()}")
def test_priors(prior: dist.Distribution, tmp_path: Path) -> None:
    save_scene(Holder(prior), tmp_path / "prior", classes=[Holder])
    again = load_scene(tmp_path / "prior", classes=[Holder]).content
    assert type(again) is type(prior) and again.shape() == prior.shape()
    assert_same(prior, again)


def test_values_of_every_kind(tmp_path: Path) -> None:
    content = {
        "b": (1, 2.5, True, None, "text", -0.0),
        "a": [float("nan"), float("inf"), -float("inf"), np.float32(1.5), np.int64(3)],
        "empty": [(), [], {}],
        "arrays": (jnp.arange(3), np.arange(4.0), np.zeros((0, 2)), jnp.array(True), np.array(["a"] * 0, dtype=float)),
    }
    save_scene(Holder(content), tmp_path / "x.zip", classes=[Holder])
    again = load_scene(tmp_path / "x.zip", classes=[Holder]).content
    assert list(again) == list(content)
    assert_same(content, again)
    assert type(again["b"][0]) is int and type(again["b"][2]) is bool


def test_users_own_classes(tmp_path: Path) -> None:
    scene = a_scene(Disc(Parameter(0.3, dist.HalfNormal(1.0)), "mine"))
    with pytest.raises(FileFormatError, match=r"star\..*Disc"):
        save_scene(scene, tmp_path / "scene")
    assert not (tmp_path / "scene").exists()
    save_scene(scene, tmp_path / "scene", classes=[Disc])
    assert_same(scene, load_scene(tmp_path / "scene", classes=[Disc]))
    with pytest.raises(FileFormatError, match="unknown class"):
        load_scene(tmp_path / "scene")


def test_a_class_from_a_notebook_is_found_by_its_name(tmp_path: Path) -> None:
    save_scene(Holder(1), tmp_path / "x", classes=[Holder])
    edit(tmp_path / "x", lambda d: d["tree"].update({"class": "__main__:Holder"}))
    assert load_scene(tmp_path / "x", classes=[Holder]).content == 1


def edit(folder: Path, change: Any) -> None:
    document = json.loads((folder / "scene.json").read_text())
    change(document)
    (folder / "scene.json").write_text(json.dumps(document))


def field(document: dict[str, Any], name: str) -> dict[str, Any]:
    return document["tree"]["fields"][name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(format="other"), "does not hold"),
        (lambda d: d.update(version=99), "version 99"),
        (lambda d: d.pop("version"), "version None"),
        (lambda d: d.pop("arrays"), "keys are missing"),
        (lambda d: d.pop("tree"), "keys are missing"),
        (lambda d: d.update(arrays="../arrays.npz"), "keys are missing"),
        (lambda d: d.update(sha256="0" * 64), "not those that were written"),
        (lambda d: d["tree"].update({"class": "os:system"}), "unknown class 'os:system'"),
        (lambda d: d["tree"].update({"class": "scarlet_sed.parameters:fnmatch"}), "unknown class"),
        (lambda d: d["tree"].update({"class": "scarlet_sed.nowhere:Thing"}), "unknown class"),
        (lambda d: d["tree"].update({"class": 3}), "unknown class"),
        (lambda d: d["tree"]["fields"].pop("flux"), "disagree on the fields flux"),
        (lambda d: d["tree"]["fields"].update(colour=1), "disagree on the fields colour"),
        (lambda d: field(d, "flux").update(array="a99"), "damaged"),
        (lambda d: field(d, "flux").update(kind="pickle"), "damaged"),
        (lambda d: d["tree"]["fields"].update(flux={"object": 1}), "unknown entry"),
        (lambda d: field(d, "temperature")["fields"]["prior"].update(prior="Evil"), "unknown class 'Evil'"),
        (lambda d: field(d, "temperature")["fields"]["prior"]["arguments"].pop("loc"), "damaged"),
        (lambda d: field(d, "temperature")["fields"]["prior"]["arguments"].update(loc=[1]), "unknown entry"),
    ],
)
def test_damaged_and_foreign_files(tmp_path: Path, change: Any, says: str) -> None:
    save_scene(BlackBody(dist.LogNormal(8.0, 1.0), 1.0), tmp_path / "x")
    edit(tmp_path / "x", change)
    with pytest.raises(FileFormatError, match="Fix: ") as caught:
        load_scene(tmp_path / "x")
    assert says in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no scene at"):
        load_scene(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match=r"lacks scene\.json"):
        load_scene(tmp_path / "empty")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(FileFormatError, match="not a zip"):
        load_scene(tmp_path / "text.zip")
    save_scene(BlackBody(4000.0, 1.0), tmp_path / "x")
    arrays = next((tmp_path / "x").glob("arrays-*.npz"))
    arrays.write_bytes(arrays.read_bytes()[:-7])
    with pytest.raises(FileFormatError, match="not those that were written"):
        load_scene(tmp_path / "x")
    arrays.unlink()
    with pytest.raises(FileFormatError, match="lacks arrays"):
        load_scene(tmp_path / "x")
    (tmp_path / "x" / "scene.json").write_text("{")
    with pytest.raises(FileFormatError, match="not JSON"):
        load_scene(tmp_path / "x")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    import hashlib
    import io

    save_scene(BlackBody(4000.0, 1.0), tmp_path / "x")
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, a0=np.array([{}], dtype=object), a1=np.zeros(()))
    arrays = next((tmp_path / "x").glob("arrays-*.npz"))
    arrays.write_bytes(buffer.getvalue())
    edit(tmp_path / "x", lambda d: d.update(sha256=hashlib.sha256(buffer.getvalue()).hexdigest()))
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_scene(tmp_path / "x")


def test_what_cannot_be_stored_is_named(tmp_path: Path) -> None:
    for content, where in (
        ({"a": [len]}, r"content\.a\.0"),
        (np.array([{}], dtype=object), "content"),
        ({1: 2}, "content"),
        (dist.TransformedDistribution(dist.Normal(), dist.transforms.ExpTransform()), "content"),
        (jax.random.key(0), "content"),
    ):
        with pytest.raises(FileFormatError, match=where):
            save_scene(Holder(content), tmp_path / "x", classes=[Holder])
    assert not list(tmp_path.iterdir())


def test_paths_of_the_wrong_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.zip").mkdir()
    for name in ("file", "folder.zip"):
        with pytest.raises(FileFormatError, match="is a f"):
            save_scene(BlackBody(4000.0, 1.0), tmp_path / name)


def test_float64_scenes_need_x64(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        spectrum = BlackBody(4000.0, 1.0)
        save_scene(spectrum, tmp_path / "x")
        assert_same(spectrum, load_scene(tmp_path / "x"))
    with pytest.raises(FileFormatError, match="enable x64"):
        load_scene(tmp_path / "x")


def test_zip_holds_both_files(tmp_path: Path) -> None:
    save_scene(BlackBody(4000.0, 1.0), tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert sorted(name.split("-")[0] for name in archive.namelist()) == ["arrays", "scene.json"]


def test_a_digest_is_the_same_in_every_process():
    """Distributions list their leaves in the order of a set of strings, which each process hashes anew."""
    program = "import scarlet_sed as ss; from scarlet_sed.io.scene_file import digest_of as d; " + (
        "p = ss.deep_field_population(); print(d([p, 1]), d([p.replace(log_mass=8.0), 1]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1
    one, other = found.pop().split()
    assert one != other


@pytest.mark.parametrize("cls", [EllipticityPrior, LogUniformRedshift, SmoothImage])
def test_priors_are_found_where_older_files_have_them(cls):
    assert Classes().find(f"scarlet_sed.constraints:{cls.__name__}", dist.Distribution, "a file") is cls
