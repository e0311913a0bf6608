"""A root in a store: a whole run with data, artifacts, state and models there, and the records of it on this machine."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from components.datasets import files
from pipeline import run_graph
from pipeline.cli import main
from pipeline.locations import local_folder, locate
from pipeline.request import Request, locations_of
from pipeline_config import preset

PROJECT = pathlib.Path(__file__).parents[1]


@pytest.mark.soak
@pytest.mark.timeout(960)
def test_whole_run_in_a_store(mini_voc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Every step reads and writes through TensorFlow, TFX or Beam; what is unchanged is not done again there, either."""
    command = [sys.executable, str(PROJECT / "tests" / "ram_run.py"), str(mini_voc), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr[-5000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["touched"] == []
    assert os.listdir(tmp_path) == ["records"]
    first, second = found["steps"]
    assert {status for name, status in first.items() if not name.endswith("Baseline")} == {"run"}
    assert {status for name, status in second.items() if not name.endswith("Baseline")} == {"cached"}
    version = found["pushed"]["version"]
    assert re.fullmatch(rf"ram://[0-9a-f]+/store/models/mini\.data-[0-9a-f]+/{version}", found["pushed"]["path"])
    places = {re.sub(r"(data-)[0-9a-f]{6}", r"\1", name) for name in found["files"]}
    model = f"models/mini.data-/{version}"
    assert {f"{model}/saved_model.pb", f"{model}/assets.extra/model_card.json"} <= places
    assert {f"models/mini.data-/.records/{version}.json", ".store"} <= places
    [here] = (tmp_path / "records" / "stores").iterdir()
    assert sorted(path.name for path in here.iterdir()) == [".lock", "metadata.sqlite", "runs"]
    newest = max((here / "runs").iterdir())
    report = (newest / "report.html").read_text()
    assert "There is no report" not in ended.stderr and report.count("data:image/") > 3  # Pictures, predicted anew.


def test_records_of_roots_in_stores_lie_apart(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one root's metadata has as done is not there in another."""
    monkeypatch.chdir(tmp_path)
    one, two = (locate(preset("mini"), f"gs://bucket/{name}", None, "output") for name in ("a", "b"))
    assert one.here != two.here
    assert one.here == local_folder("gs://bucket/a/", "output")
    assert one.here.startswith(f"{tmp_path}/output/stores/a-")
    assert (one.metadata, one.runs) == (f"{one.here}/metadata.sqlite", f"{one.here}/runs")
    assert one.artifacts == "gs://bucket/a/artifacts/mini.embedded"
    assert local_folder("out", "output") == f"{tmp_path}/out"


def test_embedded_data_is_written_to_the_store_once(ram_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_graph.fake_voc, "SPLIT_SIZES", {"train": 2, "val": 1, "test": 1})
    folder = run_graph._write_embedded(f"{ram_store}/store/data")
    below = sorted(files.files_below(folder))
    assert folder.startswith(f"{ram_store}/store/data/embedded-")
    assert len(below) == 4 * 2 + 3 and "VOCdevkit/VOC2007/ImageSets/Segmentation/train.txt" in below
    monkeypatch.setattr(run_graph.fake_voc, "write_fake_voc", lambda folder: pytest.fail("it is there"))
    assert run_graph._write_embedded(f"{ram_store}/store/data") == folder


def test_store_that_cannot_be_written_is_refused_before_any_step(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, mini_voc: pathlib.Path
) -> None:
    arguments = ["run", "--preset=mini", "--root=nowhere://bucket/store", f"--local={tmp_path}", f"--data={mini_voc}"]
    assert main(arguments) == 1
    assert "--root: nothing can be written to nowhere://bucket/store" in capsys.readouterr().err
    [summary] = tmp_path.glob("stores/store-*/runs/*/summary.json")
    assert json.loads(summary.read_text())["steps"] == []


@pytest.mark.parametrize(
    "command",
    [["models"], ["models", "rollback"], ["models", "prune", "--keep=1"], ["serve"], ["predict", "x.jpg", "--out=masks"]],
    ids=" ".join,
)
def test_command_that_needs_models_on_this_machine_says_what_to_do(
    command: list[str], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--root=gs://bucket/store"]) == 1
    error = capsys.readouterr().err
    assert f"vocseg {command[0]} needs a folder on this machine, and gs://bucket/store is in a store" in error
    assert "gcloud storage cp -r gs://bucket/store/models DIR" in error
    assert list(tmp_path.iterdir()) == []


def test_runs_of_a_root_in_a_store_are_looked_for_on_this_machine(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    folder = pathlib.Path(local_folder("gs://bucket/store", tmp_path), "runs", "20261121T000000Z")
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"run": folder.name, "pipeline": "mini.embedded", "status": "failed"}))
    assert main(["runs", "--root=gs://bucket/store", f"--local={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert folder.name in said and f"recorded on this machine, in {folder.parents[1]} (--local" in said


@pytest.mark.parametrize("command", ["runs", "report"])
def test_where_no_runs_are_found_the_folder_on_this_machine_is_named(
    command: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    main([command, "--root=gs://bucket/store", f"--local={tmp_path}"])
    captured = capsys.readouterr()
    assert f"in {local_folder('gs://bucket/store', tmp_path)} (--local says" in captured.out
    assert "There are no runs in" in captured.out + captured.err


def test_records_lie_in_one_place_whatever_the_working_directory(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    request = Request(root="gs://bucket/store")
    here = locations_of(request, preset("mini")).here
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    assert locations_of(request, preset("mini")).here == here
    assert here.startswith(f"{tmp_path}/.local/share/vocseg/stores/store-")
