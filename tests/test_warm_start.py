"""What a training starts with, by a metadata store that is filled by hand, as TFX does."""

import pathlib
from typing import Any

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components.version_records import Record, write_record
from components.warm_start import WarmStartStrategy

NODE = "p.Trainer"
CONFIG = '{"trainer": "a"}'
COMPLETE, CACHED, FAILED = (getattr(metadata_store_pb2.Execution, name) for name in ("COMPLETE", "CACHED", "FAILED"))


class Past:
    """A store, and models 1 to 3 and examples 4 and 5 in it."""

    def __init__(self, folder: pathlib.Path) -> None:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(folder / "metadata.sqlite")
        self.store = mlmd.MetadataStore(config)
        kind = self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Thing"))
        self._execution = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name="tfx.Trainer"))
        self._node = self.store.put_context_type(metadata_store_pb2.ContextType(name="node"))
        self.folder = folder
        for number in range(1, 6):
            (folder / str(number)).mkdir()
            self.store.put_artifacts([metadata_store_pb2.Artifact(type_id=kind, uri=str(folder / str(number)))])

    def trained(self, examples: int, base: int = 0, state: Any = COMPLETE, config: str = CONFIG, node: str = NODE) -> None:
        execution = metadata_store_pb2.Execution(type_id=self._execution, last_known_state=state)
        execution.custom_properties["custom_config"].string_value = config
        pairs = []
        for key, number in (("examples", examples), ("base_model", base)):
            if number:
                event = metadata_store_pb2.Event(artifact_id=number, type=metadata_store_pb2.Event.INPUT)
                event.path.steps.add().key = key
                pairs.append((self.store.get_artifacts_by_id([number])[0], event))
        known = self.store.get_context_by_type_and_name("node", node)
        self.store.put_execution(execution, pairs, [known or metadata_store_pb2.Context(type_id=self._node, name=node)])

    def start(self, examples: int, blessed: tuple[int, ...], refused: tuple[int, ...] = (), models: str = "") -> int | None:
        """Returns the model that a training on the examples starts with, given those with blessings in their order."""
        inputs: dict[str, list[Any]] = {
            "examples": [self._artifact(standard_artifacts.Examples(), examples)],
            "model": [self._artifact(standard_artifacts.Model(), number) for number in (1, 2, 3)],
            "model_blessing": [_blessing(standard_artifacts.ModelBlessing(), 10 + n, m, 1) for n, m in enumerate(blessed)],
            "infra_blessing": [_blessing(standard_artifacts.InfraBlessing(), 20 + n, m, 0) for n, m in enumerate(refused)],
        }
        found = WarmStartStrategy(NODE, CONFIG, models).resolve_artifacts(self.store, dict(inputs))
        assert set(found) == set(inputs) and found["examples"] == inputs["examples"]
        assert found["model_blessing"] == found["infra_blessing"] == []
        return found["model"][0].id if found["model"] else None

    def _artifact(self, artifact: Any, number: int) -> Any:
        artifact.id, artifact.uri = number, str(self.folder / str(number))
        return artifact


def _blessing(blessing: Any, number: int, model: int, blessed: int) -> Any:
    blessing.id = number
    blessing.set_int_custom_property("blessed", blessed)
    blessing.set_int_custom_property("current_model_id", model)
    return blessing


@pytest.fixture
def past(tmp_path: pathlib.Path) -> Past:
    return Past(tmp_path)


def test_first_training_starts_with_nothing(past: Past) -> None:
    assert past.start(4, blessed=()) is None


def test_new_training_starts_with_the_newest_blessed_model(past: Past) -> None:
    assert past.start(4, blessed=(1, 2)) == 2
    assert past.start(4, blessed=(2, 1)) == 1


def test_model_that_cannot_be_served_is_passed_over(past: Past) -> None:
    assert past.start(4, blessed=(1, 2), refused=(2,)) == 1


def test_model_whose_files_are_gone_is_passed_over(past: Past) -> None:
    (past.folder / "2").rmdir()
    assert past.start(4, blessed=(1, 2)) == 1


def test_model_that_was_gone_back_to_is_started_with(past: Past) -> None:
    links = {"model_uri": str(past.folder / "1"), "copy_of": "1", "rolled_back_from": "2"}
    (past.folder / "models" / "3").mkdir(parents=True)
    write_record(past.folder / "models", Record(version="3", digest="", seal="", pushed="", **links))
    assert past.start(4, blessed=(1, 2), models=str(past.folder / "models")) == 1


@pytest.mark.parametrize("state", [COMPLETE, CACHED])
def test_same_training_keeps_its_start_when_its_model_is_the_newest(past: Past, state: Any) -> None:
    past.trained(4, base=1, state=state)
    assert past.start(4, blessed=(1, 2)) == 1


def test_same_training_keeps_that_it_had_no_start(past: Past) -> None:
    past.trained(4)
    assert past.start(4, blessed=(1, 2)) is None


def test_training_on_other_examples_starts_with_the_newest(past: Past) -> None:
    past.trained(4, base=1)
    assert past.start(5, blessed=(1, 2)) == 2


def test_training_with_other_settings_or_of_another_pipeline_is_another_one(past: Past) -> None:
    past.trained(4, base=1, config='{"trainer": "b"}')
    past.trained(4, base=1, node="q.Trainer")
    assert past.start(4, blessed=(1, 2)) == 2


def test_training_that_failed_binds_to_nothing(past: Past) -> None:
    past.trained(4, base=1, state=FAILED)
    assert past.start(4, blessed=(1, 2)) == 2


def test_newest_of_several_completed_ones_counts(past: Past) -> None:
    past.trained(4, base=2)
    past.trained(4, base=1)
    past.trained(5, base=3)
    assert past.start(4, blessed=(1, 2, 3)) == 1


def test_start_whose_files_are_gone_gives_way_to_the_newest(past: Past) -> None:
    past.trained(4, base=1)
    (past.folder / "1").rmdir()
    assert past.start(4, blessed=(1, 2)) == 2
