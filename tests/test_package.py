"""The package as a user gets it: a wheel in a fresh environment, and nothing global."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_carries_its_data_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    in_tree = [p for p in (ROOT / "scarlet_sed").rglob("*") if p.suffix in {".py", ".json", ".html", ".css"}]
    assert {str(p.relative_to(ROOT)) for p in in_tree} <= set(names)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_wheel_installs_into_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """Dependencies are lent by the running environment, so that no network is needed; the package is the wheel's."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = tmp_path / "env" / "lib" / version / "site-packages"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    code = "import scarlet_sed, sys; print(scarlet_sed.__file__); print(scarlet_sed.Sersic(0.1, 2.0)); sys.exit(0)"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert Path(done.stdout.splitlines()[0]).is_relative_to(site)
    command = [tmp_path / "env" / "bin" / "scarlet-sed", "--help"]
    assert "demo" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_import_changes_no_global_setting() -> None:
    code = (
        "import jax, numpy as np, warnings\n"
        "before = (jax.config.jax_enable_x64, np.geterr(), len(warnings.filters))\n"
        "import scarlet_sed\n"
        "assert before[:2] == (jax.config.jax_enable_x64, np.geterr())\n"
        "import sys; assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
