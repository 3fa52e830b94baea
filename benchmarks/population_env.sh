#!/usr/bin/env bash
# Make the environment of the codes that stellar populations are compared with: bagpipes and dsps.
#
# usage: benchmarks/population_env.sh [FOLDER]     (default: .venv-peers-sed at the repository's root)
#
# They get an environment of their own: their requirements are not the project's, and bagpipes is GPL-3. Versions are
# pinned, so that a comparison can be repeated. PYTHON picks the interpreter (default: python3, 3.11 or newer),
# BAGPIPES a wheel instead of the 250 MB download. dsps is optional: without it its comparison is skipped.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="${1:-$root/.venv-peers-sed}"
python="${PYTHON:-python3}"

requirements=(
    "${BAGPIPES:-bagpipes==1.3.6}"
    "numpy==2.4.6"
    "scipy==1.17.1"
    "astropy==8.0.2"
    "h5py==3.16.0"
)

"$python" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "the peers need Python 3.11 or newer")'
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
echo '*' > "$folder/.gitignore"
pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check)
"$folder/bin/python" -c 'import bagpipes' > /dev/null 2>&1 || "${pip[@]}" "${requirements[@]}"
"$folder/bin/python" -c 'import dsps' > /dev/null 2>&1 ||
    "${pip[@]}" "dsps==0.4.0" "jax==0.10.2" "jaxlib==0.10.2" || echo "dsps could not be installed: it is left out"
"$folder/bin/python" - <<'PYTHON'
from importlib.metadata import PackageNotFoundError, version


def named(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


print("peers ready:", ", ".join(map(named, ("bagpipes", "dsps", "numpy"))))
PYTHON
