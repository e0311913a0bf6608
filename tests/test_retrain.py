"""`vocseg retrain`: the story of some portions of data, through the command line as a timer starts it; and its parts."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from components.datasets.fake_voc import write_fake_voc
from components.errors import VocsegError
from pipeline import locks, prune
from pipeline import retrain as retraining
from pipeline.request import Request
from pipeline.retrain import Options, judge
from pipeline.runs import Summary
from pipeline_config import preset

PROJECT = pathlib.Path(__file__).parents[1]
SPLITS = {"train": 12, "val": 6, "test": 6}
SETTINGS = [
    "--preset=mini",
    "--epochs=60",  # A model that is worth something: another can be worse.
    "--set=train.batch_size=4",
    "--set=train.learning_rate=5e-3",
    "--spec=voc2007",
    "--span=last:9",
    "--warm-start",
    "--set=model.filters=8",
    "--set=model.depth=2",
    "--set=evaluate.min_mean_iou=0",
    "--set=evaluate.beat_constant=false",
    "--set=evaluate.max_iou_drop=1",
    "--set=evaluate.max_mean_iou_drop=1",
]


def vocseg(command: str, *arguments: str | os.PathLike) -> tuple[int, str, str]:
    """Runs the command line, and returns exit code, standard output and error."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1"}
    line = [sys.executable, "-m", "pipeline", command, *map(str, arguments)]
    done = subprocess.run(line, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    return done.returncode, done.stdout, done.stderr


def retrain(root: pathlib.Path, *arguments: str) -> dict[str, Any]:
    """Retrains; returns the line of JSON with the exit code, the summary of the run, and what was said beside."""
    code, out, err = vocseg("retrain", *SETTINGS, f"--root={root}", *arguments)
    [line] = out.splitlines()
    told = json.loads(line)
    path = root / "runs" / told["run"] / "summary.json"
    return told | {"code": code, "stderr": err, "summary": json.loads(path.read_text()) if told["run"] else None}


def executed(told: dict[str, Any]) -> list[str]:
    return [step["name"] for step in told["summary"]["steps"] if step["status"] == "run"]


def pushed_versions(root: pathlib.Path) -> list[str]:
    return sorted(path.name for path in root.glob("models/*/*") if path.name.isdecimal())


def spoil(span: pathlib.Path, other: pathlib.Path) -> None:
    """Puts a picture of another portion's training into the tests of this one, and breaks a mask."""
    voc, source = span / "VOCdevkit/VOC2007", other / "VOCdevkit/VOC2007"
    [leaked] = (voc / "ImageSets/Segmentation/test.txt").read_text().split()[:1]
    [trained] = (source / "ImageSets/Segmentation/train.txt").read_text().split()[:1]
    shutil.copy(source / "JPEGImages" / f"{trained}.jpg", voc / "JPEGImages" / f"{leaked}.jpg")
    shutil.copy(source / "SegmentationClass" / f"{trained}.png", voc / "SegmentationClass" / f"{leaked}.png")
    [broken] = (voc / "ImageSets/Segmentation/train.txt").read_text().split()[:1]
    path = voc / "SegmentationClass" / f"{broken}.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each of a row of retrainings told, and the versions that there were after it."""
    folder = tmp_path_factory.mktemp("story")
    root, data = folder / "root", f"--data={folder}/span-{{SPAN}}"
    told: dict[str, Any] = {"root": root}

    def note(name: str, *arguments: str) -> None:
        told[name] = retrain(root, data, *arguments) | {"versions": pushed_versions(root)}

    write_fake_voc(folder / "span-1", split_sizes=SPLITS)
    note("first")
    for path in (folder / "span-1").rglob("*"):
        os.utime(path, (1, 1))
    note("touched")
    write_fake_voc(folder / "span-2", seed=2, split_sizes=SPLITS)
    note("low", "--set=evaluate.min_mean_iou=0.999")
    note("second")
    note("again", "--keep=1")
    note("pruned")
    # Of another shape, so that it begins with fresh weights, and stays at them.
    untrained = ("--epochs=1", "--set=model.filters=9", "--set=train.learning_rate=1e-9")
    note("worse", *untrained, "--set=evaluate.max_mean_iou_drop=0")
    write_fake_voc(folder / "span-3", seed=3, split_sizes=SPLITS)
    spoil(folder / "span-3", folder / "span-1")
    note("spoilt")
    return told


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_first_data_is_trained_on_from_fresh_weights_and_pushed(story: dict[str, Any]) -> None:
    first = story["first"]
    assert (first["code"], first["result"], first["error"]) == (0, "pushed", None), first["stderr"]
    assert first["versions"] == [first["version"]] and first["started_from"] == "" and first["baseline"] is None
    assert first["mean_iou"] == first["summary"]["metrics"]["mean_iou"]
    assert "Trainer" in first["stderr"] and first["seconds"] > 0


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_touched_data_executes_nothing(story: dict[str, Any]) -> None:
    touched = story["touched"]
    assert (touched["code"], touched["result"], executed(touched)) == (0, "unchanged", [])
    assert touched["versions"] == story["first"]["versions"] and touched["mean_iou"] == story["first"]["mean_iou"]
    assert "Nothing was executed" in touched["stderr"]


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_new_data_is_trained_on_from_the_blessed_model_and_a_bad_one_is_not_pushed(story: dict[str, Any]) -> None:
    first, low = story["first"], story["low"]
    assert (low["code"], low["result"], low["version"]) == (3, "refused", None), low["stderr"]
    assert "Trainer" in executed(low) and low["summary"]["listed"] == 2 * first["summary"]["listed"]
    assert low["started_from"] == os.path.dirname(first["summary"]["paths"]["trained"])
    assert f"starting with the weights of {low['started_from']}" in low["stderr"]
    assert low["baseline"] is not None and low["versions"] == first["versions"]
    assert any("below the floor" in reason for reason in low["reasons"])


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_same_training_keeps_its_start_and_its_model_is_pushed_where_it_is_good_enough(story: dict[str, Any]) -> None:
    second = story["second"]
    assert (second["code"], second["result"]) == (0, "pushed"), second["stderr"]
    assert "Trainer" not in executed(second) and "Evaluator" in executed(second)
    assert second["mean_iou"] == story["low"]["mean_iou"] and len(second["versions"]) == 2


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_blessed_model_does_not_set_off_another_training_from_itself(story: dict[str, Any]) -> None:
    again = story["again"]
    assert (again["code"], again["result"], executed(again)) == (0, "unchanged", []), again["stderr"]
    assert again["started_from"] == story["low"]["started_from"]


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_run_after_a_pruning_finds_all_of_its_cache_and_its_baseline(story: dict[str, Any]) -> None:
    again, pruned = story["again"], story["pruned"]
    assert again["pruned_bytes"] > 0
    assert (pruned["code"], executed(pruned), pruned["baseline"]) == (0, [], story["second"]["baseline"])
    assert pruned["versions"] == story["second"]["versions"]
    old = pathlib.Path(story["first"]["summary"]["paths"]["examples"])
    assert not old.exists()  # Of the data of the first run, of which the model is kept.
    assert pathlib.Path(story["first"]["summary"]["paths"]["trained"]).is_dir()


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_model_that_is_worse_than_the_blessed_one_is_refused(story: dict[str, Any]) -> None:
    second, worse = story["second"], story["worse"]
    assert (worse["code"], worse["result"], worse["version"]) == (3, "refused", None), worse["stderr"]
    assert "another network (model.filters was 8, is 9)" in worse["summary"]["start"]["refusal"] and worse["started_from"] == ""
    assert worse["mean_iou"] < worse["baseline"] == second["mean_iou"]  # Of the same pictures.
    [refusal] = worse["summary"]["verdict"]["refusals"]
    assert re.fullmatch(r"mean IoU fell by [\d.]+ points from the baseline's [\d.]+, allowed 0.00 points", refusal)
    assert refusal in worse["reasons"] and worse["versions"] == second["versions"]


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_spoilt_data_is_refused_and_the_old_model_stays(story: dict[str, Any]) -> None:
    spoilt = story["spoilt"]
    assert (spoilt["code"], spoilt["result"]) == (1, "failed")
    assert spoilt["versions"] == story["second"]["versions"] and "Trainer" not in executed(spoilt)
    assert "span-3" in spoilt["error"] and spoilt["error"] in spoilt["stderr"]


# Its parts.

SUMMARY = Summary(
    run="20260101T000000Z",
    pipeline="mini.embedded",
    status="succeeded",
    steps=[{"name": "Trainer", "status": "run"}, {"name": "Pusher", "status": "cached"}],
    metrics={"mean_iou": 0.5},
    baseline={"mean_iou": 0.4},
    pushed={"version": "7", "new": True},
    start={"base": "/models/1", "refusal": ""},
    verdict={"reasons": ["because"]},
)
REFUSED = dataclasses.replace(SUMMARY, pushed=None)


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({}, "pushed"),
        ({"pushed": None}, "refused"),
        ({"pushed": {"version": "7", "new": False}}, "unchanged"),  # Judged anew, and it is there already.
        ({"steps": [{"name": "Trainer", "status": "cached"}], "pushed": None}, "unchanged"),
        ({"steps": [{"name": "Baseline", "status": "resolved"}]}, "unchanged"),
    ],
)
def test_result_follows_from_what_was_executed_and_pushed(change: dict[str, Any], result: str):
    assert judge(dataclasses.replace(SUMMARY, **change)) == result


