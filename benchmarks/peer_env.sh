#!/usr/bin/env bash
# Make the environment of the peer codes that the benchmarks compare with.
#
# usage: benchmarks/peer_env.sh [FOLDER]     (default: .venv-peers at the repository's root)
#
# The peers get an environment of their own, because their requirements are not the project's and because a
# comparison must not depend on what the project happens to pin. The numerical stack is pinned, so that a
# timing can be repeated. PYTHON picks the interpreter (default: python3, 3.11 or newer).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="${1:-$root/.venv-peers}"
python="${PYTHON:-python3}"

requirements=(
    "scarlet2==0.5.1"
    "jax==0.10.2"
    "jaxlib==0.10.2"
    "equinox==0.13.8"
    "optax==0.2.8"
    "numpyro==0.22.0"
    "numpy==2.4.6"
    "scipy==1.17.1"
    "astropy==8.0.2"
    "psutil==7.2.2"
)

"$python" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "the peers need Python 3.11 or newer")'
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}"
"$folder/bin/python" - <<'PYTHON'
from importlib.metadata import version

import scarlet2  # noqa: F401  (the import itself is the check)

names = ("scarlet2", "jax", "numpyro", "psutil")
print("peers ready:", ", ".join(f"{name} {version(name)}" for name in names))
PYTHON
