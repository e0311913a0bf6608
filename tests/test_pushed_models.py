"""`vocseg models` as a user meets it: the table, rollback, prune, and what goes wrong."""

import json
import os
import pathlib
import shutil

import pytest
from fake_versions import contents, write_model

from components import versions as versions_module
from components.version_records import Origin, tree_digest
from components.versions import publish, versions
from pipeline import runs
from pipeline.cli import main
from pipeline.runs import Summary

NAME = "mini.embedded"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _push(seed: int, now: float, monkeypatch: pytest.MonkeyPatch, pipeline: str = NAME) -> pathlib.Path:
    """Publishes a model of 4000 bytes below `root` at a time."""
    origin = Origin(
        model_uri=f"/m/{seed}", blessed=True, mean_iou=seed / 10, split="test", data_digest="d" * 64, code_digest="c" * 64
    )
    with monkeypatch.context() as patch:
        patch.setattr(versions_module.time, "time", lambda: now)
        return publish(write_model(pathlib.Path(f"model{seed}"), seed=seed), pathlib.Path("root/models", pipeline), origin).path


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Three versions: 1700000001, 1700000002 and 1700000003."""
    for seed in (1, 2, 3):
        _push(seed, 1_700_000_000 + seed, monkeypatch)
    return pathlib.Path("root/models", NAME)


def _vocseg(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["models", *arguments, "--root", "root"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def _error(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["models", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and "Traceback" not in captured.err
    return captured.err


def _rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def _json(capsys: pytest.CaptureFixture, *arguments: str) -> list[dict]:
    return json.loads(_vocseg(capsys, "--json", "-", *arguments))


def _summary(run: str, version: str, new: bool = True, pipeline: str = NAME) -> None:
    folder = pathlib.Path("root/runs", run)
    folder.mkdir(parents=True)
    summary = Summary(run=run, pipeline=pipeline, status="succeeded", metrics={"mean_iou": 0.75})
    summary.verdict = {"blessed": True, "split": "eval", "reasons": []}
    summary.pushed = {"version": version, "path": "/x", "new": new}
    runs.write(summary, folder / runs.SUMMARY_FILE)


# The list.


def test_table_has_the_newest_first_and_says_which_is_current(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    _summary("20260101T000000Z", "1700000002")
    _summary("20260102T000000Z", "1700000002", new=False)  # A run that changed nothing pushed nothing.
    _summary("20260103T000000Z", "1700000001", pipeline="other")
    text = _vocseg(capsys)
    assert text.startswith(NAME)
    rows = _rows(text)
    assert [row[0] for row in rows] == ["1700000003", "1700000002", "1700000001"]
    model = tree_digest(shop / "1700000002")[:12]
    assert rows[1][2:] == ["0.2000", "test", "yes", "d" * 12, "c" * 12, model, "20260101T000000Z", "0.0 MB", ""]
    assert [row[-1] for row in rows] == ["current", "", ""]
    assert [row[8] for row in rows] == ["-", "20260101T000000Z", "-"]


def test_version_whose_run_was_killed_before_it_could_say_so_is_of_the_run_that_completed_it(
    capsys: pytest.CaptureFixture, shop: pathlib.Path
) -> None:
    _summary("20260101T000000Z", "1700000001", new=False)
    _summary("20260102T000000Z", "1700000001", new=False)
    # Nothing but a run that pushed it comes before, whenever that was.
    _summary("20260103T000000Z", "1700000002", new=False)
    _summary("20260104T000000Z", "1700000002")
    assert [one["run"] for one in _json(capsys)] == ["20260101T000000Z", "20260104T000000Z", ""]


def test_json_has_all_that_is_known(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    found = _json(capsys)
    assert [(one["version"], one["current"]) for one in found] == [
        ("1700000001", False),
        ("1700000002", False),
        ("1700000003", True),
    ]
    assert found[0] | {"pushed": ""} == {
        "pipeline": NAME,
        "version": "1700000001",
        "path": str((shop / "1700000001").absolute()),
        "current": False,
        "pushed": "",
        "run": "",
        "mean_iou": 0.1,
        "split": "test",
        "blessed": True,
        "digest": tree_digest(shop / "1700000001"),
        "changed": False,
        "data_digest": "d" * 64,
        "code_digest": "c" * 64,
        "model_uri": "/m/1",
        "copy_of": "",
        "rolled_back_from": "",
        "size_bytes": 4000,
    }
    _vocseg(capsys, "--json", "models.json")
    assert json.loads(pathlib.Path("models.json").read_text()) == found


def test_versions_without_records_are_shown_with_what_runs_and_numbers_say(
    capsys: pytest.CaptureFixture, shop: pathlib.Path
) -> None:
    shutil.rmtree(shop / ".records")
    (shop / "5").mkdir()
    (shop / "5" / "saved_model.pb").write_bytes(b"x")
    os.utime(shop / "5", (86_400, 86_400))
    _summary("20260101T000000Z", "1700000001")
    rows = {row[0]: row for row in _rows(_vocseg(capsys))}
    assert rows["1700000001"][1:7] == ["2023-11-14 22:13:21", "0.7500", "eval", "yes", "-", "-"]
    assert rows["1700000001"][8] == "20260101T000000Z"
    assert rows["1700000002"][1:7] == ["2023-11-14 22:13:22", "-", "-", "-", "-", "-"]
    assert rows["5"][1] == "1970-01-02 00:00:00"


def test_damaged_record_or_summary_hides_no_version(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    (shop / ".records" / "1700000001.json").write_text("{")
    pathlib.Path("root/runs/x").mkdir(parents=True)
    pathlib.Path("root/runs/x/summary.json").write_text('{"run": "x", "pipeline": "mini.embedded", "pushed": [1]}')
    assert [row[0] for row in _rows(_vocseg(capsys))] == ["1700000003", "1700000002", "1700000001"]


def test_changed_version_is_marked(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    (shop / "1700000002" / "saved_model.pb").write_bytes(b"x")
    assert [row[-1] for row in _rows(_vocseg(capsys))] == ["current", "its files were changed since the push", ""]


def test_list_changes_nothing(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    (shop / ".records" / "9.json").write_text("{}")
    before = contents(pathlib.Path("root"))
    _vocseg(capsys)
    assert contents(pathlib.Path("root")) == before


def test_pipelines_have_a_table_each_and_one_can_be_chosen(
    capsys: pytest.CaptureFixture, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _push(4, 1_700_000_004, monkeypatch, "voc2007.[x]")
    text = _vocseg(capsys)
    assert NAME in text and "voc2007.[x]" in text and len(_rows(text)) == 4
    assert [one["current"] for one in _json(capsys)] == [False, False, True, True]
    assert [one["version"] for one in _json(capsys, "--pipeline", "voc2007.[x]")] == ["1700000004"]


def test_root_without_models_says_how_to_get_one(capsys: pytest.CaptureFixture) -> None:
    pathlib.Path("root").mkdir()
    assert "No model has been pushed in root" in _vocseg(capsys)
    assert _json(capsys) == []
    pathlib.Path("root/models", NAME).mkdir(parents=True)
    assert "No model has been pushed in root" in _vocseg(capsys)


# Rollback.


def test_rollback_makes_the_version_before_current(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    text = _vocseg(capsys, "rollback")
    current = versions(shop)[-1]
    assert contents(current) == contents(shop / "1700000002")
    assert f"version {current.name} is current now, with the files of 1700000002" in text
    assert "rolled back from 1700000003" in text and str(current.absolute()) in text
    row = _rows(_vocseg(capsys))[0]
    assert (row[0], row[-1]) == (current.name, "current; rolled back from 1700000003 to 1700000002")
    assert row[2] == "0.2000"


def test_rollback_to_a_version_of_a_pipeline(
    capsys: pytest.CaptureFixture, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = _push(4, 1_700_000_004, monkeypatch, "voc2007.x").parent
    before = contents(other)
    _vocseg(capsys, "rollback", "1700000001", "--pipeline", NAME)
    assert contents(versions(shop)[-1]) == contents(shop / "1700000001")
    assert contents(other) == before


def test_rollback_among_several_pipelines_needs_a_name(
    capsys: pytest.CaptureFixture, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _push(4, 1_700_000_004, monkeypatch, "voc2007.x")
    before = contents(pathlib.Path("root"))
    assert f"--pipeline: {NAME}, voc2007.x" in _error(capsys, "rollback", "--root", "root")
    assert contents(pathlib.Path("root")) == before


def test_root_and_pipeline_may_stand_before_the_subcommand(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    assert main(["models", "--root", "root", "--pipeline", NAME, "rollback"]) == 0
    assert len(versions(shop)) == 4


# Prune.


def test_prune_says_what_went_and_what_was_freed(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    text = _vocseg(capsys, "prune", "--keep", "1")
    assert [path.name for path in versions(shop)] == ["1700000003"]
    assert text == (
        f"{NAME}: 1700000001 removed, 0.0 MB\n{NAME}: 1700000002 removed, 0.0 MB\n2 version(s) removed, 8,000 bytes freed\n"
    )
    assert "nothing to remove" in _vocseg(capsys, "prune", "--keep", "1")


def test_dry_run_says_what_would_go(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    text = _vocseg(capsys, "prune", "--keep", "2", "--dry-run")
    assert "1700000001 would be removed" in text and "4,000 bytes would be freed" in text
    assert len(versions(shop)) == 3


def test_prune_goes_through_all_pipelines_or_one(
    capsys: pytest.CaptureFixture, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (4, 5):
        other = _push(seed, 1_700_000_000 + seed, monkeypatch, "voc2007.x").parent
    _vocseg(capsys, "prune", "--keep", "1", "--pipeline", "voc2007.x")
    assert (len(versions(shop)), len(versions(other))) == (3, 1)
    _vocseg(capsys, "prune", "--keep", "1")
    assert (len(versions(shop)), len(versions(other))) == (1, 1)


# What goes wrong.


@pytest.mark.parametrize("arguments", [[], ["rollback"], ["prune", "--keep=1"]], ids=["list", "rollback", "prune"])
def test_unknown_root_or_pipeline_is_named(capsys: pytest.CaptureFixture, shop: pathlib.Path, arguments: list[str]) -> None:
    before = contents(pathlib.Path("root"))
    assert "no folder nowhere" in _error(capsys, *arguments, "--root", "nowhere")
    for name in ("voc2007", "../models/mini.embedded", ".", ""):
        message = _error(capsys, *arguments, "--root", "root", "--pipeline", name)
        assert f"No pipeline {name} has pushed" in message and f"There are: {NAME}" in message
    assert contents(pathlib.Path("root")) == before
    assert not pathlib.Path("nowhere").exists()


@pytest.mark.parametrize("arguments", [["rollback"], ["prune", "--keep=1"]], ids=["rollback", "prune"])
def test_empty_root_has_nothing_to_change(capsys: pytest.CaptureFixture, arguments: list[str]) -> None:
    pathlib.Path("root").mkdir()
    assert "No model has been pushed in root" in _error(capsys, *arguments, "--root", "root")
    assert list(pathlib.Path("root").iterdir()) == []


def test_unknown_version_is_named(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    assert "no version 17 in" in _error(capsys, "rollback", "17", "--root", "root")
    assert len(versions(shop)) == 3


@pytest.mark.parametrize(
    "arguments", [["prune"], ["prune", "--keep=0"], ["prune", "--keep=x"], ["rollback", "1", "2"], ["remove"]]
)
def test_wrong_command_line_exits_with_2(capsys: pytest.CaptureFixture, shop: pathlib.Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["models", *arguments])
    assert error.value.code == 2
    assert "usage: vocseg" in capsys.readouterr().err
    assert len(versions(shop)) == 3


@pytest.mark.parametrize("arguments", [["rollback"], ["prune", "--keep=1"]], ids=["rollback", "prune"])
def test_json_belongs_to_the_list(capsys: pytest.CaptureFixture, shop: pathlib.Path, arguments: list[str]) -> None:
    assert "--json belongs to the list" in _error(capsys, "--json", "-", *arguments)
    assert len(versions(shop)) == 3


def test_json_that_cannot_be_written_is_an_error_at_once(capsys: pytest.CaptureFixture, shop: pathlib.Path) -> None:
    assert "--json: nowhere/x cannot be written" in _error(capsys, "--root", "root", "--json", "nowhere/x")


@pytest.mark.parametrize("arguments", [["rollback"], ["prune", "--keep=1"]], ids=["rollback", "prune"])
def test_disk_that_fails_is_named(
    capsys: pytest.CaptureFixture, shop: pathlib.Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "some/file")

    monkeypatch.setattr(pathlib.Path, "rename", fail)
    assert "some/file cannot be changed: No space left on device" in _error(capsys, *arguments, "--root", "root")
    assert len(versions(shop)) == 3
