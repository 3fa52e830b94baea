"""Execute every notebook of this folder in place, or fail with the cell that broke."""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> int:
    """Run the notebooks named on the command line, or all."""
    folder = Path(__file__).parent
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # progress bars are text here
    paths = [Path(p) for p in sys.argv[1:]] or sorted(folder.glob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
        nbformat.write(notebook, path)
        print(f"executed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
