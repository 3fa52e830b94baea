"""The file that says how an amortized posterior is trained, and changes to it."""

from dataclasses import replace

import pytest

from scarlet_sed.errors import ConfigError
from scarlet_sed.io.posterior_config import read_posterior_config

WRITTEN = """
[survey]
bands = ["f115w", "f200w", "f444w"]
depth = [1.0, 1.0, 2.0]
detecting = ["f444w"]

[training]
steps = 500
batch = 64
"""


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "posterior.toml"
    path.write_text(WRITTEN)
    return path


def test_a_change_changes_its_entry_alone(written):
    before = read_posterior_config(written)
    assert (before.training.steps, before.training.batch) == (500, 64)
    steps = read_posterior_config(written, ["training.steps=1000"])
    assert steps == replace(before, training=replace(before.training, steps=1000))
    both = read_posterior_config(written, ["training.steps=1000", 'training.parts=["redshift"]', "redshift.max=9.0"])
    assert both.training.steps == 1000 and both.training.parts == ("redshift",) and both.training.batch == 64
    assert both.redshift == replace(before.redshift, max=9.0) and both.survey == before.survey


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.steps", "cannot read the change"),
        ("training.stpes=3", "stpes"),
        ("training.steps='many'", "training.steps"),
        ("survey.depth=[1.0]", "1 numbers for 3 bands"),
        ("training.parts=['nothing']", "training.parts"),
        ("redshift.max=0.001", "not below"),
    ],
)
def test_changes_that_make_no_sense_are_refused(written, change, says):
    with pytest.raises(ConfigError, match=says):
        read_posterior_config(written, [change])
