"""Writing: whole files or none, strict JSON."""

import json
import os

import numpy as np
import pytest

from scarlet_sed.errors import FileFormatError
from scarlet_sed.io.cache import compilation_cache_folder
from scarlet_sed.io.outputs import atomic, output_folder, write_json
from scarlet_sed.io.provenance import commit, machine, peak_memory, versions


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_json_is_strict(tmp_path):
    write_json(
        tmp_path / "sub" / "a.json", {"x": np.float32(1.5), "y": np.nan, "z": np.arange(2), 3: (True, None, tmp_path)}
    )
    content = json.loads((tmp_path / "sub" / "a.json").read_text())
    assert content == {"x": 1.5, "y": None, "z": [0, 1], "3": [True, None, str(tmp_path)]}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_typed_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(FileFormatError, match="cannot write"):
        output_folder(tmp_path / "sub")


def test_a_file_in_the_way_is_a_typed_error(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(FileFormatError, match="cannot write"):
        output_folder(tmp_path / "f")


def test_provenance_is_complete():
    assert {"python", "jax", "numpy", "astropy"} <= set(versions())
    assert peak_memory() > 10 and machine()["processors"] >= 1
    assert commit() is None or len(commit().rstrip("+")) == 40


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache_folder() == tmp_path / "scarlet_sed" / "jax"
