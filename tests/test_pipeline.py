"""From files to results, on a small drawn field."""

import json
from dataclasses import replace

import matplotlib.image
import numpy as np
import numpyro.distributions as dist
import pytest
from astropy.io import fits
from astropy.table import QTable

import scarlet_sed as ss
from scarlet_sed import demo_scene, pipeline
from scarlet_sed.errors import ConfigError, DataError, ScarletSEDError
from scarlet_sed.io.catalog import build_catalog
from scarlet_sed.io.config import MODELS, read_config
from scarlet_sed.io.flags import Flag
from scarlet_sed.io.inputs import read_observations
from scarlet_sed.io.scene_file import load_scene
from scarlet_sed.parameters import Parameter
from scarlet_sed.pipeline.starting import prepare, settled
from scarlet_sed.start.models import MODELS as KNOWN_MODELS

pytest.importorskip("galsim")

BANDS = tuple(band for band in demo_scene.BANDS if band.name in ("F200W", "F444W"))


def things(seed):
    part, stars = demo_scene.Part, demo_scene.Stars
    galaxy = part(stars((120.0, 200.0)), 0.12, 1.0, 0.6, 40.0)
    return [
        demo_scene.Thing("galaxy", "sersic", (0.35, 0.2), (galaxy,)),
        demo_scene.Thing("star", "star", (-0.3, -0.25), (part(stars((80.0, 40.0)), 0.0, 0.0),)),
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A field of 2.4 arcsec in two bands on two grids, with a configuration."""
    folder = tmp_path_factory.mktemp("field")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_scene, "FIELD", 2.4)
        patch.setattr(demo_scene, "BANDS", BANDS)
        patch.setattr(demo_scene, "make_things", things)
        demo_scene.write_demo(folder, seed=3)
    return folder


def configured(files, text, name):
    original = (files / "config.toml").read_text()
    path = files / name
    asked = '[model]\ndefault = "population"\n\n[population]\nmorphology = "auto"\n\n[fit]\npolish = 2\n'
    assert asked in original
    path.write_text(original.replace(asked, text))
    return path


@pytest.fixture(scope="module")
def outcome(files, tmp_path_factory):
    text = '[model]\ndefault = "sersic"\n[model.sources]\ns01 = "point"\n[fit]\nsteps = 200\n'
    return pipeline.run_fit(configured(files, text, "fit.toml"), tmp_path_factory.mktemp("out"), progress=False)


def test_every_file_is_there(outcome):
    names = {path.name for path in outcome.folder.iterdir()}
    pictures = {"field.png", "residuals.png"}
    assert names == pictures | {"catalog.fits", "catalog.ecsv", "metrics.json", "report.html", "scene", "observations"}
    for name in names - {"catalog.ecsv"}:
        assert f"{outcome.folder / name} (" in outcome.summary()
    for name in pictures:
        assert matplotlib.image.imread(outcome.folder / name).shape[0] > 100


def test_the_truth_is_found(outcome):
    assert outcome.truth is not None and outcome.truth.found == 2 and not outcome.truth.extra
    assert np.abs(outcome.truth.ratio - 1).max() < 0.1
    assert np.nanmax(outcome.truth.separation) < 0.02
    assert np.nanmedian(np.abs(outcome.truth.pull)) < 4


def test_the_metrics_tell_chi_square_against_both_noises(outcome):
    content = json.loads((outcome.folder / "metrics.json").read_text())
    assert content["sources"] == 2 and content["seed"] == 3
    for band in ("F200W", "F444W"):
        (found,) = [each[band] for each in content["bands"].values() if band in each]
        assert 0.9 < found["chi2_given"] < 1.15 and 0.9 < found["chi2_estimated"] < 1.15
    assert content["timings_s"]["total"] > content["timings_s"]["fit"] > 0
    assert content["peak_memory_mb"] > 100 and content["versions"]["jax"] != "unknown"


def test_the_report_stands_alone(outcome):
    page = (outcome.folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 + 2
    assert "http://" not in page and "https://" not in page and "<script" not in page and "{{" not in page
    for text in ("s01", "s02", "Truth beside result", outcome.fit.status.advice, "Configuration", "point"):
        assert text in page


def test_catalogue_and_scene_can_be_read_again(outcome):
    table = QTable.read(outcome.folder / "catalog.fits")
    assert list(table["name"]) == ["s01", "s02"] and (table["flux_error_F200W"].value > 0).all()
    scene = load_scene(outcome.folder / "scene")
    assert list(scene.sources) == ["s01", "s02"]


def test_a_listed_catalogue_takes_the_place_of_detection(files):
    from scarlet_sed.instrument.frame import Frame
    from scarlet_sed.io.config import read_config
    from scarlet_sed.io.inputs import read_observations
    from scarlet_sed.pipeline.listed import catalog_models, from_catalog

    QTable({"X": [20.0, 50.0], "Y": [30.0, 52.5], "kind": ["point", ""]}).write(files / "list.ecsv", overwrite=True)
    text = '[catalog]\npath = "list.ecsv"\ncolumns = { x = "X", y = "Y", model = "kind" }\n'
    config = read_config(configured(files, text, "listed.toml"))
    observations = read_observations(config)
    frame = Frame.covering(observations)
    sources = from_catalog(config.catalog, observations, frame)
    pixels = observations[0].grid.pixels(sources.position, frame.tangent_point)
    np.testing.assert_allclose(pixels, [[20.0, 30.0], [50.0, 52.5]], atol=1e-4)
    assert catalog_models(config.catalog, sources) == {"s01": "point"}

    QTable({"a": [1.0]}).write(files / "list.ecsv", overwrite=True)
    with pytest.raises(ConfigError, match="no positions"):
        from_catalog(config.catalog, observations, frame)


def test_sources_that_left_their_places_are_sent_back(outcome):
    """A run that moves a faint source away goes on with that source where it began, and the others where they are."""
    begun = outcome.fit.scene
    at = Parameter((0.0, 0.0), dist.Normal(np.zeros(2), np.full(2, 0.03)))
    begun = begun.with_sources({name: source.placed(at) for name, source in begun.sources.items()})
    edge = {"s02.position": (0.05, 0.0), "s02.morphology.index": 0.3}  # where a fit may end, and none can start
    moves = iter([{"s01.position": (0.2, 0.0), **edge}, {"s01.position": (0.01, 0.0)}])
    seen = []

    def run(scene):
        seen.append(scene)
        return outcome.fit._replace(scene=scene.set(next(moves)))

    result = settled(begun, outcome.fit.observations, run)
    assert len(seen) == 2
    np.testing.assert_allclose(seen[1].values["s01.position"], (0.0, 0.0))
    np.testing.assert_allclose(seen[1].values["s02.position"], (0.05, 0.0))
    assert seen[1].values["s02.morphology.index"] > 0.3
    assert result.scene.sources["s01"].position_pull == pytest.approx(1 / 3, rel=1e-4)
    away = begun.set({"s01.position": (0.2, 0.0)})
    assert away.sources["s01"].position_pull == pytest.approx(0.2 / 0.03, rel=1e-4)
    assert begun.sources["s01"].placed((0.0, 1.0)).position_pull == 0.0
    rows = build_catalog(away, outcome.fit.observations)["flags"]
    assert [Flag.ASTRAY in Flag(int(row)) for row in rows] == [True, False]


def test_a_source_that_turns_out_larger_gets_a_larger_box_and_another_fit(outcome):
    begun = outcome.fit.scene
    cramped = begun.with_sources({name: source.boxed(0.3) for name, source in begun.sources.items()})
    seen = []

    def run(scene):
        seen.append(scene)
        return outcome.fit._replace(scene=scene)

    result = settled(cramped, outcome.fit.observations, run)
    assert len(seen) == 2
    assert all(seen[1].sources[name].box > 0.3 for name in begun.sources)
    assert result.scene is seen[1]


def test_check_reads_everything_and_fits_nothing(files, tmp_path):
    text = pipeline.run_check(files / "config.toml", tmp_path)
    assert "F200W" in text and "80 x 80" in text
    assert (tmp_path / "check.html").read_text().count("data:image/png") == 2
    assert pipeline.run_check(files / "config.toml") == text


def test_bad_files_are_typed_errors_that_name_the_band(files, tmp_path):
    with fits.open(files / "F200W_image.fits") as hdus:
        hdus[0].data[3, 3] = np.nan
        hdus.writeto(files / "nan.fits", overwrite=True)
    path = files / "bad.toml"
    path.write_text((files / "config.toml").read_text().replace("F200W_image", "nan"))
    with pytest.raises(DataError, match="F200W"):
        pipeline.run_check(path)
    path.write_text((files / "config.toml").read_text().replace('image = "F200W_image', 'image = "F444W_image'))
    with pytest.raises(ScarletSEDError, match="F200W"):
        pipeline.run_check(path)


def test_the_configuration_knows_every_model():
    assert set(MODELS) == {"auto", "population", *KNOWN_MODELS}


def test_shift_and_calibration_are_fitted_against_the_first_band(files):
    """The second grid is drawn 20 mas off and 4 % too bright; the first band is what everything refers to."""
    config = read_config(configured(files, '[model]\ndefault = "sersic"\n[fit]\nfit_shift = true\n', "shift.toml"))
    config = replace(config, fit=replace(config.fit, fit_calibration=True))
    first, second = prepare(config, read_observations(config))
    wanted = np.array([[0.02, -0.01]])
    light = ss.FreeSpectrum((150.0, 250.0), (*first.bands, *second.bands)) * ss.Sersic(0.15, 1.0, (0.1, 0.1))
    frame = ss.Frame.covering([first, second])
    scene = ss.Scene({"a": ss.Source((0.3, 0.2), light), "b": ss.Source((-0.4, -0.3), light)}, frame)
    moved = second.set({"shift": wanted, "calibration": [1.04]})
    drawn = [observation.with_data(ss.render(scene, observation)) for observation in (first, moved)]
    start = [drawn[0], drawn[1].set({"shift": [[0.0, 0.0]], "calibration": [1.0]})]
    free = scene.free("*.position", dist.Normal(np.zeros(2), 1.0))
    result = ss.fit(free, start, uncertainties=False, progress=False)
    reference, other = result.observations
    np.testing.assert_allclose(other.values["shift"], wanted, atol=1e-3)
    np.testing.assert_allclose(other.values["calibration"], 1.04, atol=2e-3)
    np.testing.assert_allclose(reference.values["shift"], 0.0, atol=1e-5)
    np.testing.assert_allclose(reference.values["calibration"], 1.0, atol=1e-5)


def test_learnt_images_say_what_is_their_priors(files, tmp_path):
    path = configured(files, '[model]\ndefault = "learnt"\n\n[fit]\nsteps = 100\n', "learnt.toml")
    outcome = pipeline.run_fit(path, tmp_path, progress=False)
    page = (outcome.folder / "report.html").read_text()
    assert page.count("of what is known of its image is the prior&#39;s") == 2
    assert page.count("What is known of the image of") == 2
    again = load_scene(outcome.folder / "scene")
    assert isinstance(again.parameters["s01.morphology.image"].prior, ss.GaussianImagePrior)