def _outcome(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    root: pathlib.Path,
    ended: BaseException | None = None,
    summary: Summary | None = SUMMARY,
    **options: Any,
) -> dict[str, Any]:
    """Retrains with a run that ends as is said; returns the line of JSON with the exit code and what was said beside."""

    def fake(config: Any, request: Request, on_begin: Callable[[Summary], None]) -> Summary | None:
        print("a table")
        if summary:
            on_begin(summary)
        if ended:
            raise ended
        return summary

    monkeypatch.setattr(retraining.run, "run", fake)
    code = retraining.retrain(lambda: preset("mini"), Options(request=Request(root=str(root)), **options))
    out, err = capfd.readouterr()
    [line] = out.splitlines()
    assert "a table" in err
    return json.loads(line) | {"code": code, "stderr": err}


def test_line_says_what_the_run_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path
):
    told = _outcome(monkeypatch, capfd, tmp_path)
    assert told.pop("seconds") >= 0 and told.pop("stderr")
    assert told == {
        "code": 0,
        "result": "pushed",
        "pipeline": "mini.embedded",
        "run": "20260101T000000Z",
        "mean_iou": 0.5,
        "baseline": 0.4,
        "version": "7",
        "started_from": "/models/1",
        "reasons": ["because"],
        "error": None,
        "pruned_bytes": 0,
    }


