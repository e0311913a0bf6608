"""Whole pipeline runs on the miniature VOC, through the command line as a user starts it."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib

import fake_datasets
import h5py
import numpy as np
import PIL.Image
import pytest

from components.datasets.fake_voc import write_fake_voc
from pipeline_config import MODELS, ModelConfig

pytestmark = pytest.mark.e2e

PROJECT = pathlib.Path(__file__).parents[1]
SPLIT_SIZES = {"train": 24, "val": 21, "test": 21}
SMALL = [
    "--preset=mini",
    "--epochs=3",
    "--set=model.filters=4",
    "--set=model.depth=2",
    "--set=evaluate.min_mean_iou=0",
    "--set=evaluate.beat_constant=false",
    "--set=evaluate.max_iou_drop=1",
]
STEPS = [
    "ExampleGen",
    "SchemaGen",
    "StatisticsGen",
    "DataBaseline",
    "ExampleValidator",
    "DistributionValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Baseline",
    "Evaluator",
    "ModelCardGen",
    "ServingCheck",
    "Pusher",
]


RESOLVERS = ("DataBaseline", "Baseline")


def vocseg(*arguments: str | os.PathLike, code: pathlib.Path = PROJECT) -> subprocess.CompletedProcess:
    """Runs the command line of a source tree."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(code), "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, timeout=600, check=False)


def start(*arguments: str | os.PathLike) -> subprocess.Popen:
    """Starts the command line, and does not wait for it."""
    command = [sys.executable, "-m", "pipeline", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(process: subprocess.Popen) -> None:
    """Kills a process group that was started, and waits for it."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(root: pathlib.Path, *arguments: str, code: pathlib.Path = PROJECT) -> dict:
    """Runs the pipeline and returns its summary."""
    path = root / "summary.json"
    done = vocseg("run", *arguments, "--root", root, "--summary", path, code=code)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text()) | {"stdout": done.stdout, "stderr": done.stderr}


def executed(summary: dict) -> list[str]:
    return [step["name"] for step in summary["steps"] if step["status"] == "run"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("data") / "mini"
    write_fake_voc(folder, split_sizes=SPLIT_SIZES)
    return folder


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the sources, to be edited."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("components", "pipeline"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pipeline_config.py", folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def first(root: pathlib.Path, data: pathlib.Path, code: pathlib.Path) -> dict:
    """A run that is profiled, which is the same to TFX's cache as those below, that are not."""
    return run(root, *SMALL, f"--data={data}", "--profile", code=code)


def test_first_run_executes_every_step_and_pushes_one_model(first: dict, root: pathlib.Path):
    assert [step["name"] for step in first["steps"]] == STEPS
    assert executed(first) == [name for name in STEPS if name not in RESOLVERS]
    assert first["verdict"]["blessed"] and first["verdict"]["split"] == "test"
    assert first["pushed"]["new"]
    pipeline = pathlib.Path(first["paths"]["models"])
    assert [path.name for path in pipeline.iterdir() if path.name.isdecimal()] == [first["pushed"]["version"]]
    assert first["baseline"] is None
    assert first["metrics"]["example_count"] == SPLIT_SIZES["test"]
    report = pathlib.Path(first["paths"]["report"]).read_text()
    assert "cat" in report and 'class="missing"' not in report
    assert {path.name for path in pathlib.Path(first["pushed"]["path"], "assets.extra").iterdir()} == {
        "vocseg.json",
        "model_card.json",
        "model_card.html",
    }
    assert 0 < first["peak_memory_bytes"] < 4 * 2**30


def test_profile_of_a_run_has_its_components_beam_stages_and_training_steps(first: dict):
    folder = pathlib.Path(first["paths"]["profile"])
    assert folder.parent == pathlib.Path(first["paths"]["log"]).parent
    times = json.loads((folder / "times.json").read_text())
    stages = {
        step["name"]: [stage for pipeline in step["beam"] for stage in pipeline["stages"]] for step in times["components"]
    }
    assert list(stages) == STEPS
    assert {name for name, found in stages.items() if found} == {"ExampleGen", "StatisticsGen", "Transform", "Evaluator"}
    for step in times["components"]:
        assert sum(stage["seconds"] for stage in stages[step["name"]]) <= step["seconds"] + 0.01  # That one is rounded.
    assert any("EncodeExample" in name for stage in stages["ExampleGen"] for name in stage["transforms"])
    training = times["training"]
    assert training["traced_steps"] == 1 and training["steps"] > 0 and 0 < training["input_share"] < 1
    assert training["profiled_steps"] > 0 and list(folder.glob("plugins/profile/*/*.xplane.pb"))
    lines = first["stdout"].splitlines()
    assert any(line.startswith("│ Trainer ") and line.rstrip(" │").endswith("%") for line in lines)
    assert any("input-bound share" in line for line in lines)


def test_output_has_steps_then_table_then_verdict_then_places_and_no_chatter(first: dict):
    lines = first["stdout"].splitlines()

    def position(text: str) -> int:
        return next(number for number, line in enumerate(lines) if text in line)

    order = ["ExampleGen", "Pusher", "tvmonitor", "mean IoU", "reaches the floor", "model ", "log ", "metadata "]
    positions = [
        max(n for n, line in enumerate(lines) if text in line) if text == "model " else position(text) for text in order
    ]
    assert positions[:2] == sorted(positions[:2])
    assert position("Pusher") < position("tvmonitor") < position("reaches the floor") < position(first["paths"]["metadata"])
    assert first["stderr"] == ""
    assert "WARNING" not in first["stdout"]
    assert pathlib.Path(first["paths"]["log"]).stat().st_size > 1000
    assert pathlib.Path(first["paths"]["picture"]).is_file()
    assert pathlib.Path(first["paths"]["history"]).read_text().startswith("epoch,")


def test_second_run_executes_nothing_and_pushes_nothing(
    first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path
):
    second = run(root, *SMALL, f"--data={data}", code=code)
    assert executed(second) == []
    assert "Nothing was executed" in second["stdout"]
    assert second["metrics"] == first["metrics"] and second["verdict"] == first["verdict"]
    assert second["pushed"] == first["pushed"] | {"new": False}
    pictures = [pathlib.Path(one["paths"]["report"]).read_text().count("data:image") for one in (first, second)]
    assert pictures[0] == pictures[1] > 10
    assert len(list((root / "runs").glob("*/pictures-*.json"))) == 1  # The second run drew none of its own.
    assert len([p for p in pathlib.Path(first["paths"]["models"]).iterdir() if p.name.isdecimal()]) == 1


def edit(path: pathlib.Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new))


