"""Benchmark scripts as subprocesses: one at a time, each in a fresh process, each with a JSON report."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
RESULTS = BENCHMARKS / "results"
PEER_PYTHON = BENCHMARKS.parent / ".venv-peers" / "bin" / "python"
Report = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One script with its arguments.

    Attributes:
        name: key of its reports, like "ours/free16".
        script: path below `benchmarks/`.
        arguments: of the command line, without `--out`.
        python: interpreter.
    """

    name: str
    script: str
    arguments: tuple[str, ...]
    python: Path = Path(sys.executable)


def ours(name: str, script: str, *arguments: object) -> Job:
    """A job of ours, run by the Python that runs this."""
    return Job(f"ours/{name}", f"ours/{script}.py", tuple(map(str, arguments)))


def peer(name: str, script: str, *arguments: object) -> Job:
    """A job of the peers' environment."""
    return Job(f"scarlet2/{name}", f"peers/{script}.py", tuple(map(str, arguments)), PEER_PYTHON)


def run(job: Job, timeout: float) -> Report:
    """The report of a job; one with a `status` of its own where it failed or could not start."""
    if not job.python.exists():
        return {"status": "skipped", "skipped": f"no environment at {job.python}: run benchmarks/peer_env.sh"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [str(job.python), str(BENCHMARKS / job.script), *job.arguments, "--out", str(out)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            return {"status": "failed", "failed": f"took longer than {timeout:.0f} s"}
        if done.returncode or not out.exists():
            last = (done.stderr.strip() or "no report").splitlines()[-1]
            return {"status": "failed", "failed": f"exit status {done.returncode}: {last}"}
        return json.loads(out.read_text())


def run_all(jobs: Sequence[Job], repeats: int, timeout: float) -> dict[str, list[Report]]:
    """Reports by job name, `repeats` of each, the jobs taken in turn so that both sides see the same machine."""
    reports: dict[str, list[Report]] = {job.name: [] for job in jobs}
    for turn in range(repeats):
        for job in jobs:
            report = run(job, timeout)
            reports[job.name].append(report)
            said = report.get("skipped") or report.get("failed") or f"load {os.getloadavg()[0]:.1f}"
            print(f"[{turn + 1}/{repeats}] {job.name}: {report.get('status')} ({said})", flush=True)
    return reports


def reading(reports: Iterable[Report], *keys: str) -> float | None:
    """Median over repeats of one number deep in the reports; None where no run has it."""
    found = []
    for report in reports:
        value: Any = report
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, (int, float)):
            found.append(float(value))
    return statistics.median(found) if found else None


def highest_load(reports: Iterable[Report]) -> float | None:
    """Largest load over one minute that any run saw at its start, its own processes before it included."""
    loads = [report["machine"]["load_1min"] for report in reports if "machine" in report]
    return max(loads) if loads else None


def write_json(path: Path, content: Any) -> None:
    """Write JSON and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")