def test_refused_model_has_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path
):
    told = _outcome(monkeypatch, capfd, tmp_path, summary=REFUSED)
    assert (told["code"], told["result"], told["error"]) == (3, "refused", None)


@pytest.mark.parametrize(
    ("ended", "code", "result"),
    [
        (locks.BusyError("Another run"), 4, "busy"),
        (VocsegError("The data is bad."), 1, "failed"),
        (RuntimeError("surprise"), 1, "failed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("KeyboardInterrupt [while running 'x']"), 130, "interrupted"),
    ],
)
def test_exit_code_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    ended: Any,
    code: int,
    result: str,
):
    told = _outcome(monkeypatch, capfd, tmp_path, ended, summary=None)
    assert (told["code"], told["result"], told["run"], told["mean_iou"]) == (code, result, "", None)
    assert f"error: {told['error']}" in told["stderr"]


def test_what_a_run_had_found_before_it_failed_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path
):
    summary = dataclasses.replace(SUMMARY, status="failed")
    told = _outcome(monkeypatch, capfd, tmp_path, VocsegError("The disk is full."), summary)
    assert (told["result"], told["run"], told["mean_iou"], told["version"]) == ("failed", SUMMARY.run, 0.5, "7")


@pytest.mark.parametrize(("error", "text"), [(KeyboardInterrupt(), "interrupted; run"), (OSError("full"), "OSError: full")])
def test_what_goes_wrong_after_the_last_step_does_not_hide_the_push(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path, error: BaseException, text: str
):
    told = _outcome(monkeypatch, capfd, tmp_path, error)  # In the report, for instance.
    assert (told["code"], told["result"], told["version"]) == (1, "pushed", "7") and text in told["error"]