def test_comments_and_time_stamps_execute_nothing(first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path):
    for name in ("transform.py", "models/unet.py", "iou.py", "iou_tfma.py"):
        path = code / "components" / name
        path.write_text(path.read_text() + "\n# A comment.\n")
    for path in data.rglob("*.png"):
        os.utime(path, (1, 1))
    assert executed(run(root, *SMALL, f"--data={data}", code=code)) == []


def weights(summary: dict) -> dict[str, bytes]:
    """Returns the trained weights by name."""
    arrays: dict[str, bytes] = {}
    with h5py.File(pathlib.Path(summary["paths"]["trained"]).parent / "Format-Keras/model.weights.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()].tobytes()} if isinstance(item, h5py.Dataset) else {}))
    return arrays


@pytest.fixture(scope="module")
def second_root(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """One in which what comes before Transform is done once for several tests."""
    return tmp_path_factory.mktemp("second_root")


def test_run_killed_while_it_trains_goes_on_and_ends_with_the_weights_of_an_unbroken_run_elsewhere(
    first: dict, data: pathlib.Path, second_root: pathlib.Path
):
    # Nothing is blessed in this root: a baseline would be evaluated beside each model that follows.
    arguments = [*SMALL, "--set=evaluate.min_mean_iou=1", f"--data={data}"]
    process = start("run", *arguments, "--root", second_root)
    while not list(second_root.glob("unfinished/*/epoch-*/state.json")):
        assert process.poll() is None
        time.sleep(0.002)
    kill(process)
    [state] = (second_root / "unfinished").iterdir()
    again = run(second_root, *arguments)
    assert re.search(r"Trainer  [12]/3 epochs, done by an interrupted run; going on from there\n", again["stdout"])
    assert executed(again) == AFTER_TRAINER
    # Beam has written the records of the two roots in orders of its own.
    assert weights(again) == weights(first) and len(weights(first)) > 10
    assert pathlib.Path(again["paths"]["history"]).read_text().count("\n") == 1 + 3
    assert not state.exists() and list(state.parent.iterdir()) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "unet_original" else pytest.mark.soak) for name in MODELS]
)
def test_every_architecture_is_trained_exported_evaluated_and_answers_a_picture_of_any_size(
    name: str, second_root: pathlib.Path, data: pathlib.Path
):
    size = ModelConfig(name=name).nearest_size(64)
    settings = {"model.name": name, "model.filters": 4, "transform.height_px": size, "transform.width_px": size}
    settings["evaluate.min_mean_iou"] = 1  # As above.
    arguments = [f"--set={field}={value}" for field, value in settings.items()]
    summary = run(second_root, "--preset=mini", "--epochs=1", *arguments, "--set=model.depth=4", f"--data={data}")
    assert "Trainer" in executed(summary) and "Evaluator" in executed(summary)
    assert summary["metrics"]["example_count"] == SPLIT_SIZES["test"]
    assert summary["metrics"]["mean_iou"] > 0

    import tensorflow as tf  # Takes seconds, and only these tests need it.

    served = tf.saved_model.load(summary["paths"]["trained"]).signatures["serving_default"]
    picture = np.random.default_rng(0).integers(0, 256, (333, 500, 3), np.uint8)
    answer = served(images=tf.io.encode_jpeg(picture)[tf.newaxis])
    assert answer["error"].numpy().tolist() == [b""]
    mask = tf.io.decode_png(answer["mask"][0]).numpy()
    assert mask.shape == (333, 500, 1) and mask.max() < 21


