"""What is pruned, and what stays, by metadata stores that are filled by hand, as TFX does."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2

from components.errors import VocsegError
from components.version_records import Record, write_record
from pipeline import locks, prune
from pipeline.prune import Freed

PIPELINE = "mini.test"
COMPLETE, CACHED, FAILED, RUNNING = (
    getattr(metadata_store_pb2.Execution, name) for name in ("COMPLETE", "CACHED", "FAILED", "RUNNING")
)
LIVE, DELETED = metadata_store_pb2.Artifact.LIVE, metadata_store_pb2.Artifact.DELETED
TYPES = {
    "ExampleGen": {"examples": "Examples"},
    "StatisticsGen": {"statistics": "ExampleStatistics"},
    "DataGate": {"blessing": "DataBlessing"},
    "Trainer": {"model": "Model", "model_run": "ModelRun"},
    "Evaluator": {"blessing": "ModelBlessing"},
    "ServingCheck": {"blessing": "InfraBlessing"},
    "Pusher": {"pushed_model": "PushedModel"},
}
STEPS = tuple(TYPES)


class Root:
    """A root whose steps write a file of 100 bytes an artifact."""

    def __init__(self, folder: pathlib.Path, pipeline: str = PIPELINE) -> None:
        self.folder, self.pipeline = folder, pipeline
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(folder / "metadata.sqlite")
        self.store = mlmd.MetadataStore(config)
        names = {name for outputs in TYPES.values() for name in outputs.values()}
        put = self.store.put_artifact_type
        self._kinds = {name: put(metadata_store_pb2.ArtifactType(name=name)) for name in sorted(names)}

    @property
    def artifacts(self) -> pathlib.Path:
        return self.folder / "artifacts" / self.pipeline

    def run(
        self,
        name: str,
        steps: Mapping[str, int] | None = None,
        cached: Mapping[str, dict[str, int]] | None = None,
        blessed: int = 1,
        base: int = 0,
        start: int = 0,
        servable: int = 1,
    ) -> dict[str, dict[str, int]]:
        """Adds a run.

        Args:
            name: of the run.
            steps: those that were executed, by the state in which they ended; by default all, complete.
            cached: the outputs of those that were cached, from an earlier run's.
            blessed: the Evaluator's word.
            base: id of the model that the Evaluator compared with; 0: none.
            start: id of the model whose weights the training began with; 0: none.
            servable: the word of ServingCheck.

        Returns:
            Ids of the output artifacts by step and key.
        """
        outputs: dict[str, dict[str, int]] = dict(cached or {})
        steps = dict.fromkeys(STEPS, COMPLETE) if steps is None else steps
        models = {"Evaluator": {"baseline": base}, "Trainer": {"base_model": start}}
        for step in STEPS:
            inputs = {key: model for key, model in models.get(step, {}).items() if model}
            if step in (cached or {}):
                self._execute(name, step, CACHED, outputs[step], inputs)
            elif step in steps:
                execution = self._execute(name, step, steps[step], {}, inputs)
                for key, kind in TYPES[step].items():
                    self._fill(step, key, execution)
                    if steps[step] == COMPLETE:
                        word = servable if step == "ServingCheck" else blessed
                        outputs.setdefault(step, {})[key] = self._publish(name, step, key, kind, execution, outputs, word)
        folder = self.folder / "runs" / name
        folder.mkdir(parents=True)
        status = "succeeded" if "Pusher" in outputs else "failed"
        (folder / "summary.json").write_text(json.dumps({"run": name, "pipeline": self.pipeline, "status": status}))
        return outputs

    def _fill(self, step: str, key: str, execution: int) -> None:
        folder = self.artifacts / step / key / str(execution)
        folder.mkdir(parents=True)
        (folder / "content").write_bytes(bytes(100))

    def _publish(
        self, run: str, step: str, key: str, kind: str, execution: int, outputs: dict[str, dict[str, int]], blessed: int
    ) -> int:
        uri = str(self.artifacts / step / key / str(execution))
        artifact = metadata_store_pb2.Artifact(type_id=self._kinds[kind], uri=uri, state=LIVE)
        of_model, of_data = outputs.get("Trainer", {}).get("model", 0), outputs.get("StatisticsGen", {}).get("statistics", 0)
        about = dict.fromkeys(("ModelBlessing", "InfraBlessing"), ("current_model_id", of_model))
        about["DataBlessing"] = ("current_statistics_id", of_data)
        if kind in about:
            artifact.custom_properties["blessed"].int_value = blessed
            artifact.custom_properties[about[kind][0]].int_value = about[kind][1]
        [number] = self.store.put_artifacts([artifact])
        [made] = self.store.get_executions_by_id([execution])
        self.store.put_execution(made, [self._event(number, key, metadata_store_pb2.Event.OUTPUT)], self._contexts(run, step))
        return number

    def _execute(self, run: str, step: str, state: Any, outputs: dict[str, int], inputs: dict[str, int]) -> int:
        kind = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name=f"components.{step}"))
        execution = metadata_store_pb2.Execution(type_id=kind, last_known_state=state)
        events = [self._event(number, key, metadata_store_pb2.Event.OUTPUT) for key, number in outputs.items()]
        events += [self._event(number, key, metadata_store_pb2.Event.INPUT) for key, number in inputs.items()]
        return self.store.put_execution(execution, events, self._contexts(run, step))[0]

    def _event(self, number: int, key: str, way: Any) -> tuple[Any, Any]:
        event = metadata_store_pb2.Event(artifact_id=number, type=way)
        event.path.steps.add().key = key
        return self.store.get_artifacts_by_id([number])[0], event

    def _contexts(self, run: str, step: str) -> list[Any]:
        names = {"pipeline": self.pipeline, "pipeline_run": run, "node": f"{self.pipeline}.{step}"}
        found = []
        for kind, name in names.items():
            type_id = self.store.put_context_type(metadata_store_pb2.ContextType(name=kind))
            known = self.store.get_context_by_type_and_name(kind, name)
            found.append(known or metadata_store_pb2.Context(type_id=type_id, name=name))
        return found

    def uri(self, number: int) -> str:
        [artifact] = self.store.get_artifacts_by_id([number])
        return artifact.uri

    def push(self, version: str, model: int, **facts: str) -> None:
        folder = self.folder / "models" / self.pipeline
        (folder / version).mkdir(parents=True)
        write_record(folder, Record(version=version, digest="", seal="", pushed="", model_uri=self.uri(model), **facts))

    def prune(self, keep: int, **options: Any) -> list[Freed]:
        return prune.prune(str(self.folder), keep, **options)

    def gone(self, outputs: dict[str, dict[str, int]]) -> list[str]:
        """Returns which outputs are gone, in the store and on the disk, as `step.key`."""
        found = []
        for step, keys in outputs.items():
            for key, number in keys.items():
                [artifact] = self.store.get_artifacts_by_id([number])
                assert (artifact.state == LIVE) == os.path.isdir(artifact.uri)
                found += [] if artifact.state == LIVE else [f"{step}.{key}"]
        return found


ALL = [f"{step}.{key}" for step, keys in TYPES.items() for key in keys]
MODEL_AND_WORD = ["Trainer.model", "Evaluator.blessing", "ServingCheck.blessing"]
DATA_AND_WORD = ["StatisticsGen.statistics", "DataGate.blessing"]


def _but(*kept: str) -> list[str]:
    return [name for name in ALL if name not in kept]


@pytest.fixture
def root(tmp_path: pathlib.Path) -> Root:
    return Root(tmp_path)


def test_runs_beyond_the_kept_lose_what_is_no_baseline(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 5)]
    [freed, _] = root.prune(keep=1)
    # Of the third, model and data are what the fourth is compared with.
    kept = _but(*MODEL_AND_WORD, *DATA_AND_WORD)
    assert [root.gone(outputs) for outputs in made] == [ALL, ALL, kept, []]
    assert (freed.artifacts, freed.runs) == (8 + 8 + 3, 3)
    records = sum(len(json.dumps({"run": "1", "pipeline": PIPELINE, "status": "succeeded"})) for _ in range(3))
    assert freed.size_bytes == 19 * 100 + records
    assert sorted(path.name for path in (root.folder / "runs").iterdir()) == ["4"]


def test_second_call_finds_nothing_more(root: Root) -> None:
    for number in range(1, 4):
        root.run(str(number))
    root.prune(keep=1)
    assert root.prune(keep=1) == [Freed(PIPELINE), Freed("")]


def test_dry_run_says_the_same_and_removes_nothing(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 4)]
    said = root.prune(keep=1, dry_run=True)
    assert [root.gone(outputs) for outputs in made] == [[], [], []]
    assert root.prune(keep=1) == said and said[0].artifacts == 8 + 3


def test_cache_of_a_kept_run_stays_though_an_old_run_made_it(root: Root) -> None:
    first = root.run("1")
    root.run("2")
    data = {step: first[step] for step in ("ExampleGen", "StatisticsGen", "DataGate")}
    root.run("3", steps=dict.fromkeys(("Trainer", "Evaluator", "Pusher"), COMPLETE), cached=data)
    root.prune(keep=1)
    assert root.gone(data) == [] and "Trainer.model_run" in root.gone(first)


def test_input_of_a_kept_run_stays(root: Root) -> None:
    first = root.run("1")
    root.run("2")
    root.run("3")
    root.run("4", base=first["Trainer"]["model"])  # As after a rollback.
    root.prune(keep=1)
    assert not set(MODEL_AND_WORD) & set(root.gone(first))


def test_model_of_a_pushed_version_stays_with_its_blessing(root: Root) -> None:
    first = root.run("1")
    for number in range(2, 5):
        root.run(str(number))
    root.push("100", first["Trainer"]["model"])
    root.prune(keep=1)
    assert root.gone(first) == _but(*MODEL_AND_WORD)


@pytest.mark.parametrize("cached", [False, True])
def test_model_that_a_kept_training_began_with_stays(root: Root, cached: bool) -> None:
    first = root.run("1")
    for number in range(2, 4):
        root.run(str(number))
    last = root.run("4", start=first["Trainer"]["model"])
    if cached:
        trained = {step: outputs for step, outputs in last.items() if step != "Pusher"}
        root.run("5", steps={"Pusher": COMPLETE}, cached=trained, start=first["Trainer"]["model"])
    root.prune(keep=1)
    assert root.gone(first) == _but(*MODEL_AND_WORD)


def test_models_that_a_rollback_made_current_or_a_baseline_stay(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 7)]
    models = [outputs["Trainer"]["model"] for outputs in made]
    root.push("103", models[3], pushed_after_rollback_to=root.uri(models[0]))  # The rollback's own version is gone.
    root.push("106", models[1], rolled_back_from="105", copy_of="101")
    root.prune(keep=1)
    kept = [name for name, outputs in zip("123456", made, strict=True) if not set(MODEL_AND_WORD) & set(root.gone(outputs))]
    assert kept == ["1", "2", "4", "5", "6"]  # The newest two are candidate and baseline.


def test_blessed_models_that_cannot_be_served_do_not_drive_out_those_that_can(root: Root) -> None:
    made = [root.run("1"), root.run("2")]
    unservable = [root.run(str(number), servable=0) for number in range(3, 6)]
    root.prune(keep=1)
    assert all(not set(MODEL_AND_WORD) & set(root.gone(outputs)) for outputs in made)
    assert [set(MODEL_AND_WORD) <= set(root.gone(outputs)) for outputs in unservable] == [True, True, False]


def test_refused_models_do_not_drive_out_the_blessed(root: Root) -> None:
    made = [root.run("1"), root.run("2")]
    refused = [root.run(str(number), blessed=0) for number in range(3, 7)]
    root.prune(keep=1)
    assert all(not set(MODEL_AND_WORD) & set(root.gone(outputs)) for outputs in made)
    assert [root.gone(outputs) for outputs in refused] == [ALL, ALL, ALL, []]


def test_runs_that_found_nothing_new_do_not_drive_out_those_that_worked(root: Root) -> None:
    made = [root.run("1"), root.run("2")]
    for number in range(3, 9):
        root.run(str(number), steps={}, cached=made[1])
    root.prune(keep=2)
    assert [root.gone(outputs) for outputs in made] == [[], []]
    assert sorted(path.name for path in (root.folder / "runs").iterdir()) == ["1", "2", "7", "8"]


def test_failed_runs_do_not_drive_out_the_last_good_one(root: Root) -> None:
    good = root.run("1")
    half = [root.run(str(number), steps={"ExampleGen": COMPLETE, "StatisticsGen": FAILED}) for number in range(2, 6)]
    root.prune(keep=2)
    assert root.gone(good) == []
    # What the newest of them made is where the next attempt goes on.
    assert [root.gone(outputs) for outputs in half] == [["ExampleGen.examples"], ["ExampleGen.examples"], [], []]


def test_what_a_killed_step_left_is_removed_also_of_the_newest_run(root: Root) -> None:
    root.run("1")
    root.run("2", steps={"ExampleGen": COMPLETE, "StatisticsGen": RUNNING})
    for name in ("ExampleGen/.system/stateful_working_dir/a1b2", "StatisticsGen/.system/executor_execution/7"):
        (root.artifacts / name).mkdir(parents=True)
    stray = root.artifacts / "StatisticsGen" / "statistics"
    left = [path for path in stray.iterdir() if root.store.get_events_by_execution_ids([int(path.name)]) == []]
    assert len(left) == 1
    [freed, _] = root.prune(keep=5)
    assert (freed.artifacts, freed.leftovers, freed.size_bytes) == (0, 2, 100)
    assert not left[0].exists() and len(list(stray.iterdir())) == 1


def test_artifact_that_was_marked_before_a_kill_goes_with_the_next_call(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    first = root.run("1")
    root.run("2")
    root.run("3")
    with monkeypatch.context() as patch:
        patch.setattr(prune.shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            root.prune(keep=1)
    [examples] = root.store.get_artifacts_by_id([first["ExampleGen"]["examples"]])
    assert examples.state == DELETED and os.path.isdir(examples.uri)  # The cache does not take it.
    root.prune(keep=1)
    assert root.gone(first) == ALL


def test_files_outside_the_pipelines_folder_are_never_removed(root: Root, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    first = root.run("1")
    root.run("2")
    root.run("3")
    [examples] = root.store.get_artifacts_by_id([first["ExampleGen"]["examples"]])
    link = pathlib.Path(examples.uri)
    examples.uri = str(outside)
    root.store.put_artifacts([examples])
    (link / "content").unlink()
    link.rmdir()
    link.symlink_to(outside)
    root.prune(keep=1)
    assert outside.is_dir()


def test_other_pipelines_keep_their_own_runs(root: Root) -> None:
    other = Root(root.folder, "mini.other")
    theirs = [other.run(f"o{number}") for number in range(1, 4)]
    ours = [root.run(str(number)) for number in range(1, 4)]
    unfinished = [root.folder / "unfinished" / name for name in "ab"]  # Of whichever pipeline.
    for folder in unfinished:
        folder.mkdir(parents=True)
    assert [one.pipeline for one in root.prune(keep=1, pipeline=PIPELINE)] == [PIPELINE]
    assert all(folder.is_dir() for folder in unfinished)
    assert [root.gone(outputs) for outputs in theirs] == [[], [], []] and root.gone(ours[0]) == ALL
    assert [one.pipeline for one in root.prune(keep=1)] == ["mini.other", PIPELINE, ""]
    assert root.gone(theirs[0]) == ALL and root.gone(theirs[2]) == []


def test_record_of_a_run_that_pushed_a_version_stays_as_long_as_the_version(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 5)]
    root.push("100", made[0]["Trainer"]["model"])
    for run, version in (("1", "100"), ("2", "99")):
        path = root.folder / "runs" / run / "summary.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pushed": {"new": True, "version": version}}))
    root.prune(keep=1)
    assert sorted(path.name for path in (root.folder / "runs").iterdir()) == ["1", "4"]


def test_unfinished_trainings_stay_by_when_they_were_worked_on(root: Root) -> None:
    root.run("1")
    for number, name in enumerate(("c", "a", "b")):
        folder = root.folder / "unfinished" / name
        folder.mkdir(parents=True)
        (folder / "arrays.npz").write_bytes(bytes(10))
        os.utime(folder, (number, number))
    assert root.prune(keep=2)[-1] == Freed("", leftovers=1, size_bytes=10)
    assert sorted(path.name for path in (root.folder / "unfinished").iterdir()) == ["a", "b"]


def test_root_whose_metadata_is_in_a_server_is_not_pruned(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 4)]
    (root.folder / ".store").write_text(json.dumps({"store": "0" * 32, "metadata": "mysql://team@db/vocseg"}))
    with pytest.raises(VocsegError, match=r"the metadata of its runs is in mysql://team@db/vocseg"):
        root.prune(keep=1)
    assert root.gone(made[0]) == []


def test_root_of_another_file_is_not_pruned(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 4)]
    (root.folder / ".store").write_text(json.dumps({"store": "0" * 32, "metadata": "elsewhere:/metadata.sqlite"}))
    with pytest.raises(VocsegError, match=r"are of runs with the metadata store 00000000 \(elsewhere:/metadata.sqlite\)"):
        root.prune(keep=1)
    assert root.gone(made[0]) == []


def test_run_that_was_refused_another_metadata_store_does_not_hinder_pruning(root: Root) -> None:
    made = [root.run(str(number)) for number in range(1, 4)]
    facts = {"run": "2", "pipeline": PIPELINE, "metadata_run": "2.0a1b2c3d", "status": "failed", "pid": 1}
    (root.folder / "runs" / "2" / "summary.json").write_text(json.dumps(facts))
    root.prune(keep=1)
    assert root.gone(made[0]) == ALL


def test_nothing_is_pruned_while_a_run_is_under_way(root: Root) -> None:
    root.run("1")
    with locks.lock(str(root.folder)), pytest.raises(locks.BusyError, match="Another run is under way"):
        root.prune(keep=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keep": 0}, "At least 1 run must be kept"),
        ({"keep": 1, "pipeline": "x"}, "No pipeline x has run in .* There are: mini.test"),
        ({"keep": 1, "root": "gs://bucket/root"}, "Only a root on this machine"),
        ({"keep": 1, "root": "/nowhere"}, "There are no runs in /nowhere"),
    ],
)
def test_what_cannot_be_pruned_is_said(root: Root, change: dict[str, Any], words: str) -> None:
    root.run("1")
    with pytest.raises(VocsegError, match=words):
        prune.prune(**{"root": str(root.folder)} | change)


def test_what_was_freed_is_printed(root: Root, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(1, 4):
        root.run(str(number))
    prune.show(str(root.folder), 1, None, dry_run=True)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("mini.test: 11 artifacts, 0 leftovers, 2 runs, 0.0 MB")
    assert lines[-1] == "Would free 0.0 MB."
