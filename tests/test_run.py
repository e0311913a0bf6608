"""What a run hands out and writes down, also where it fails."""

import json
import pathlib

import pytest

from components.errors import VocsegError
from pipeline import run, runs
from pipeline.request import Request
from pipeline_config import preset


def test_summary_of_a_run_that_fails_is_handed_out_and_is_on_the_disk(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "mysql://vocseg@metadata/vocseg"

    def fail(*_: object) -> None:
        [path] = tmp_path.glob("root/runs/*/summary.json")
        # A kill at this moment must not hide where the metadata is.
        assert json.loads(path.read_text())["metadata_run"].startswith(f"{path.parent.name}.")
        raise VocsegError("The data is bad.")

    monkeypatch.setattr(run, "run_graph", fail)
    begun: list[runs.Summary] = []
    with pytest.raises(VocsegError, match="The data is bad"):
        run.run(preset("mini"), Request(root=str(tmp_path / "root"), metadata=address), begun.append)
    assert [(one.status, one.error) for one in begun] == [("failed", "The data is bad.")]


def test_copy_of_the_summary_is_written_where_the_record_cannot_be(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OSError):
        run._write(runs.Summary(run="1", pipeline="p"), tmp_path / "gone", str(tmp_path / "copy.json"))
    assert json.loads((tmp_path / "copy.json").read_text())["run"] == "1"