AFTER_EVALUATOR = ["Evaluator", "ModelCardGen", "ServingCheck", "Pusher"]
AFTER_TRAINER = ["Trainer", *AFTER_EVALUATOR]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        # First those that make no new model: that would be another baseline for the one before.
        ("models/unet_strided.py", 'name="unet_strided")', 'name="other")', []),
        ("validation.py", "Mend the data", "Repair the data", ["DataGate"]),
        ("versions.py", '_INCOMING = ".incoming-"', '_INCOMING = ".coming-"', ["Pusher"]),
        pytest.param("iou_tfma.py", 'ERROR_KEY = "error"', 'ERROR_KEY = "er" + "ror"', AFTER_EVALUATOR, marks=pytest.mark.soak),
        pytest.param("models/unet.py", 'name="unet")', 'name="u_net")', AFTER_TRAINER, marks=pytest.mark.soak),
        ("transform.py", "MAX_BATCH_SIZE = 32", "MAX_BATCH_SIZE = 31", ["Transform", *AFTER_TRAINER]),
    ],
)
def test_code_edit_executes_the_steps_that_run_it(
    file: str,
    old: str,
    new: str,
    expected: list[str],
    first: dict,
    root: pathlib.Path,
    data: pathlib.Path,
    code: pathlib.Path,
):
    path = code / "components" / file
    before = path.read_text()
    edit(path, old, new)
    try:
        summary = run(root, *SMALL, f"--data={data}", code=code)
    finally:
        path.write_text(before)
    assert executed(summary) == expected


@pytest.mark.soak
def test_floor_concerns_only_the_gate(first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path):
    summary = run(root, *SMALL, "--set=evaluate.min_mean_iou=0.99", f"--data={data}", code=code)
    assert executed(summary) == AFTER_EVALUATOR
    assert not summary["verdict"]["blessed"] and summary["pushed"] is None
    assert "is below the floor of 0.9900" in summary["stdout"]
    assert "not pushed" in summary["stdout"]
    lower = ["--set=evaluate.min_mean_iou=0.000001", "--set=evaluate.max_mean_iou_drop=1"]
    again = run(root, *SMALL, *lower, f"--data={data}", code=code)
    assert executed(again) == AFTER_EVALUATOR
    assert again["pushed"] == first["pushed"] | {"new": False}  # Blessed anew, but a model is pushed once.


def test_seed_concerns_training_and_the_baseline_is_the_blessed_model_before(
    first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path
):
    summary = run(root, *SMALL, "--seed=1", "--set=evaluate.max_mean_iou_drop=1", f"--data={data}", code=code)
    assert executed(summary) == AFTER_TRAINER
    assert summary["baseline"] is not None
    assert summary["baseline"]["mean_iou"] != summary["metrics"]["mean_iou"]
    assert any("from the baseline's" in reason for reason in summary["verdict"]["reasons"])
    again = run(root, *SMALL, "--seed=1", "--set=evaluate.max_mean_iou_drop=1", f"--data={data}", code=code)
    assert executed(again) == []
    assert again["baseline"] == summary["baseline"]


