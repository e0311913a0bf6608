"""The mark that binds a root to one metadata store: two count outputs alike, and would write over each other's."""

import json
import pathlib

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2

from components.datasets import files
from components.errors import VocsegError
from pipeline import root_mark, runners, runs
from pipeline.cli import main
from pipeline.locations import Locations

SERVER = "mysql://team@db/vocseg"


def _locations(root: str, local: str = "", server: str = "") -> Locations:
    return Locations(root=root, pipeline_name="p", data="", local=local, metadata_server=server)


def _connection(path: pathlib.Path) -> metadata_store_pb2.ConnectionConfig:
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config


def _claim(locations: Locations) -> None:
    root_mark.claim(locations, runners.local_metadata(locations))


def _put_out(root: pathlib.Path, where: str = "ExampleGen") -> None:
    (root / "artifacts" / "p" / where).mkdir(parents=True)


def _note_run(path: pathlib.Path) -> None:
    """Leaves what a run of any version leaves in a store."""
    store = ml_metadata.MetadataStore(_connection(path))
    kind = store.put_context_type(metadata_store_pb2.ContextType(name="pipeline_run"))
    store.put_contexts([metadata_store_pb2.Context(type_id=kind, name="1")])


def test_first_run_marks_the_root_and_later_ones_leave_the_mark(tmp_path: pathlib.Path) -> None:
    _claim(_locations(str(tmp_path)))
    mark = (tmp_path / ".store").read_text()
    assert len(json.loads(mark)["store"]) == 32 and json.loads(mark)["metadata"].endswith(f":{tmp_path}/metadata.sqlite")
    _put_out(tmp_path)
    _claim(_locations(str(tmp_path)))
    assert (tmp_path / ".store").read_text() == mark


def test_root_of_one_store_is_refused_to_another_which_gets_nothing(tmp_path: pathlib.Path) -> None:
    _claim(_locations(str(tmp_path)))
    _put_out(tmp_path)
    mark = (tmp_path / ".store").read_text()
    (tmp_path / "metadata.sqlite").rename(tmp_path / "kept")
    with pytest.raises(VocsegError) as caught:
        _claim(_locations(str(tmp_path)))
    said = str(caught.value)
    assert json.loads(mark)["store"][:8] in said and f"a new one ({json.loads(mark)['metadata']})" in said
    assert "--metadata" in said and f"To begin anew, remove {tmp_path}/artifacts." in said
    assert not (tmp_path / "metadata.sqlite").exists()

    with pytest.raises(VocsegError, match=r"this run would use [0-9a-f]{8} \(mysql://team@db/vocseg\)"):
        root_mark.claim(_locations(str(tmp_path), server=SERVER), _connection(tmp_path / "server"))
    assert (tmp_path / ".store").read_text() == mark

    (tmp_path / "kept").rename(tmp_path / "metadata.sqlite")
    _claim(_locations(str(tmp_path)))


def test_root_whose_outputs_were_removed_can_begin_anew(tmp_path: pathlib.Path) -> None:
    _claim(_locations(str(tmp_path)))
    before = (tmp_path / ".store").read_text()
    (tmp_path / "metadata.sqlite").unlink()
    _claim(_locations(str(tmp_path)))
    assert (tmp_path / ".store").read_text() != before


def test_two_roots_may_have_one_store(tmp_path: pathlib.Path) -> None:
    marks = []
    for name in "ab":
        (tmp_path / name).mkdir()
        root_mark.claim(_locations(str(tmp_path / name), server=SERVER), _connection(tmp_path / "server"))
        marks.append((tmp_path / name / ".store").read_text())
    assert marks[0] == marks[1]


def test_root_of_an_earlier_version_stays_with_its_own_file(tmp_path: pathlib.Path) -> None:
    _put_out(tmp_path)
    _note_run(tmp_path / "metadata.sqlite")
    _claim(_locations(str(tmp_path)))
    assert (tmp_path / ".store").exists()


def test_root_of_an_earlier_version_is_not_taken_by_a_store_without_runs(tmp_path: pathlib.Path) -> None:
    _put_out(tmp_path)
    with pytest.raises(VocsegError, match="are of runs with another metadata store; this run would use a new one"):
        _claim(_locations(str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


def test_root_of_an_earlier_version_stays_with_the_server_that_its_runs_name(tmp_path: pathlib.Path) -> None:
    _put_out(tmp_path)
    _note_run(tmp_path / "server")
    locations = _locations(str(tmp_path), server=SERVER)
    with pytest.raises(VocsegError, match="of runs with another metadata store"):
        root_mark.claim(locations, _connection(tmp_path / "server"))
    summary, folder = runs.create(locations.runs, "p")
    summary.paths["metadata"] = SERVER
    runs.write(summary, folder / runs.SUMMARY_FILE)
    root_mark.claim(locations, _connection(tmp_path / "server"))
    assert json.loads((tmp_path / ".store").read_text())["metadata"] == SERVER


def test_what_vertex_ai_wrote_is_numbered_otherwise(tmp_path: pathlib.Path) -> None:
    _put_out(tmp_path, "123456789")
    _claim(_locations(str(tmp_path)))
    assert (tmp_path / ".store").exists()


def test_root_in_a_store_is_refused_to_a_machine_without_its_records(ram_store: str, tmp_path: pathlib.Path) -> None:
    import tensorflow as tf

    root = f"{ram_store}/root"
    _claim(_locations(root, str(tmp_path / "one")))
    assert files.exists(f"{root}/.store")
    tf.io.gfile.makedirs(f"{root}/artifacts/p/ExampleGen")
    _claim(_locations(root, str(tmp_path / "one")))
    with pytest.raises(
        VocsegError, match=f"{tmp_path}/one/metadata.sqlite.*a new one .*{tmp_path}/two/metadata.sqlite.*--local"
    ):
        _claim(_locations(root, str(tmp_path / "two")))


def test_damaged_mark_is_said_to_be(tmp_path: pathlib.Path) -> None:
    (tmp_path / ".store").write_text("{")
    with pytest.raises(VocsegError, match=r"\.store should say .*, and is damaged. Restore it; or remove it"):
        _claim(_locations(str(tmp_path)))


def test_run_with_another_store_ends_before_it_writes_data(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    _put_out(tmp_path)
    assert main(["run", "--preset=mini", f"--root={tmp_path}"]) == 1
    assert f"The outputs in {tmp_path} are of runs with another metadata store" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "artifacts", "runs"]
