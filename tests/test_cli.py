"""The command line: what it parses, what it calls, and how it reports errors."""

import pytest

from scarlet_sed import cli, pipeline
from scarlet_sed.errors import ConfigError


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setattr("scarlet_sed.cli.use_compilation_cache", lambda: None)


class Done:
    """Stands in for an outcome."""

    def summary(self):
        return "all is well"


def test_fit_calls_the_pipeline_and_prints_the_summary(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(pipeline, "run_fit", lambda *a, **k: (called.append((a, k)), Done())[1])
    assert cli.main(["fit", "a.toml", "--out", "results"]) == 0
    assert called == [(("a.toml", "results"), {"progress": True})]
    assert capsys.readouterr().out == "all is well\n"
    assert cli.main(["fit", "a.toml", "--out", "results", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_demo_and_check_call_the_pipeline(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(pipeline, "run_demo", lambda *a, **k: (called.append(a), Done())[1])
    monkeypatch.setattr(pipeline, "run_check", lambda *a: (called.append(a), "a table")[1])
    assert cli.main(["demo", "--seed", "7"]) == 0
    assert cli.main(["check", "a.toml"]) == 0
    assert called == [("demo_out", 7), ("a.toml", None)]
    assert "a table" in capsys.readouterr().out


def test_sample_passes_its_options_on_and_prints_the_summary(monkeypatch, capsys):
    called = []

    class Sampled(Done):
        interrupted = False

    monkeypatch.setattr(pipeline, "run_sample", lambda *a, **k: (called.append((a, k)), Sampled())[1])
    assert cli.main(["sample", "DIR"]) == 0
    assert called == [(("DIR", None, pipeline.SampleOptions()), {"progress": True})]
    options = "--sources s01 s02 --chains 2 --warmup 10 --draws 20 --seed 3 --target-accept 0.95 --marginalize"
    assert cli.main(["sample", "DIR", "--out", "other", *options.split(), "--moves", "p.zip", "--quiet"]) == 0
    asked = pipeline.SampleOptions(("s01", "s02"), 2, 10, 20, 3, 0.95, marginalize=True, moves="p.zip")
    assert called[1] == (("DIR", "other", asked), {"progress": False})
    assert capsys.readouterr().out == "all is well\n"


def test_errors_are_one_line_on_stderr_with_exit_code_2(monkeypatch, capsys, tmp_path):
    assert cli.main(["check", str(tmp_path / "none.toml")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("scarlet-sed: error: cannot read") and "Fix:" in captured.err

    def fail(*_, **__):
        raise ConfigError("a\nproblem", fix="mend it")

    monkeypatch.setattr(pipeline, "run_fit", fail)
    assert cli.main(["fit", "a.toml", "--out", "x"]) == 2
    assert capsys.readouterr().err == "scarlet-sed: error: a problem. Fix: mend it.\n"


def test_interrupting_is_quiet(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_check", stop)
    assert cli.main(["check", "a.toml"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fit"],
        ["fit", "a.toml"],
        ["sample"],
        ["sample", "DIR", "--chains", "x"],
        ["draw", "a.toml"],
        ["demo", "--seed", "x"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err