@pytest.mark.soak
def test_rollback_makes_the_earlier_model_the_baseline_and_a_rerun_executes_nothing(
    first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path
):
    done = vocseg("models", "rollback", first["pushed"]["version"], "--root", root, "--pipeline", first["pipeline"])
    assert done.returncode == 0, done.stderr
    arguments = [*SMALL, "--seed=2", "--set=evaluate.max_mean_iou_drop=1", f"--data={data}"]
    summary = run(root, *arguments, code=code)
    assert summary["baseline"] == first["metrics"]
    assert summary["pushed"]["new"]
    again = run(root, *arguments, code=code)
    assert executed(again) == [] and again["baseline"] == first["metrics"]
    listed = json.loads(vocseg("models", "--root", root, "--pipeline", first["pipeline"], "--json", "-").stdout)
    assert (listed[-1]["version"], listed[-1]["current"]) == (summary["pushed"]["version"], True)
    assert listed[-1]["run"] == summary["run"] and listed[-1]["mean_iou"] == summary["metrics"]["mean_iou"]
    assert listed[-1]["split"] == "test" and len(listed[-1]["data_digest"]) == len(listed[-1]["code_digest"]) == 64
    assert listed[-2]["copy_of"] == first["pushed"]["version"] and listed[-2]["model_uri"] == listed[0]["model_uri"]
    # Without the rollback's version, which says so, the model's own record does.
    assert vocseg("models", "prune", "--keep=1", "--root", root, "--pipeline", first["pipeline"]).returncode == 0
    after = run(root, *arguments, code=code)
    assert executed(after) == [] and after["baseline"] == first["metrics"]


@pytest.mark.soak
def test_model_that_could_not_be_served_is_no_baseline(first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path):
    gate = ["--set=evaluate.max_mean_iou_drop=1", "--set=evaluate.max_iou_drop=1"]
    arguments = [*SMALL, *gate, f"--data={data}"]
    refused = run(root, *arguments, "--seed=3", "--set=check.max_seconds=1", code=code)
    assert refused["verdict"]["blessed"] and not refused["verdict"]["servable"], refused["verdict"]
    assert refused["pushed"] is None
    later = run(root, *arguments, "--seed=4", code=code)
    assert later["pushed"]["new"] and later["baseline"] == refused["baseline"] != refused["metrics"]
    again = run(root, *arguments, "--seed=4", code=code)
    assert executed(again) == [] and again["baseline"] == later["baseline"]


def test_one_byte_of_one_mask_executes_all_that_reads_data(
    first: dict, root: pathlib.Path, data: pathlib.Path, code: pathlib.Path
):
    path = data / "VOCdevkit/VOC2007/SegmentationClass/2007_000000.png"
    content = bytearray(path.read_bytes())
    at = content.index(b"PLTE") + 4 + 3 * 200  # A colour of the palette that no pixel uses.
    content[at] ^= 1
    at = content.index(b"PLTE")
    length = int.from_bytes(content[at - 4 : at], "big")
    content[at + 4 + length : at + 8 + length] = zlib.crc32(content[at : at + 4 + length]).to_bytes(4, "big")
    path.write_bytes(content)
    summary = run(root, *SMALL, f"--data={data}", code=code)
    assert executed(summary) == [name for name in STEPS if name not in ("SchemaGen", *RESOLVERS)]


def independent_matrix(truth_folder: pathlib.Path, mask_folder: pathlib.Path, keys: list[str]) -> np.ndarray:
    """Counts pixels with nothing but Pillow and NumPy: none of the project's own reading code."""
    matrix = np.zeros((21, 21), np.int64)
    for key in keys:
        truth = np.asarray(PIL.Image.open(truth_folder / f"{key}.png"))
        predicted_image = PIL.Image.open(mask_folder / f"{key}.png")
        assert predicted_image.mode == "P"
        predicted = np.asarray(predicted_image)
        assert predicted.shape == truth.shape
        counted = truth != 255
        np.add.at(matrix, (truth[counted], predicted[counted]), 1)
    return matrix


