"""The command line as a user meets it: quick help, errors that say what to do, and no traceback unless asked for."""

import dataclasses
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import PIL.Image
import pytest

import pipeline_config
from components import features, predicted_files, serving
from components.errors import VocsegError
from components.models import registry
from pipeline import cli, cli_runs, request, runs
from pipeline.cli import main
from pipeline.runs import Summary
from pipeline_config import ServingConfig, TransformConfig, preset

ROOT = pathlib.Path(cli.__file__).parents[1]
COMMANDS = (
    *("run", "retrain", "prune", "compile", "submit", "schedule", "config", "runs"),
    *("report", "model", "models", "predict", "serve", "bench"),
)


def _vocseg(*arguments: str | os.PathLike, flags: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-m", "pipeline", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Works in a folder of its own, where a stray `output` would show, and keeps the environment as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")


def _rows(text: str) -> list[list[str]]:
    """Returns the cells of the tables' bodies."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


# Help.


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda command: " ".join(command) or "vocseg")
def test_help_comes_at_once_and_without_heavy_imports(command: tuple[str, ...], tmp_path: pathlib.Path) -> None:
    done = _vocseg(*command, "--help", flags=("-X", "importtime"))
    assert done.returncode == 0
    assert done.stdout.startswith("usage: " + " ".join(["vocseg", *command]))
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert {"argparse", "pipeline_config"} <= imported
    assert not imported & {"tensorflow", "tfx", "keras", "apache_beam", "tensorflow_datasets", "ml_metadata", "numpy", "PIL"}
    assert list(tmp_path.iterdir()) == []
    times = []
    while len(times) < 5 and (not times or min(times) >= 1):  # Others may be busy on this machine.
        started = time.monotonic()
        _vocseg(*command, "--help")
        times.append(time.monotonic() - started)
    assert min(times) < 1


def test_help_names_the_commands_and_presets() -> None:
    text = _vocseg("--help").stdout
    assert all(re.search(rf"^ +{name} ", text, re.MULTILINE) for name in COMMANDS)
    text = _vocseg("run", "--help").stdout
    for option in (
        "--preset",
        "--data",
        "--epochs",
        "--seed",
        "--set",
        "--root",
        "--summary",
        "--debug",
        *pipeline_config.PRESETS,
    ):
        assert option in text


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("trian",),
        ("run", "--dta", "x"),
        ("runs", "extra"),
        ("run", "--set"),
        ("model",),
        ("model", "unet", "--plot"),
        ("model", "unet", "--classes", "many"),
        ("predict",),
        ("predict", "a.jpg"),
        ("models", "prune", "--keep", "0"),
        ("models", "prune", "--keep", "many"),
    ],
    ids=" ".join,
)
def test_wrong_command_line_is_told_by_usage_and_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith("usage: vocseg")


@pytest.mark.parametrize("text", ["-1", "abc", "nan", "inf"])
def test_wait_that_is_no_duration_is_told_what_is_one(capsys: pytest.CaptureFixture, text: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(["retrain", f"--wait={text}"])
    assert error.value.code == 2
    assert f"expected a number of seconds, 0 or more; got {text!r}" in capsys.readouterr().err


def test_status_of_the_process_is_that_of_main(tmp_path: pathlib.Path) -> None:
    assert _vocseg("config").returncode == 0
    failed = _vocseg("config", "--preset", "minni")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: There is no preset 'minni'")
    assert _vocseg("confg").returncode == 2


# Errors.


def _error(capsys: pytest.CaptureFixture, *arguments: str | os.PathLike) -> str:
    """Runs a command line that must fail, and returns what it says."""
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.lstrip().startswith("error: ")
    assert "Traceback" not in captured.err
    assert "not an error that vocseg expects" not in captured.err
    return captured.err


@pytest.mark.parametrize("command", ["run", "config"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "voc207"], ["no preset 'voc207'", "mini, voc2007_scratch, voc2007", "Did you mean voc2007"]),
        (["--preset", "zzz"], ["no preset 'zzz'", "mini, voc2007_scratch, voc2007"]),
        (["--set", "train.batchsize=8"], ["no field 'train.batchsize'", "Did you mean", "train.batch_size"]),
        (["--set", "batch_size=8"], ["no field 'batch_size'", "train.batch_size"]),
        (["--set", "zzz=8"], ["no field 'zzz'", "vocseg config --preset"]),
        (["--set", "preset=mini"], ["no field 'preset'"]),
        (["--set", "train=8"], ["no field 'train'"]),
        (["--set", "train.batch_size"], ["--set takes FIELD=VALUE", "train.batch_size=8", "got 'train.batch_size'"]),
        (["--set", ""], ["--set takes FIELD=VALUE", "got ''"]),
        (["--set", "=8"], ["no field ''"]),
        (["--set", "train.batch_size="], ["train.batch_size takes a value of type int", "got ''"]),
        (["--set", "train.batch_size=eight"], ["train.batch_size takes a value of type int", "got 'eight'"]),
        (["--set", "train.batch_size=0"], ["train.batch_size must be at least 1", "got 0"]),
        (["--set", "train.learning_rate=inf"], ["train.learning_rate takes a finite number"]),
        (["--set", "train.learning_rate=nan"], ["train.learning_rate takes a finite number"]),
        (["--set", "transform.resize_method=bilinaer"], ["bilinear, bicubic", "Did you mean bilinear"]),
        (["--set", "model.name=unett"], ["model.name must be one of unet, unet_strided", "Did you mean unet"]),
        (["--set", "transform.height_px=100"], ["transform.height_px must be a multiple of 32", "got 100", "Use 96"]),
        (["--epochs", "0"], ["train.epochs must be at least 1", "got 0"]),
        (["--epochs", "many"], ["train.epochs takes a value of type int", "got 'many'"]),
        (["--seed", "-1"], ["train.seed must not be negative", "got -1"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_configuration_that_cannot_be_is_explained(
    capsys: pytest.CaptureFixture, tmp_path: pathlib.Path, command: str, arguments: list[str], expected: list[str]
) -> None:
    message = _error(capsys, command, *arguments)
    for text in expected:
        assert text in message
    assert list(tmp_path.iterdir()) == []  # Nothing was begun.


def test_missing_data_folder_is_named(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    message = _error(capsys, "run", "--data", "nowhere")
    assert "The data folder nowhere does not exist" in message and "--data" in message
    assert list(tmp_path.iterdir()) == []


def test_data_without_a_name_is_no_data_folder(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    """As of a variable that is not set: the official data would be another run's."""
    assert "--data is empty" in _error(capsys, "run", "--data", "")
    assert "--data is empty" in _error(capsys, "compile", "--target", "vertex", *COMPLETE, "--data", "", "--output", "x.json")
    assert list(tmp_path.iterdir()) == []


