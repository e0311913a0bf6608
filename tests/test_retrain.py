"""`vocseg retrain`: the story of some portions of data, through the command line as a timer starts it; and its parts."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

from components.datasets.fake_voc import write_fake_voc

PROJECT = pathlib.Path(__file__).parents[1]
SPLITS = {"train": 12, "val": 6, "test": 6}
SETTINGS = [
    "--preset=mini",
    "--epochs=2",
    "--spec=voc2007",
    "--span=last:9",
    "--warm-start",
    "--set=model.filters=4",
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
    note("worse", "--set=evaluate.min_mean_iou=0.999")
    note("second")
    note("again", "--keep=1")
    note("pruned")
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
    first, worse = story["first"], story["worse"]
    assert (worse["code"], worse["result"], worse["version"]) == (3, "refused", None), worse["stderr"]
    assert "Trainer" in executed(worse) and worse["summary"]["listed"] == 2 * first["summary"]["listed"]
    assert worse["started_from"] == os.path.dirname(first["summary"]["paths"]["trained"])
    assert f"starting with the weights of {worse['started_from']}" in worse["stderr"]
    assert worse["baseline"] is not None and worse["versions"] == first["versions"]
    assert any("below the floor" in reason for reason in worse["reasons"])


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_same_training_keeps_its_start_and_its_model_is_pushed_where_it_is_good_enough(story: dict[str, Any]) -> None:
    second = story["second"]
    assert (second["code"], second["result"]) == (0, "pushed"), second["stderr"]
    assert "Trainer" not in executed(second) and "Evaluator" in executed(second)
    assert second["mean_iou"] == story["worse"]["mean_iou"] and len(second["versions"]) == 2


@pytest.mark.e2e
@pytest.mark.timeout(1800)
def test_blessed_model_does_not_set_off_another_training_from_itself(story: dict[str, Any]) -> None:
    again = story["again"]
    assert (again["code"], again["result"], executed(again)) == (0, "unchanged", []), again["stderr"]
    assert again["started_from"] == story["worse"]["started_from"]


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
def test_spoilt_data_is_refused_and_the_old_model_stays(story: dict[str, Any]) -> None:
    spoilt = story["spoilt"]
    assert (spoilt["code"], spoilt["result"]) == (1, "failed")
    assert spoilt["versions"] == story["second"]["versions"] and "Trainer" not in executed(spoilt)
    assert "span-3" in spoilt["error"] and spoilt["error"] in spoilt["stderr"]