def check_against_independent_evaluation(summary: dict, voc: pathlib.Path, out: pathlib.Path) -> None:
    """Predicts the test pictures and compares all scores with those counted from the masks."""
    keys = (voc / "ImageSets/Segmentation/test.txt").read_text().split()
    images = [voc / "JPEGImages" / f"{key}.jpg" for key in keys]
    done = vocseg("predict", "--model", summary["paths"]["trained"], "--out", out, *images)
    assert done.returncode == 0, done.stderr
    matrix = independent_matrix(voc / "SegmentationClass", out, keys)
    assert matrix.sum() == sum(
        int((np.asarray(PIL.Image.open(voc / "SegmentationClass" / f"{key}.png")) != 255).sum()) for key in keys
    )
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    scores = [np.diag(matrix)[c] / union[c] if union[c] else None for c in range(21)]
    measured = [value for name, value in summary["metrics"].items() if name.startswith("iou/")]
    assert len(measured) == 21
    for score, value in zip(scores, measured, strict=True):
        assert (score is None and value is None) or abs(score - value) < 1e-9
    mean = float(np.mean([score for score in scores if score is not None]))
    assert abs(mean - summary["metrics"]["mean_iou"]) < 1e-9
    assert abs(np.trace(matrix) / matrix.sum() - summary["metrics"]["pixel_accuracy"]) < 1e-9


def test_scores_equal_an_independent_evaluation_of_predicted_masks(first: dict, data: pathlib.Path, tmp_path: pathlib.Path):
    check_against_independent_evaluation(first, data / "VOCdevkit/VOC2007", tmp_path / "masks")


def test_data_set_without_test_split_is_measured_on_validation_and_never_against_other_data(
    first: dict, root: pathlib.Path, tmp_path: pathlib.Path
):
    voc = write_fake_voc(tmp_path / "data", split_sizes={"train": 4, "val": 4})
    (voc / "ImageSets/Segmentation/test.txt").write_text("")
    summary = run(root, *SMALL, f"--data={tmp_path / 'data'}")
    assert summary["pipeline"] != first["pipeline"]
    assert summary["baseline"] is None
    assert summary["verdict"]["split"] == "eval"
    assert summary["metrics"]["example_count"] == 4
    assert "no test split" in summary["stdout"]


def test_bad_pairs_fail_the_run_by_name_and_pass_as_quarantine_where_allowed(tmp_path: pathlib.Path):
    voc = write_fake_voc(tmp_path / "data", split_sizes={"train": 8, "val": 4, "test": 4})
    (voc / "SegmentationClass/2007_000001.png").unlink()
    picture = voc / "JPEGImages/2007_000009.jpg"
    picture.write_bytes(picture.read_bytes()[:500])
    arguments = [*SMALL, f"--data={tmp_path / 'data'}"]
    failed = vocseg("run", *arguments, "--root", tmp_path / "root", "--summary", tmp_path / "failed.json")
    assert failed.returncode == 1
    assert "2 of 16 listed pairs cannot be used" in failed.stderr
    assert "2007_000001.png: the mask does not exist" in failed.stderr
    assert "2007_000009.jpg" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert json.loads((tmp_path / "failed.json").read_text())["status"] == "failed"
    summary = run(tmp_path / "root", *arguments, "--set=data.max_quarantined_fraction=0.2")
    assert summary["quarantined"] == 2
    lines = pathlib.Path(summary["paths"]["quarantine"]).read_text().splitlines()
    assert {json.loads(line)["key"] for line in lines} == {"2007_000001", "2007_000009"}
    assert executed(summary) == [name for name in STEPS if name not in RESOLVERS]


@pytest.mark.soak
def test_export_without_lists_or_description_is_guessed_and_trained_on(tmp_path: pathlib.Path):
    data = fake_datasets.write_labelme(tmp_path / "data")
    summary = run(tmp_path / "root", *SMALL, f"--data={data}")
    assert [name for name in summary["metrics"] if name.startswith("iou/")] == ["iou/background", "iou/leaf", "iou/stone"]
    assert "this was guessed" in summary["stdout"]
    assert summary["verdict"]["split"] == "test"
    assert summary["listed"] == summary["generated"] == 20