def test_empty_data_folder_is_named(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    (tmp_path / "data").mkdir()
    assert "The data folder data is empty" in _error(capsys, "run", "--data", "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_data_that_is_a_file_is_not_said_to_be_missing(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    """The official tar file itself, say, instead of the folder that holds it."""
    (tmp_path / "VOCtest_06-Nov-2007.tar").write_text("x")
    message = _error(capsys, "run", "--data", "VOCtest_06-Nov-2007.tar")
    assert "VOCtest_06-Nov-2007.tar" in message and "folder" in message
    assert "does not exist" not in message


@pytest.mark.parametrize("root", ["file", "file/below", "/proc/nowhere/root"])
def test_root_that_cannot_be_a_folder_is_named(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path, root: str) -> None:
    (tmp_path / "file").write_text("mine")
    message = _error(capsys, "run", "--root", root)
    assert f"--root: the folder {root} cannot be made" in message
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("file/summary.json", "--summary: the folder file cannot be made"),
        ("/proc/nowhere/summary.json", "--summary: the folder /proc/nowhere cannot be made"),
        ("folder", "--summary: folder is "),
    ],
)
def test_summary_that_cannot_be_written_is_named_before_the_run(
    capsys: pytest.CaptureFixture, tmp_path: pathlib.Path, summary: str, expected: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    assert expected in _error(capsys, "run", "--summary", summary)
    assert not (tmp_path / "output" / "runs").exists()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_summary_that_is_no_regular_file_is_refused(tmp_path: pathlib.Path, kind: str) -> None:
    """A summary is put in its place by renaming: `--summary /dev/stdout` would put a plain file in the device's place."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    with pytest.raises(VocsegError, match="--summary"):
        request.check_paths({"--root": "root"}, kind)


def test_folder_without_right_to_write_is_named(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # The tests may run as root, who may do everything.
    assert "--root: the folder out cannot be written to" in _error(capsys, "run", "--root", "out")


def test_traceback_is_shown_with_debug_only() -> None:
    plain, debug = (_vocseg("config", "--preset", "minni", *flag) for flag in ((), ("--debug",)))
    assert (plain.returncode, debug.returncode) == (1, 1)
    assert "Traceback" not in plain.stderr
    assert "Traceback (most recent call last)" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


def test_unexpected_error_is_told_by_type_and_beginning(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> int:
        raise RuntimeError("the pipe burst " + "x" * 5000)

    monkeypatch.setattr(cli_runs, "_config", fail)
    assert main(["config"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: RuntimeError: the pipe burst xxx")
    assert "--debug" in message and "Traceback" not in message
    assert len(message) < 1000


def test_interrupt_is_status_130_without_traceback(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_runs, "_config", interrupt)
    assert main(["config"]) == 130
    captured = capsys.readouterr()
    assert "interrupted" in captured.err and "Traceback" not in captured.err


@pytest.mark.parametrize("unbuffered", [True, False])
def test_reader_that_has_gone_is_no_error_to_talk_of(unbuffered: bool) -> None:
    """As in `vocseg config | head -n 1`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = "1"
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "config"],
            cwd=ROOT,
            env=environment,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


# config.


def _config(capsys: pytest.CaptureFixture, *arguments: str) -> dict[str, str]:
    assert main(["config", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return dict(line.split(" = ", 1) for line in captured.out.splitlines())


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_config_prints_every_field(capsys: pytest.CaptureFixture, name: str) -> None:
    expected = {field: str(value) for field, value in pipeline_config.fields(preset(name)).items()}
    assert _config(capsys, "--preset", name) == expected
    assert expected["preset"] == name


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_config_that_is_printed_can_be_set(capsys: pytest.CaptureFixture, name: str) -> None:
    printed = _config(capsys, "--preset", name)
    settable = [f"--set={field} = {value}" for field, value in printed.items() if "." in field]
    assert len(settable) == len(printed) - 1
    assert _config(capsys, "--preset", name, *settable) == printed


def test_config_of_one_preset_makes_it_of_another(capsys: pytest.CaptureFixture) -> None:
    voc2007 = _config(capsys, "--preset", "voc2007")
    settable = [f"--set={field}={value}" for field, value in voc2007.items() if "." in field]
    assert _config(capsys, "--preset", "mini", *settable) == voc2007 | {"preset": "mini"}


def test_overrides_reach_the_configuration(capsys: pytest.CaptureFixture) -> None:
    before = _config(capsys, "--preset", "mini")
    after = _config(
        capsys, "--preset", "mini", "--epochs", "3", "--seed", "7", "--set", "train.batch_size=4", "--set", "data.name=june"
    )
    changed = {"train.epochs": "3", "train.seed": "7", "train.batch_size": "4", "data.name": "june"}
    assert after == before | changed


def test_last_override_of_a_field_counts(capsys: pytest.CaptureFixture) -> None:
    assert _config(capsys, "--set", "train.epochs=4", "--set", "train.epochs=5")["train.epochs"] == "5"


def test_value_may_hold_an_equals_sign(capsys: pytest.CaptureFixture) -> None:
    assert _config(capsys, "--set", "data.spec=a=b")["data.spec"] == "a=b"


def test_help_says_the_default_preset_and_it_is_the_one(capsys: pytest.CaptureFixture) -> None:
    default = _config(capsys)["preset"]
    assert re.search(rf"--preset[^-]*default:\s+{default}\)", _vocseg("config", "--help").stdout)


# model.

SMALL = ("--preset", "mini", "--set", "model.filters=2")


def test_model_prints_the_table_of_layers_at_the_presets_size(capsys: pytest.CaptureFixture) -> None:
    assert main(["model", "unet", *SMALL, "--classes", "5"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "unet" in captured.out
    assert "64 x 64 x 3" in captured.out and "64 x 64 x 5" in captured.out


def test_piped_table_of_a_model_is_whole_and_alone(tmp_path: pathlib.Path) -> None:
    done = _vocseg("model", "deeplabv3plus", "--preset", "mini", "--plot", "net.png", "--summary")
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row[0]: row[1:] for row in _rows(done.stdout)}
    # 256 channels to 21 classes, with biases; 3x3 of 304 = 256 + 48 channels, each by itself, without.
    assert rows["logits"][:3] == ["Conv2D 1x1", "16 x 16 x 21", "5,397"]
    assert rows[rows["logits"][3]][:2] == ["ReLU", "16 x 16 x 256"]
    assert rows["concatenate_1"][:2] == ["Concatenate", "16 x 16 x 304"]
    depthwise = next(row for row in rows.values() if row[3] == "concatenate_1")
    assert depthwise == ["DepthwiseConv2D 3x3", "16 x 16 x 304", "2,736", "concatenate_1"]
    assert re.search(r"^3,912,869 parameters, of which 3,\d{3},\d{3} are learnt$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("deeplabv3plus, drawn: net.png\n")
    assert [path.name for path in tmp_path.iterdir()] == ["net.png"]


def test_model_rounds_a_size_that_does_not_fit_the_architecture(capsys: pytest.CaptureFixture) -> None:
    # Mini's 64 at depth 3: logits of 8 * 7 + 4 = 60 or 68; Python rounds 7.5 to even. The margin is 6 * 8 - 4.
    assert main(["model", "unet_original", *SMALL, "--summary"]) == 0
    table = capsys.readouterr().out
    assert "156 x 156 x 3" in table and "68 x 68 x 21" in table


def test_model_needs_no_weights_of_an_encoder(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: pytest.fail("it downloads"))
    assert main(["model", "unet_pretrained", "--set", "model.encoder=mobilenet_v2"]) == 0
    assert ["encoder", "Encoder"] in [row[:2] for row in _rows(capsys.readouterr().out)]


def test_model_is_drawn_and_then_the_table_is_not_printed(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    assert main(["model", "unet", *SMALL, "--plot", "unet.png"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("unet, drawn: unet.png\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["unet.png"]
    with PIL.Image.open(tmp_path / "unet.png") as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
    assert main(["model", "unet", *SMALL, "--plot", "unet.png", "--summary"]) == 0
    assert "64 x 64 x 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["unett"], ["model.name must be one of unet, unet_strided", "got 'unett'", "Did you mean unet"]),
        (["zzz"], ["model.name must be one of unet, unet_strided", "got 'zzz'"]),
        (["unet", "--preset", "minni"], ["no preset 'minni'", "Did you mean mini"]),
        (["unet", "--set", "model.filtres=3"], ["no field 'model.filtres'", "model.filters"]),
        (["unet", "--set", "model.filters"], ["--set takes FIELD=VALUE"]),
        (["unet", "--set", "model.name=fcn8s"], ["Two models are asked for: unet, and --set model.name=fcn8s"]),
        (["unet", "--set", "train.epochs=3", "--set", "augment.flip=true"], ["does not depend on augment, train", "model.*"]),
        (["unet", "--set", "model.activation=reluu"], ["Keras has no activation 'reluu'"]),
        (["unet", "--set", "model.head=sigmoid"], ["model.head=sigmoid is for two classes"]),
        (["unet", "--classes", "1"], ["--classes must be at least 2; got 1"]),
        (
            ["unet", *SMALL, "--plot", "nowhere/unet.png"],
            ["--plot: nowhere/unet.png cannot be written", "a folder that exists"],
        ),
        (["unet", *SMALL, "--plot", "unet.svg"], ["--plot draws a PNG", "got unet.svg"]),
        (["unet", *SMALL, "--plot", "."], ["--plot draws a PNG", "got ."]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith(("unet", "zzz")) else "",
)
def test_model_that_cannot_be_shown_is_explained(
    capsys: pytest.CaptureFixture, tmp_path: pathlib.Path, arguments: list[str], expected: list[str]
) -> None:
    message = _error(capsys, "model", *arguments)
    for text in expected:
        assert text in message
    assert list(tmp_path.iterdir()) == []


def test_model_may_be_named_twice_alike(capsys: pytest.CaptureFixture) -> None:
    assert main(["model", "unet", *SMALL, "--set", "model.name=unet"]) == 0


def test_path_of_the_drawing_is_looked_at_before_the_network_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "build", lambda *_, **__: pytest.fail("it builds"))
    assert main(["model", "unet", *SMALL, "--plot", "nowhere/unet.png"]) == 1


# runs.


def _record(root: pathlib.Path, name: str, **values: Any) -> None:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    runs.write(Summary(run=name, pipeline="mini.embedded", **values), folder / runs.SUMMARY_FILE)


def test_no_runs_is_no_error(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    assert main(["runs", "--root", "nowhere"]) == 0
    captured = capsys.readouterr()
    assert "There are no runs in nowhere" in captured.out and "vocseg run" in captured.out
    assert captured.err == ""
    assert list(tmp_path.iterdir()) == []


def test_runs_are_listed_with_status_metrics_and_verdict(tmp_path: pathlib.Path) -> None:
    blessed = {"blessed": True, "split": "test", "reasons": []}
    _record(tmp_path, "20260101T000000Z", status="succeeded", seconds=70.0, metrics={"mean_iou": 0.75}, verdict=blessed)
    _record(tmp_path, "20260102T000000Z", status="failed", seconds=3.0, error="no")
    done = _vocseg("runs", "--root", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert _rows(done.stdout) == [
        ["20260101T000000Z", "mini.embedded", "succeeded", "0.7500", "blessed", "1 min 10 s"],
        ["20260102T000000Z", "mini.embedded", "failed", "-", "-", "3 s"],
    ]


def test_long_names_of_runs_are_not_cut_where_the_output_is_no_terminal(tmp_path: pathlib.Path) -> None:
    """Scripts read it."""
    name = "voc2007." + "a_long_name_of_a_data_folder_" * 6 + "-123456"
    (tmp_path / "runs" / "r").mkdir(parents=True)
    runs.write(Summary(run="20260101T000000Z", pipeline=name, status="succeeded"), tmp_path / "runs" / "r" / "summary.json")
    done = _vocseg("runs", "--root", tmp_path)
    assert name in done.stdout
    assert "succeeded" in done.stdout


def test_one_broken_record_does_not_hide_the_other_runs(capsys: pytest.CaptureFixture, tmp_path: pathlib.Path) -> None:
    _record(tmp_path, "20260101T000000Z", status="succeeded")
    _record(tmp_path, "20260102T000000Z", status="succeeded")
    (tmp_path / "runs" / "20260102T000000Z" / "summary.json").write_text('{"run": "2026')
    assert main(["runs", "--root", str(tmp_path)]) == 0
    assert "20260101T000000Z" in capsys.readouterr().out


# predict.

NAMES = ("background", "red", "green [leaf]", "blue")
COLORS = {"background": (90, 90, 90), "red": (200, 0, 0), "green": (0, 220, 40), "blue": (10, 20, 250)}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model that tells a picture's class by its colour."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(4, 1)
    network = keras.Model(inputs, layer(inputs))
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, :, 1:] = np.eye(3)
    layer.set_weights([kernel, np.array([0.5, 0, 0, 0], np.float32)])
    folder = tmp_path_factory.mktemp("models") / "mini.embedded" / "1700000000"
    transform = TransformConfig(height_px=8, width_px=8)
    serving.save(network, str(folder), transform, ServingConfig(), NAMES, features.voc_palette(len(NAMES)))
    return folder


@pytest.fixture
def picture(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "in").mkdir()
    PIL.Image.new("RGB", (7, 5), COLORS["red"]).save(tmp_path / "in" / "a.jpg", quality=95)
    return tmp_path / "in" / "a.jpg"


def _push(version: pathlib.Path, root: pathlib.Path, name: str) -> None:
    (root / "models" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "models" / name).symlink_to(version, target_is_directory=True)


def test_predict_writes_mask_and_overlay_and_says_the_pixels(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    green = picture.with_name("b.png")
    PIL.Image.new("RGB", (10, 2), COLORS["green"]).save(green)
    assert main(["predict", "--model", str(version), str(picture), str(green), "--out", "out"]) == 0
    text = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a_overlay.jpeg", "b.png", "b_overlay.jpeg"]
    with PIL.Image.open(tmp_path / "out" / "a.png") as mask:
        assert (mask.mode, mask.size, np.unique(np.asarray(mask)).tolist()) == ("P", (7, 5), [1])
    assert "2 pictures" in text
    assert [cells[0] for cells in _rows(text)] == ["red", "green [leaf]"]  # The table counts 35 and 20 of 55 pixels.
    assert [cells[1:] for cells in _rows(text)] == [["35", "63.6%"], ["20", "36.4%"]]
    assert f"model {version}" in text and "masks and overlays in out" in text


def test_predict_takes_the_newest_version_of_all_pipelines(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for name in ("voc2007.x/999", "mini.embedded/1000", "mini.embedded/.incoming-2000", "mini.embedded/latest"):
        _push(version, tmp_path / "root", name)
    (tmp_path / "root" / "models" / "mini.embedded" / "3000").write_text("a file is no version")
    assert main(["predict", "--root", "root", str(picture), "--out", "out"]) == 0
    assert "model root/models/mini.embedded/1000\n" in capsys.readouterr().out


def test_predict_without_a_pushed_model_says_how_to_get_one(capsys: pytest.CaptureFixture, picture: pathlib.Path) -> None:
    message = _error(capsys, "predict", "--root", "nowhere", picture, "--out", "out")
    assert "No model has been pushed in nowhere" in message
    assert "--model" in message and "vocseg run" in message


@pytest.mark.parametrize("model", ["nowhere", "in", "in/a.jpg"])
def test_predict_with_a_folder_that_is_no_model_names_it(
    capsys: pytest.CaptureFixture, picture: pathlib.Path, model: str
) -> None:
    assert f"{model} is no model of vocseg" in _error(capsys, "predict", "--model", model, picture, "--out", "out")


def test_predict_with_missing_pictures_says_which(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    message = _error(capsys, "predict", "--model", version, picture, "in/x.jpg", "in/y.jpg", "--out", "out")
    assert "in/x.jpg" in message
    assert not (tmp_path / "out").exists()


def test_predict_with_a_folder_without_pictures_names_it(
    capsys: pytest.CaptureFixture, version: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "empty").mkdir()
    message = _error(capsys, "predict", "--model", version, "empty", "--out", "out")
    assert "The folder empty names no pictures" in message


@pytest.mark.parametrize("out", ["in/a.jpg", "in/a.jpg/below", "/proc/nowhere"])
def test_predict_into_a_place_that_cannot_be_a_folder_names_it(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, out: str
) -> None:
    before = picture.read_bytes()
    message = _error(capsys, "predict", "--model", version, picture, "--out", out)
    assert f"--out: the folder {out} cannot be made" in message
    assert picture.read_bytes() == before


def test_predict_into_the_pictures_own_folder_replaces_none(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path
) -> None:
    before = picture.read_bytes()
    assert main(["predict", "--model", str(version), str(picture), "--out", "in"]) == 0
    assert sorted(path.name for path in picture.parent.iterdir()) == ["a.jpg", "a.png", "a_overlay.jpeg"]
    assert picture.read_bytes() == before
    capsys.readouterr()
    png = picture.with_name("b.png")
    PIL.Image.new("RGB", (7, 5), COLORS["red"]).save(png)
    before = png.read_bytes()
    assert "in/b.png would replace a picture" in _error(capsys, "predict", "--model", version, png, "--out", "in")
    assert png.read_bytes() == before


def test_predict_goes_on_after_a_bad_picture_and_names_it(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bad = picture.with_name("bad.jpg")
    bad.write_bytes(picture.read_bytes()[:200])
    assert main(["predict", "--model", str(version), str(bad), str(picture), "--out", "out"]) == 1
    captured = capsys.readouterr()
    assert f"{bad}: " in captured.err
    assert "1 of 2 pictures could not be read" in captured.err
    assert "Traceback" not in captured.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a_overlay.jpeg"]
    assert [cells[:2] for cells in _rows(captured.out)] == [["red", "35"]]


def test_all_pictures_bad_is_an_error_and_no_crash(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path
) -> None:
    picture.write_bytes(b"")
    assert main(["predict", "--model", str(version), str(picture), "--out", "out"]) == 1
    captured = capsys.readouterr()
    assert "1 of 1 pictures could not be read" in captured.err
    assert _rows(captured.out) == []


def test_predict_as_a_process_says_nothing_but_its_result(version: pathlib.Path, picture: pathlib.Path) -> None:
    done = _vocseg("predict", "--model", version, picture, "--out", "out", cwd=picture.parents[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().splitlines()[0].strip() == "1 pictures"


def test_predict_writes_a_json_line_a_picture_with_boxes_also_for_bad_ones(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bad = picture.with_name("bad.png")
    bad.write_bytes(b"")
    assert main(["predict", "--model", str(version), "in", "--out", "out", "--json", "out/found.jsonl"]) == 1
    first, second = map(json.loads, (tmp_path / "out" / "found.jsonl").read_text().splitlines())
    (box,) = first.pop("boxes")
    assert first == {
        "image": "in/a.jpg",
        "mask": "out/a.png",
        "overlay": "out/a_overlay.jpeg",
        "height": 5,
        "width": 7,
        "pixels": {"red": 35},
        "error": None,
    }
    assert 0.3 < box.pop("mean_score") < 0.4  # Of logits 0.5, 0.78, 0, 0.
    assert box == {"class": "red", "left": 0, "top": 0, "right": 7, "bottom": 5, "area": 35}
    assert (second["image"], second["mask"], second["boxes"]) == ("in/bad.png", None, [])
    assert second["error"] and f"in/bad.png: {second['error']}" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a_overlay.jpeg", "found.jsonl"]


def test_predict_with_json_to_standard_output_writes_nothing_else_there(version: pathlib.Path, picture: pathlib.Path) -> None:
    done = _vocseg("predict", "--model", version, picture, "--out", "out", "--json", "-", cwd=picture.parents[1])
    assert done.returncode == 0
    assert [json.loads(line)["pixels"] for line in done.stdout.splitlines()] == [{"red": 35}]
    assert done.stderr.strip().splitlines()[0].strip() == "1 pictures"


def test_predict_takes_folders_with_equal_names_patterns_and_a_list(
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    version: pathlib.Path,
    picture: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(picture.read_bytes())
    command = ["predict", "--model", str(version), "--out", "out"]
    assert main([*command, "one", "two"]) == 0
    assert sorted(str(path.relative_to("out")) for path in pathlib.Path("out").rglob("*.*")) == [
        f"{folder}/a{end}" for folder in ("one", "two") for end in (".png", "_overlay.jpeg")
    ]
    assert main([*command, "???/a.*"]) == 0
    assert "2 pictures" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one/a.jpg\nmissing.jpg\n")))
    assert main([*command, "-"]) == 1
    captured = capsys.readouterr()
    assert "1 pictures" in captured.out
    assert "missing.jpg: the file cannot be opened" in captured.err


def test_predict_says_no_boxes_for_small_regions_if_told_so(
    version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    command = ["predict", "--model", str(version), str(picture), "--out", "out", "--json", "found.jsonl", "--min-area"]
    for least, expected in (("35", 1), ("36", 0)):
        assert main([*command, least]) == 0
        assert len(json.loads((tmp_path / "found.jsonl").read_text())["boxes"]) == expected


def test_predict_looks_again_and_in_tiles_if_told_so(
    version: pathlib.Path, picture: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = COLORS["red"], COLORS["blue"]  # At the network's 8 x 8 pixels they are grey.
    PIL.Image.fromarray(stripes).save(picture.with_name("stripes.png"))
    command = ["predict", "--model", str(version), "in/stripes.png", "--out", "out"]
    found = {}
    for options in ((), ("--tta",), ("--tile",), ("--tta", "--tile")):
        assert main([*command, *options]) == 0
        with PIL.Image.open(tmp_path / "out" / "stripes.png") as mask:
            found[options] = np.asarray(mask)
    right = {options: float((mask == [[1, 3] * 12] * 24).mean()) for options, mask in found.items()}
    assert right[()] < 0.5 and right[("--tta",)] < 0.5
    assert right[("--tile",)] == right[("--tta", "--tile")] == 1
    assert not np.array_equal(found[()], found[("--tta",)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--json", "nowhere/found.jsonl"), "--json: nowhere/found.jsonl cannot be written"),
        (("--json", "in/a.jpg"), "--json: in/a.jpg is a picture of this run"),
        (("--json", "out/a.png"), "--json: out/a.png is a picture of this run"),
        (("--min-area", "-1"), "--min-area takes a number of pixels, 0 or more; got -1"),
    ],
)
def test_predict_with_options_that_cannot_be_says_which(
    capsys: pytest.CaptureFixture, version: pathlib.Path, picture: pathlib.Path, arguments: tuple[str, ...], message: str
) -> None:
    pathlib.Path("out").mkdir()
    before = picture.read_bytes()
    assert message in _error(capsys, "predict", "--model", version, picture, "--out", "out", *arguments)
    assert picture.read_bytes() == before


def test_interrupted_predict_leaves_no_half_of_the_json_and_keeps_the_old_one(
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    version: pathlib.Path,
    picture: pathlib.Path,
    tmp_path: pathlib.Path,
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[predicted_files.Prediction]:
        yield predicted_files.Prediction(picture, None, "bad", {})
        raise KeyboardInterrupt

    monkeypatch.setattr(predicted_files, "predict_files", interrupted)
    (tmp_path / "found.jsonl").write_text("old")
    assert main(["predict", "--model", str(version), str(picture), "--out", "out", "--json", "found.jsonl"]) == 130
    assert (tmp_path / "found.jsonl").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.jsonl", "in", "out"]
    assert "interrupted" in capsys.readouterr().err


# The whole.


def test_commands_offer_no_root_where_they_use_none() -> None:
    offered = {name: "--root" in _vocseg(name, "--help").stdout for name in COMMANDS}
    assert {name for name, has in offered.items() if not has} == {"bench", "config", "model"}


COMPLETE = (
    "--project",
    "pictures-1",
    "--region",
    "us-central1",
    "--set",
    "cloud.image=gcr.io/p/i",
    "--root",
    "gs://pictures/x",
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--dry-run",), ["give --runner dataflow"]),
        (("--runner", "dataflow"), ["project is missing", "region is missing", "image is missing", "--root must be"]),
        (("--runner", "dataflow", "--project", "X"), ["cloud.project is a project's id", "got 'X'"]),
        (("--runner", "dataflow", *COMPLETE, "--data", "."), ["--data is on this machine"]),
        (("--runner", "dataflow", *COMPLETE, "--beam", "region=us-east1"), ["configuration says --region=us-central1"]),
        (("--runner", "dataflow", *COMPLETE, "--dry-run", "--beam", "num_worker=2"), ["Did you mean num_workers"]),
        (("--runner", "dataflow", "--profile"), ["--profile times what is done on this machine", "Dataflow's console shows"]),
        (("--runner", "dataflow", "--profile", "--dry-run"), ["--profile times what is done on this machine"]),
        (("--runner", "portable", "--profile", "--beam", "job_endpoint=a:1"), ["--profile", "the job server's own page"]),
        (("--runner", "portable"), ["--beam job_endpoint=HOST:PORT"]),
        (("--beam", "direct_num_worker=2"), ["Did you mean direct_num_workers"]),
    ],
)
def test_setting_of_a_runner_that_cannot_be_is_told_and_nothing_is_written(
    capfd: pytest.CaptureFixture, tmp_path: pathlib.Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    assert main(["run", *arguments]) == 1
    error = capfd.readouterr().err.partition("error: ")[2]  # Before it, under pytest: what Beam logs when it is imported.
    assert all(word in error for word in words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "retrain"])
@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (KeyboardInterrupt(), 130, True),
        (AssertionError("Job did not reach to a terminal state after waiting indefinitely."), 1, True),
        (ConnectionResetError(104, "Connection reset by peer"), 1, True),
        (VocsegError("Leaks were found."), 1, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_run_on_dataflow_that_ends_before_its_job_says_how_to_cancel_that(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, command: str, error: BaseException, status: int, told: bool
) -> None:
    """As after an expired login, or where the connection is lost."""

    def fail(*given: object, **others: object) -> None:
        raise error

    monkeypatch.setattr("pipeline.run.run_graph", fail)
    assert main([command, "--runner", "dataflow", *COMPLETE, "--local", "local"]) == status
    said = capsys.readouterr().err
    place = "--project pictures-1 --region us-central1"
    [run] = [path.name.lower() for path in pathlib.Path("local").glob("stores/*/runs/*")]
    wanted = re.escape(f"gcloud dataflow jobs list {place} --status active --filter 'name:vocseg-")
    assert bool(re.search(rf"{wanted}[a-z0-9-]+-{run}-[0-9a-f]{{6}}-\*'", said)) == told
    assert (f"gcloud dataflow jobs cancel {place} JOB_ID" in said) == told


@pytest.mark.parametrize("command", ["run", "retrain"])
def test_run_here_or_one_that_has_not_begun_says_nothing_of_jobs(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupt(*given: object, **others: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.run.run_graph", interrupt)
    assert main([command]) == 130
    monkeypatch.setattr("pipeline.run.make_folders", interrupt)
    assert main([command, "--runner", "dataflow", *COMPLETE]) == 130
    assert "gcloud" not in capsys.readouterr().err


def test_runner_and_options_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("pipeline.run.run", lambda *given: seen.extend(given))
    assert main(["run", "--runner", "dataflow", *COMPLETE, "--beam", "num_workers=2"]) == 0
    config, asked = seen
    assert (asked.runner, asked.beam) == ("dataflow", ("num_workers=2",))
    assert config.cloud.project == "pictures-1"


@pytest.mark.parametrize("command", ["run", "retrain"])
def test_profile_is_asked_for_beside_the_configuration_and_changes_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    seen = []
    monkeypatch.setattr("pipeline.run.run", lambda *given: seen.append(given[:2]))
    for flag in ([], ["--profile"]):
        main([command, "--preset", "mini", *flag])
    (config, plain), (profiled_config, profiled) = seen
    assert profiled_config == config
    assert (plain.profile, profiled) == (False, dataclasses.replace(plain, profile=True))


def test_dry_run_refuses_what_the_run_refuses(capsys: pytest.CaptureFixture) -> None:
    for change, words in ((["--span", "last:2"], "needs {SPAN}"), (["--metadata", "x"], "--metadata takes")):
        for dry in ([], ["--dry-run"]):
            assert words in _error(capsys, "run", "--runner", "dataflow", *COMPLETE, *change, *dry)
