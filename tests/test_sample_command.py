"""From a fit on disk to a posterior on disk, and on from there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest
import xarray
from astropy.table import QTable
from numpyro.distributions import constraints

import scarlet_sed as ss
from scarlet_sed import cli, pipeline
from scarlet_sed.errors import FileFormatError, ImproperPriorError, ParameterError, SourceError
from scarlet_sed.infer.sampling.summary import summary_table
from scarlet_sed.io.fit_folder import load_fit, save_fit
from scarlet_sed.pipeline import SampleOptions, run_sample
from scarlet_sed.pipeline.kept import brightest, keep
from scarlet_sed.pipeline.metrics import Clock
from scarlet_sed.pipeline.sampling import write
from scarlet_sed.report.posterior import PosteriorContent
from tests.infer.sampling.draws import exact
from tests.infer.sampling.toys import linear_toy

FEW = SampleOptions(chains=2, warmup=50, draws=50)


@pytest.fixture(scope="module")
def fit(tmp_path_factory) -> Path:
    """The folder of a fit that had a flat prior for one flux."""
    folder = tmp_path_factory.mktemp("field")
    toy = linear_toy()
    save_fit(folder, toy.scene.free("a.spectrum.flux", constraints.real), [toy.observation])
    return folder


@pytest.fixture(scope="module")
def sampled(fit) -> "pipeline.Sampled":
    return run_sample(fit, options=FEW, progress=False)


def test_every_file_is_there_and_named(sampled, fit):
    assert sampled.folder == fit / "posterior"
    names = {path.name for path in sampled.folder.iterdir()}
    pictures = {"residuals.png", "chains.png", "ranks.png", "corner_a.png", "corner_b.png"}
    files = {"posterior.nc", "summary.fits", "summary.ecsv", "diagnostics.json", "settings.json", "posterior.html"}
    assert names == pictures | files | {"chains"}
    for name in ("posterior.nc", "posterior.html", "chains"):
        assert f"{sampled.folder / name} (" in sampled.summary()
    assert not sampled.interrupted and sampled.posterior.status.advice in sampled.summary()


def test_moves_come_from_a_posterior(fit, tmp_path):
    with pytest.raises(FileFormatError, match=r"none\.zip"):
        run_sample(fit, tmp_path / "one", replace(FEW, moves="none.zip"), progress=False)
    with pytest.raises(ParameterError, match=r"spectra cannot be proposed.*a: its free parameters"):
        run_sample(fit, tmp_path / "two", replace(FEW, moves="jades_delayed"), progress=False)


def test_draws_table_and_numbers_can_be_read_again(sampled):
    with xarray.open_datatree(sampled.folder / "posterior.nc", engine="h5netcdf") as tree:
        np.testing.assert_array_equal(tree["posterior"]["b.spectrum.flux"], sampled.posterior.draws["b.spectrum.flux"])
        np.testing.assert_array_equal(tree["derived"]["b.flux"], sampled.posterior.draws["b.spectrum.flux"])
    for name in ("summary.fits", "summary.ecsv"):
        table = QTable.read(sampled.folder / name)
        assert len(table) == 6 and list(table["element"][:2]) == ["F115W", "F150W"]
    numbers = json.loads((sampled.folder / "diagnostics.json").read_text())
    assert numbers["status"] == sampled.posterior.status.name and numbers["draws"] == 50
    assert numbers["p_values"]["nircam"] == sampled.check.p_values["nircam"]


def test_priors_that_gave_way_are_listed_everywhere(sampled):
    (replaced,) = json.loads((sampled.folder / "settings.json").read_text())["priors_replaced"]
    assert replaced["path"] == "a.spectrum.flux" and replaced["prior"].startswith("Normal(0, ")
    page = (sampled.folder / "posterior.html").read_text()
    assert replaced["prior"] in page and "Priors that gave way" in page
    assert "flat priors gave way to weak ones" in sampled.summary()
    assert replaced["prior"] in QTable.read(sampled.folder / "summary.ecsv")["prior"]


def test_the_report_stands_alone(sampled):
    page = (sampled.folder / "posterior.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http://" not in page and "https://" not in page and "<script" not in page and "{{" not in page
    for text in (
        sampled.posterior.status.name.lower().replace("_", " "),
        "p-value",
        "b.spectrum.flux[F150W]",
        "--warmup",
    ):
        assert text in page


def test_the_same_command_goes_on_and_gives_the_draws_of_one_go(sampled, fit, tmp_path):
    before = sorted((sampled.folder / "chains").glob("piece-*"))
    times = [path.stat().st_mtime_ns for path in before]
    more = run_sample(fit, options=SampleOptions(chains=2, warmup=50, draws=75), progress=False)
    assert more.posterior.shape == (2, 75) and [path.stat().st_mtime_ns for path in before] == times
    whole = run_sample(fit, tmp_path / "other", SampleOptions(chains=2, warmup=50, draws=75), progress=False)
    np.testing.assert_array_equal(whole.posterior.whitened, more.posterior.whitened)
    np.testing.assert_array_equal(more.posterior.whitened[:, :50], sampled.posterior.whitened)


def test_other_settings_beside_chains_are_named(sampled, fit, tmp_path):
    other = SampleOptions(("b",), chains=2, warmup=50, seed=3)
    with pytest.raises(
        FileFormatError, match=r"--sources was all and is b; --seed was 0 and is 3.*--out.*delete"
    ) as caught:
        run_sample(fit, options=other, progress=False)
    assert "--draws was" not in str(caught.value)
    scene, observations = load_fit(fit)
    save_fit(tmp_path, scene.set({"b.spectrum.flux": [4.0, 4.0]}), observations)
    with pytest.raises(FileFormatError, match="the fit is another one"):
        run_sample(tmp_path, sampled.folder, FEW, progress=False)
    settings = sampled.folder / "settings.json"
    kept = settings.read_text()
    settings.write_text("{")
    with pytest.raises(FileFormatError, match=r"settings\.json is damaged.*--out"):
        run_sample(fit, options=FEW, progress=False)
    settings.write_text(kept)


def test_interrupting_keeps_what_is_there_and_says_how_to_go_on(fit, tmp_path, monkeypatch, capsys):
    from scarlet_sed.infer.sampling import checkpoint

    written = checkpoint.Checkpoint.append
    monkeypatch.setattr("scarlet_sed.cli.use_compilation_cache", lambda: None)

    def stopping(at):
        def append(self, number, piece):
            if number == at:
                raise KeyboardInterrupt
            written(self, number, piece)

        return append

    command = ["sample", str(fit), "--out", str(tmp_path / "out"), "--chains", "2", "--warmup", "50", "--draws", "50"]
    for at, status, page in ((1, "WARMING_UP", False), (3, "INTERRUPTED", True)):
        monkeypatch.setattr(checkpoint.Checkpoint, "append", stopping(at))
        assert cli.main(command) == cli.INTERRUPTED
        said = capsys.readouterr()
        assert status in said.out and "run the same command again" in said.out and "interrupted" in said.err
        assert (tmp_path / "out" / "posterior.html").exists() == page
    monkeypatch.setattr(checkpoint.Checkpoint, "append", written)
    assert cli.main([*command, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_only_some_sources_stay_free(fit):
    scene, observations = load_fit(fit)
    kept = keep(scene, observations, ["b"])
    assert set(kept.scene.parameters) == {"b.spectrum.flux"} and kept.frozen == ("a",)
    np.testing.assert_array_equal(kept.scene.values["a.spectrum.flux"], scene.values["a.spectrum.flux"])
    assert "a stays as fitted" in kept.sentence() and "sky" in kept.sentence()
    assert brightest(scene, observations) == ["a", "b"]
    assert keep(scene, observations, ["1"]).free == ("a",)
    whole = keep(scene, observations, [])
    assert whole.free == ("a", "b") and not whole.sentence() and whole.scene is scene
    assert keep(scene, observations, ["7"]).free == ("a", "b")


def test_bad_input_of_every_kind(fit, tmp_path):
    toy = linear_toy()
    with pytest.raises(FileFormatError, match="no fit"):
        run_sample(tmp_path / "none", options=FEW)
    with pytest.raises(SourceError, match=r"no source 'c'.*choose among a, b"):
        run_sample(fit, tmp_path / "x", SampleOptions(("a", "c")))
    with pytest.raises(SourceError, match="keep at least one"):
        run_sample(fit, tmp_path / "x", SampleOptions(("0",)))
    with pytest.raises(ParameterError, match="chains is 1"):
        run_sample(fit, tmp_path / "x", SampleOptions(chains=1))
    save_fit(tmp_path, toy.scene.freeze("*"), [toy.observation])
    with pytest.raises(ParameterError, match="nothing is free in a, b"):
        run_sample(tmp_path, options=FEW)
    odd = toy.scene.set({"b.spectrum.flux": [3.0, 5.0]}).free("b.spectrum.flux", constraints.ordered_vector)
    save_fit(tmp_path, odd, [toy.observation])
    with pytest.raises(ImproperPriorError, match=r"b\.spectrum\.flux"):
        run_sample(tmp_path, options=FEW)
    next((tmp_path / "observations").glob("*.npz")).write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match=r"arrays are not those.*scarlet-sed fit` again"):
        run_sample(tmp_path, options=FEW)


def test_what_follows_from_draws_is_in_table_file_and_report(tmp_path):
    toy = linear_toy()
    screen = ss.DustScreen(ss.SMC(), ss.Gaussian(0.1), 0.5)
    dusty = ss.Source((0.0, 0.0), toy.scene["a"].light.behind(screen), 1.0)
    draws = exact(toy._replace(scene=toy.scene.with_sources({"a": dusty, "b": toy.scene["b"]})))
    found = ss.derived(draws)
    content = PosteriorContent("toy", draws, ss.check(draws, 10), summary_table(draws, found), ["a", "b"])
    write(tmp_path, content, found, {"options": {}}, Clock(), 0.0)
    table = QTable.read(tmp_path / "summary.fits")
    assert set(table["parameter"][table["derived"]]) == {"a.flux", "a.intrinsic_flux"} and len(table) == 6 + 4
    with xarray.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as tree:
        flux = tree["derived"]["a.flux"]
        np.testing.assert_array_equal(flux, found["a.flux"].values)
        assert flux.attrs["unit"] == "nJy" and flux.dims == ("chain", "draw", "band")
        assert list(flux["band"].values) == ["F115W", "F150W"] and "b.flux" in tree["derived"]
    numbers = json.loads((tmp_path / "diagnostics.json").read_text())
    assert numbers["numbers"] == 6
    assert (tmp_path / "dust_a.png").exists() and not (tmp_path / "dust_b.png").exists()
    page = (tmp_path / "posterior.html").read_text()
    assert "Derived quantities" in page and "a.intrinsic_flux[F150W]" in page and 'id="dust"' in page
    assert page.count("data:image/png;base64,") == 6 and "{{" not in page
    median = table["p50"][(table["parameter"] == "a.flux") & (table["element"] == "F150W")][0]
    assert median == pytest.approx(np.median(found["a.flux"].values[..., 1]), rel=1e-6)


def test_names_of_sources_may_hold_anything(tmp_path):
    toy = linear_toy()
    scene = ss.Scene({"3 C/273": toy.scene["a"], "12": toy.scene["b"]}, toy.scene.frame)
    scene = scene.free("*.radius", dist.LogNormal(-3.0, 1.0))
    assert keep(scene, [toy.observation], ["12"]).free == ("12",)
    from scarlet_sed.pipeline.sampling import file_stem

    assert file_stem("corner 3 C/273") == "corner_3_C_273"
