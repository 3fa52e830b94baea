"""Training and judging from the command line, from a survey's TOML file to a table."""

import json

import equinox as eqx
import numpy as np
import pytest

import scarlet_sed as ss
from scarlet_sed import cli
from scarlet_sed.amortized.learn import _begun
from scarlet_sed.amortized.training import Recipe
from scarlet_sed.errors import FileFormatError

CONFIG = """
[spectrum]
history = "delayed_tau"

[survey]
bands = ["f115w", "f200w", "f356w", "f444w"]
depth = [1.0, 1.0, 1.0, 1.0]
common = [0.0, 0.5]

[training]
steps = 500
batch = 16
library = 1000
seed = 3
"""


def test_a_posterior_is_trained_in_sittings_and_judged(tmp_path, capsys):
    config, out = tmp_path / "survey.toml", tmp_path / "survey.zip"
    config.write_text(CONFIG)
    train = ["posterior", "train", str(config), "--out", str(out), "--folder", str(tmp_path / "kept")]
    assert cli.main([*train, "--minutes", "0"]) == 0
    assert "not done yet" in capsys.readouterr().out and not out.exists()
    # the library is there already: it is not drawn again
    before = next((tmp_path / "kept").glob("library-*.npz")).stat().st_mtime_ns
    assert cli.main(train) == 0
    assert "posterior" in capsys.readouterr().out
    assert next((tmp_path / "kept").glob("library-*.npz")).stat().st_mtime_ns == before
    posterior = ss.load_amortized(out)
    assert posterior.filters.names == ss.Filters.load(["f115w", "f200w", "f356w", "f444w"]).names
    judged = tmp_path / "judged.json"
    evaluate = ["posterior", "evaluate", str(out), "--objects", "80", "--draws", "20", "--missing", "0", "1"]
    assert cli.main([*evaluate, "--free", "--out", str(judged)]) == 0
    table = capsys.readouterr().out
    assert "attenuation.av" in table and "TARP" in table
    rows = json.loads(judged.read_text())["rows"]
    assert {row["missing"] for row in rows} == {0, 1}
    assert all(np.isfinite(row["rms"]) for row in rows)
    # it can be gone on from, with other spectra
    config.write_text(CONFIG.replace("seed = 3", "seed = 4"))
    more = [*train, "--minutes", "0", "--start-from", str(out)]
    assert cli.main(more) == 0 and "not done yet" in capsys.readouterr().out
    config.write_text(CONFIG.replace('"f115w", ', "").replace("1.0, 1.0, 1.0, 1.0", "1.0, 1.0, 1.0"))
    assert cli.main(more) == cli.BAD_INPUT and "other bands" in capsys.readouterr().err
    # parameters of one name under another prior are others
    wide = eqx.tree_at(lambda d: d.model.spectrum.attenuation.av.prior.loc, posterior.described, -0.5)
    sizes = (posterior.filters, posterior.redshift, Recipe())
    with pytest.raises(FileFormatError, match="priors"):
        _begun(out, wide, *sizes)
    assert _begun(out, posterior.described, *sizes)[2] == posterior.trained
    # another survey is another training, of the same spectra
    config.write_text(CONFIG.replace("[0.0, 0.5]", "[0.0, 0.7]"))
    assert cli.main([*train, "--minutes", "0"]) == 0
    assert "not done yet" in capsys.readouterr().out
    config.write_text(CONFIG)
    assert cli.main([*train, "--minutes", "1", "--set", "training.steps=1000"]) == cli.BAD_INPUT
    assert "another" in capsys.readouterr().err
    assert cli.main([*train, "--set", "training.steps=many"]) == cli.BAD_INPUT
    assert "cannot read the change" in capsys.readouterr().err
    for parts, free in (('["flow"]', "true"), ('["redshift"]', "false")):
        table = f"[redshift]\nfree = {free}\n"
        config.write_text(CONFIG.replace("seed = 3", f"seed = 3\nparts = {parts}") + table)
        assert cli.main(train) == cli.BAD_INPUT
        assert "training.parts" in capsys.readouterr().err