@pytest.mark.soak
def test_halves_of_a_picture_are_trained_on_as_one_sigmoid_channel(tmp_path: pathlib.Path):
    data = fake_datasets.write_cityscapes_pairs(tmp_path / "data")
    size = ["--set=transform.height_px=128", "--set=transform.width_px=128"]
    summary = run(tmp_path / "root", *SMALL, *size, f"--data={data}", "--spec=cityscapes_road", "--set=model.head=sigmoid")
    assert [name for name in summary["metrics"] if name.startswith("iou/")] == ["iou/other", "iou/road"]
    assert summary["metrics"]["iou/road"] is not None
    photo = PIL.Image.open(data / "val/1.jpg").crop((0, 0, 256, 200))
    photo.save(tmp_path / "photo.jpg")
    done = vocseg("predict", "--model", summary["pushed"]["path"], "--out", tmp_path / "masks", tmp_path / "photo.jpg")
    assert done.returncode == 0, done.stderr
    mask = PIL.Image.open(tmp_path / "masks/photo.png")
    assert mask.size == (256, 200) and set(np.unique(np.asarray(mask))) <= {0, 1}


@pytest.mark.soak
def test_farmland_is_refused_for_its_leak_and_passes_where_it_may_be_dropped(shared_data: pathlib.Path, tmp_path: pathlib.Path):
    arguments = ["run", *SMALL, f"--data={shared_data / 'farmland'}", "--root", tmp_path / "root"]
    refused = vocseg(*arguments)
    assert refused.returncode == 1
    assert "train/8-6" in refused.stderr and "train/9-10" in refused.stderr and "drop_from_train" in refused.stderr
    assert "Traceback" not in refused.stderr
    made = vocseg("data", "init", shared_data / "farmland", "--output", tmp_path / "farmland.toml")
    assert made.returncode == 0, made.stderr
    edit(tmp_path / "farmland.toml", 'name = "farmland"', 'name = "farmland"\nleaks = "drop_from_train"')
    passed = run(tmp_path / "root", *SMALL, f"--data={shared_data / 'farmland'}", f"--spec={tmp_path / 'farmland.toml'}")
    assert (passed["listed"], passed["generated"], passed["quarantined"]) == (12, 10, 2)
    lines = [json.loads(line) for line in pathlib.Path(passed["paths"]["quarantine"]).read_text().splitlines()]
    assert [(line["split"], line["key"], line["cause"]) for line in lines] == [
        ("train", "8-6", "leak"),
        ("train", "9-10", "leak"),
    ]
    assert passed["metrics"]["example_count"] == 4


@pytest.mark.soak
def test_voc2007_scores_equal_an_independent_evaluation(shared_data: pathlib.Path, tmp_path: pathlib.Path):
    arguments = [
        "--preset=voc2007",
        "--epochs=1",
        "--set=model.filters=8",
        "--set=evaluate.min_mean_iou=0",
        "--set=evaluate.beat_constant=false",
    ]
    summary = run(tmp_path, *arguments, f"--data={shared_data / 'voc2007'}")
    assert summary["metrics"]["example_count"] == 210
    check_against_independent_evaluation(summary, shared_data / "voc2007/VOCdevkit/VOC2007", tmp_path / "masks")


def kill_after(seconds: float, *arguments: str | os.PathLike) -> int | None:
    """Starts a run, kills it after a while, and returns its exit status, or None where it was killed."""
    process = start(*arguments)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        return None


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_run_killed_at_any_moment_is_simply_started_again(data: pathlib.Path, tmp_path: pathlib.Path):
    rng = np.random.default_rng(0)
    arguments = ["run", *SMALL, f"--data={data}"]
    for number, delay_s in enumerate(rng.uniform(1, 25, 8)):
        root = tmp_path / str(number)
        done = kill_after(delay_s, *arguments, "--root", root)
        assert done in (None, 0)
        before = [json.loads(path.read_text()) for path in sorted((root / "runs").glob("*/summary.json"))]
        summary = run(root, *SMALL, f"--data={data}")
        assert summary["verdict"]["blessed"] and summary["pushed"]
        if done is None and before:
            listed = vocseg("runs", "--root", root).stdout
            assert "interrupted" in listed and "succeeded" in listed
        versions = [path for path in pathlib.Path(summary["paths"]["models"]).iterdir() if path.name.isdecimal()]
        assert len(versions) == 1
        assert executed(run(root, *SMALL, f"--data={data}")) == []
