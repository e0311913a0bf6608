"""What a metadata store tells of a run; the store is filled by hand, as TFX does."""

import json
import pathlib
import sqlite3

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.errors import VocsegError
from pipeline import lineage
from pipeline.lineage import ArtifactRef

PIPELINE = "mini.embedded"


def _store(path: pathlib.Path) -> MetadataStore:
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return MetadataStore(config)


class _Filled:
    """A store with ExampleGen and Trainer, run once and, in a second run, cached."""

    def __init__(self, path: pathlib.Path) -> None:
        self.store = _store(path)
        self._contexts = {name: self.store.put_context_type(mlmd.ContextType(name=name)) for name in ("pipeline_run", "node")}
        self._artifact = self.store.put_artifact_type(mlmd.ArtifactType(name="Thing"))
        below = f"{path.parent}/artifacts/{PIPELINE}"
        [self.examples, self.model] = self.store.put_artifacts(
            [mlmd.Artifact(type_id=self._artifact, uri=uri) for uri in (f"{below}/e/1", "/elsewhere/m/2")]
        )

    def run(self, name: str, state: "mlmd.Execution.State") -> None:
        [run] = self.store.put_contexts([mlmd.Context(type_id=self._contexts["pipeline_run"], name=name)])
        self._execute(run, "ExampleGen", state, {}, {"examples": self.examples}, {"code_digest": "c1", "data_digest": "d1"})
        custom = {"custom_config": json.dumps({"code_digest": "c2"})}
        self._execute(run, "Trainer", state, {"examples": self.examples}, {"model": self.model}, custom)

    def _execute(
        self,
        run: int,
        component: str,
        state: "mlmd.Execution.State",
        inputs: dict[str, int],
        outputs: dict[str, int],
        properties: dict[str, str],
    ) -> None:
        kind = self.store.put_execution_type(mlmd.ExecutionType(name=f"components.{component}"))
        execution = mlmd.Execution(type_id=kind, last_known_state=state)
        for name, value in properties.items():
            execution.custom_properties[name].string_value = value
        node = mlmd.Context(type_id=self._contexts["node"], name=f"{PIPELINE}.{component}")
        found = self.store.get_context_by_type_and_name("node", node.name)
        contexts = [self.store.get_contexts_by_id([run])[0], found or node]
        events = []
        for artifacts, way in ((inputs, mlmd.Event.INPUT), (outputs, mlmd.Event.OUTPUT)):
            for key, artifact in artifacts.items():
                event = mlmd.Event(artifact_id=artifact, type=way)
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                events.append((self.store.get_artifacts_by_id([artifact])[0], event))
        self.store.put_execution(execution, events, contexts)


def test_run_has_its_executions_with_digests_and_places(tmp_path: pathlib.Path) -> None:
    filled = _Filled(tmp_path / "metadata.sqlite")
    filled.run("first", mlmd.Execution.COMPLETE)
    gen, trainer = lineage.read_lineage(str(tmp_path / "metadata.sqlite"), PIPELINE, "first")
    assert (gen.component, gen.state, gen.code_digest, gen.data_digest) == ("ExampleGen", "complete", "c1", "d1")
    assert (gen.inputs, gen.outputs) == ((), (ArtifactRef("examples", filled.examples, "e/1"),))
    assert (trainer.component, trainer.code_digest, trainer.data_digest) == ("Trainer", "c2", "")
    assert trainer.inputs == gen.outputs
    assert trainer.outputs == (ArtifactRef("model", filled.model, "/elsewhere/m/2"),)
    assert (gen.made_by, gen.made) == (None, "")


def test_cached_execution_names_the_one_that_made_its_outputs(tmp_path: pathlib.Path) -> None:
    filled = _Filled(tmp_path / "metadata.sqlite")
    filled.run("first", mlmd.Execution.COMPLETE)
    filled.run("second", mlmd.Execution.CACHED)
    first = lineage.read_lineage(str(tmp_path / "metadata.sqlite"), PIPELINE, "first")
    second = lineage.read_lineage(str(tmp_path / "metadata.sqlite"), PIPELINE, "second")
    assert [one.state for one in second] == ["cached", "cached"]
    assert [one.made_by for one in second] == [one.number for one in first]
    assert [one.made for one in second] == [one.ended for one in first]
    assert [one.outputs for one in second] == [one.outputs for one in first]


def test_unknown_run_missing_file_and_another_kind_of_file_are_told(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metadata.sqlite"
    with pytest.raises(VocsegError, match="There is no"):
        lineage.read_lineage(str(path), PIPELINE, "first")
    assert not path.exists()
    _Filled(path)
    with pytest.raises(VocsegError, match="does not know the run first"):
        lineage.read_lineage(str(path), PIPELINE, "first")
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(VocsegError, match="cannot be read"):
        lineage.read_lineage(str(tmp_path / "other.sqlite"), PIPELINE, "first")


def test_nothing_is_written(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metadata.sqlite"
    _Filled(path).run("first", mlmd.Execution.COMPLETE)
    before = path.read_bytes()
    lineage.read_lineage(str(path), PIPELINE, "first")
    assert path.read_bytes() == before


def test_digest_is_found_within_json_within_json() -> None:
    metric = json.dumps({"code_digest": "deep"})
    assert lineage.find_digest({"eval_config": json.dumps({"metrics": [{"config": "{"}, {"config": metric}]})}) == "deep"
    assert lineage.find_digest({"custom_config": "no JSON"}) == ""
    assert lineage.find_digest({}) == ""
    assert lineage.find_digest({"code_digest": "own", "custom_config": metric}) == "own"


def test_place_beside_the_folder_stays_whole() -> None:
    assert lineage.shorten("/a/top/b", "/a/top") == "b"
    assert lineage.shorten("/a/topped/b", "/a/top") == "/a/topped/b"
