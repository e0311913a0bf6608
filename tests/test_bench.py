"""`vocseg bench`: its command line, and what becomes of benchmarks that fail. Nothing is timed here."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.harness import Measured, Row
from pipeline import cli, cli_bench

ROOT = pathlib.Path(cli.__file__).parents[1]


def _bench(*arguments: str, cwd: pathlib.Path, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-P", "-m", "pipeline", "bench", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "data" / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, data: pathlib.Path) -> Callable[..., int]:
    """Runs benchmarks by what they do."""
    monkeypatch.setattr(benchmarks.quiet, "quiet_tfx", lambda: None)  # It is for the rest of a process.

    def run(*arguments: str, **ways: Callable[[], list[Row]]) -> int:
        monkeypatch.setattr(benchmarks, "NAMES", dict.fromkeys(ways, "is made up"))
        for name, way in ways.items():
            module = types.SimpleNamespace(run=lambda data, turns, way=way: way())
            monkeypatch.setitem(sys.modules, f"benchmarks.{name}", module)
        return benchmarks.main([*ways, "--data", str(data), *arguments])

    return run


def _row(ours_s: float = 1) -> list[Row]:
    """Returns a row that misses its aim, unless ours took a second or less."""
    ours, reference = Measured("ours", (ours_s,), 10), Measured("theirs", (1,), 10)
    return [Row(what="made up", unit="images", ours=ours, reference=reference, aim=1)]


def _fail() -> list[Row]:
    raise RuntimeError("the pipe burst")


def _interrupt() -> list[Row]:
    raise KeyboardInterrupt


def test_help_lists_all_benchmarks_without_heavy_imports(tmp_path: pathlib.Path) -> None:
    done = _bench("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for name, text in benchmarks.NAMES.items():
        assert f"  {name:<12} {text}\n" in done.stdout
        assert importlib.util.find_spec(f"benchmarks.{name}")
    command = [sys.executable, "-X", "importtime", "-m", "benchmarks", "--help"]
    imports = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stderr
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in imports.splitlines()}
    assert "argparse" in imported and not imported & {"tensorflow", "tfx", "keras", "apache_beam", "numpy", "PIL"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --data DIR, a folder that holds VOCdevkit/VOC2007"),
        (("metric",), "give --data DIR, a folder that holds VOCdevkit/VOC2007"),
        (("metrics", "--data", "data"), "there is no benchmark metrics; there are cold_start, "),
        (("--data", "data/VOCdevkit"), "there is no VOCdevkit/VOC2007 in data/VOCdevkit"),
        (("--data", "data", "--turns", "0"), "--turns: expected 1 or more; got 0"),
        (("pytorch", "--data", "data"), "pytorch needs --torch PYTHON, or TORCH_PYTHON"),
        (("pytorch", "--data", "data", "--torch", "nowhere/python"), "nowhere/python cannot be executed"),
        (("--data", "data", "--output", "nowhere/out.json"), "--output: nowhere/out.json cannot be written"),
    ],
    ids=" ".join,
)
def test_wrong_command_line_says_what_to_give_and_exits_with_2(
    data: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(data.parent)
    for name in ("VOCSEG_SHARED_DATA", benchmarks.TORCH):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as error:
        benchmarks.main(arguments)
    assert error.value.code == 2
    assert words in capsys.readouterr().err


def test_arguments_and_status_pass_through_and_a_folder_of_the_users_is_left_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").write_text("print('mine')")
    done = _bench("--turns", "3", "zzz", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "vocseg bench: error: there is no benchmark zzz" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["metric", "--data", "x"], ["--data", "x"]], ids=" ".join)
def test_installation_without_the_checkout_is_told_where_benchmarks_are(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, arguments: list[str]
) -> None:
    monkeypatch.setattr(cli_bench, "CHECKOUT", tmp_path)
    assert cli.main(["bench", *arguments]) == 1
    assert "in the repository's checkout" in capsys.readouterr().err


def test_missed_aim_is_no_failure(run: Callable[..., int], capsys: pytest.CaptureFixture) -> None:
    assert run(slow=lambda: _row(ours_s=2)) == 0
    assert "0.50 (0.50 to 0.50) | 1: missed |" in capsys.readouterr().out


@pytest.mark.parametrize("debug", [False, True])
def test_benchmark_that_fails_makes_the_status_1_and_leaves_the_others_their_results(
    run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: pathlib.Path, debug: bool
) -> None:
    output = tmp_path / "result.json"
    flags = ["--output", str(output), *(["--debug"] if debug else [])]
    assert run(*flags, first=_row, bad=_fail, last=_row) == 1
    captured = capsys.readouterr()
    assert captured.out.count("| made up |") == 2
    assert "error: bad failed: RuntimeError: the pipe burst" in captured.err
    assert ("Traceback" in captured.err) == debug
    result = json.loads(output.read_text())
    assert (len(result["rows"]), result["failed"]) == (2, {"bad": "RuntimeError: the pipe burst"})
    assert result["machine"]["cores"] >= 1


def test_what_has_been_measured_is_written_before_the_next_begins(run: Callable[..., int], tmp_path: pathlib.Path) -> None:
    output, seen = tmp_path / "result.json", []

    def look() -> list[Row]:
        seen.extend(json.loads(output.read_text())["rows"])
        return []

    assert run("--output", str(output), first=_row, second=look) == 0
    assert [row["benchmark"] for row in seen] == ["first"]


def test_data_is_looked_for_where_the_tests_have_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_SHARED_DATA", str(tmp_path))
    assert benchmarks._parser().parse_args([]).data == tmp_path / "voc2007"


def test_interrupt_is_status_130_and_keeps_what_has_been_measured(
    run: Callable[..., int], capsys: pytest.CaptureFixture, tmp_path: pathlib.Path
) -> None:
    output = tmp_path / "result.json"
    assert run("--output", str(output), first=_row, long=_interrupt, last=_row) == 130
    captured = capsys.readouterr()
    result = json.loads(output.read_text())
    assert (len(result["rows"]), result["failed"]) == (1, {"long": "interrupted"})
    assert captured.out.count("| made up |") == 1
    assert "interrupted" in captured.err and "Traceback" not in captured.err