def test_keep_prunes_this_pipeline_after_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: pathlib.Path
):
    calls = []

    def fake(*arguments: Any) -> list[prune.Freed]:
        calls.append(arguments)
        return [prune.Freed("a", size_bytes=5), prune.Freed("", size_bytes=2)]

    monkeypatch.setattr(retraining.prune, "prune", fake)
    assert _outcome(monkeypatch, capfd, tmp_path, keep=3)["pruned_bytes"] == 7
    assert calls == [(str(tmp_path), 3, "mini.embedded")]
    assert _outcome(monkeypatch, capfd, tmp_path, VocsegError("x"), None, keep=3)["pruned_bytes"] == 0
    assert len(calls) == 1  # A run that failed is looked into first.


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (locks.BusyError("b"), 0, None),
        (VocsegError("v"), 1, "v"),
        (KeyboardInterrupt(), 1, "interrupted; run the same command again to go on"),
    ],
)
def test_pruning_that_fails_leaves_the_model_pushed(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    error: BaseException,
    code: int,
    told: str | None,
):
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(retraining.prune, "prune", fail)
    outcome = _outcome(monkeypatch, capfd, tmp_path, keep=1)
    assert (outcome["code"], outcome["result"], outcome["version"], outcome["error"]) == (code, "pushed", "7", told)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"root": "gs://bucket/root"}, "Only a root on this machine can be pruned"),
        ({"metadata": "mysql://a@b/c"}, "--keep prunes by the root's own metadata.sqlite"),
    ],
)
def test_what_could_not_be_pruned_afterwards_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    place: dict[str, str],
    words: str,
):
    def refuse(*_: Any) -> None:
        raise AssertionError("it runs")

    monkeypatch.setattr(retraining.run, "run", refuse)
    request = Request(**{"root": str(tmp_path)} | place)
    assert retraining.retrain(lambda: preset("mini"), Options(request=request, keep=1)) == 1
    told = json.loads(capfd.readouterr().out)
    assert told["result"] == "failed" and words in told["error"]


def test_run_while_another_is_under_way_is_busy_and_leaves_no_record(tmp_path: pathlib.Path):
    with locks.lock(str(tmp_path)):
        code, out, err = vocseg("retrain", "--preset=mini", f"--root={tmp_path}", "--wait=0.5")
    told = json.loads(out)
    assert (code, told["result"]) == (4, "busy") and told["seconds"] >= 0.5
    assert "Another run is under way" in err and not (tmp_path / "runs").exists()


def test_mistake_in_the_configuration_has_its_line_and_one_in_the_command_line_has_none(tmp_path: pathlib.Path):
    code, out, _ = vocseg("retrain", "--set=train.epohs=1", f"--root={tmp_path}")
    assert code == 1 and "train.epohs" in json.loads(out)["error"]
    assert vocseg("retrain", "--keep=0")[:2] == (2, "")
    assert vocseg("retrain", "--wait=-1")[:2] == (2, "")
    assert vocseg("retrain", "--dry-run")[:2] == (2, "")  # It is of `run` only; here it would train.


def test_termination_is_an_interrupt_with_its_line(tmp_path: pathlib.Path):
    """As by `systemctl stop`, while it waits for another run."""
    command = [sys.executable, "-m", "pipeline", "retrain", "--preset=mini", f"--root={tmp_path}", "--wait=600"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with locks.lock(str(tmp_path)):
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while f"{tmp_path}/.lock" not in _open_files(process.pid):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=120)
    assert (process.returncode, json.loads(out)["result"]) == (130, "interrupted")


def _open_files(pid: int) -> set[str]:
    return {os.readlink(path) for path in pathlib.Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}


@pytest.mark.parametrize(("wait_s", "got"), [(0.0, False), (60.0, True)])
def test_lock_is_waited_for_as_long_as_is_said(tmp_path: pathlib.Path, wait_s: float, got: bool):
    code = (
        "import sys, time; from pipeline import locks\n"
        f"with locks.lock({str(tmp_path)!r}): print(flush=True); sys.stdin.readline(); time.sleep(0.5)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "\n"
        if got:
            holder.stdin.write("\n")
            holder.stdin.flush()
            with locks.lock(str(tmp_path), wait_s):
                assert (tmp_path / ".lock").exists()
        else:
            with pytest.raises(locks.BusyError), locks.lock(str(tmp_path), wait_s):
                pass
            holder.stdin.write("\n")
