"""The names and folders of a run: models on different data never share a pipeline, the same data always does."""

import os
import pathlib

import pytest

from components.errors import VocsegError
from pipeline.locations import Locations, check_writable, locate, write_output
from pipeline_config import ConfigError, override, preset


def _name(data: str | os.PathLike | None, preset_name: str = "voc2007", **assignments: str) -> str:
    config = override(preset(preset_name), {f"data.{field}": text for field, text in assignments.items()})
    return locate(config, "out", data).pipeline_name


def test_folders_of_a_root() -> None:
    locations = Locations(root="/r", pipeline_name="mini.embedded", data="/d")
    assert locations.artifacts == "/r/artifacts/mini.embedded"
    assert locations.metadata == "/r/metadata.sqlite"
    assert locations.models == "/r/models/mini.embedded"
    assert locations.work_dir == "/r/data"
    assert locations.runs == "/r/runs"


def test_relative_root_becomes_absolute(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(preset("mini"), "out", None).root == str(tmp_path / "out")


def test_embedded_data_is_called_embedded() -> None:
    assert locate(preset("mini"), "/r", None) == Locations(root="/r", pipeline_name="mini.embedded", data="")


def test_official_data_is_called_after_its_description() -> None:
    assert locate(preset("voc2007"), "/r", None) == Locations(root="/r", pipeline_name="voc2007.voc2007", data="")


def test_pattern_of_spans_has_one_name_whatever_spans_there_are(tmp_path: pathlib.Path) -> None:
    located = locate(preset("voc2007"), "/r", tmp_path / "span-{SPAN}")
    (tmp_path / "span-1").mkdir()
    assert locate(preset("voc2007"), "/r", tmp_path / "span-{SPAN}") == located
    assert located.data == str(tmp_path / "span-{SPAN}")
    assert located.pipeline_name.startswith("voc2007.span_SPAN-")


def test_remote_folder_keeps_its_address() -> None:
    located = locate(preset("voc2007"), "/r", "gs://bucket/quarry/")
    assert located.data == "gs://bucket/quarry"
    assert located.pipeline_name.startswith("voc2007.quarry-")


def test_folder_is_called_after_its_name_and_path(tmp_path: pathlib.Path) -> None:
    stem, separator, digest = _name(tmp_path / "quarry").rpartition("-")
    assert (stem, separator) == ("voc2007.quarry", "-")
    assert len(digest) == 6 and int(digest, 16) >= 0


def test_folder_counts_where_a_preset_has_embedded_data(tmp_path: pathlib.Path) -> None:
    assert _name(tmp_path / "quarry", "mini").startswith("mini.quarry-")


def test_presets_on_one_folder_differ(tmp_path: pathlib.Path) -> None:
    mini, voc2007 = (_name(tmp_path, name).split(".", 1) for name in ("mini", "voc2007"))
    assert mini[0] != voc2007[0]
    assert mini[1] == voc2007[1]


def test_two_folders_of_one_name_differ(tmp_path: pathlib.Path) -> None:
    one, two = (_name(tmp_path / parent / "quarry") for parent in ("a", "b"))
    assert one != two
    assert one.rpartition("-")[0] == two.rpartition("-")[0]


def test_given_name_overrides_folder_and_builder(tmp_path: pathlib.Path) -> None:
    assert _name(tmp_path, name="june") == "voc2007.june"
    assert _name(None, name="june") == "voc2007.june"
    assert _name(None, "mini", name="june") == "mini.june"


def test_given_name_leaves_the_data_folder(tmp_path: pathlib.Path) -> None:
    config = override(preset("voc2007"), {"data.name": "june"})
    assert locate(config, "out", tmp_path).data == str(tmp_path)


def test_one_folder_in_many_spellings_has_one_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quarry").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "quarry")
    monkeypatch.chdir(tmp_path)
    spellings = [
        tmp_path / "quarry",
        "quarry",
        "./quarry",
        "quarry/",
        "quarry//",
        "quarry/.",
        f"{tmp_path}/quarry/",
        "../" + tmp_path.name + "/quarry",
        "link",
    ]
    assert {(_name(spelling), locate(preset("voc2007"), "out", spelling).data) for spelling in spellings} == {
        (_name(tmp_path / "quarry"), str(tmp_path / "quarry"))
    }


@pytest.mark.parametrize(
    ("folder", "readable"),
    [("VOC 2007 (new)", "VOC_2007_new"), ("a.b", "a_b"), ("steinbruch", "steinbruch"), ("äöü", "data"), ("_x_", "x")],
)
def test_odd_folder_gets_a_plain_name(tmp_path: pathlib.Path, folder: str, readable: str) -> None:
    assert _name(tmp_path / folder).rpartition("-")[0] == f"voc2007.{readable}"


def test_file_system_root_as_data_folder_has_a_name() -> None:
    assert _name("/").startswith("voc2007.data-")


def test_with_data_changes_the_folder_and_keeps_the_name() -> None:
    before = locate(preset("mini"), "/r", None)
    assert before.with_data("/r/data/embedded") == Locations(root="/r", pipeline_name="mini.embedded", data="/r/data/embedded")


@pytest.mark.parametrize("name", ["a/b", "/x", "../../x", "../../../../x"])
def test_given_name_that_is_a_path_never_leaves_its_folder(name: str) -> None:
    """Refused when the configuration is made, or brought into one folder's name; `vocseg predict` looks for models/*/*."""
    try:
        config = override(preset("mini"), {"data.name": name})
    except ConfigError:
        return
    models = os.path.normpath(locate(config, "/r", None).models)
    assert os.path.dirname(models) == "/r/models"
    assert os.path.basename(models).startswith("mini.")


@pytest.mark.parametrize("path", ["nowhere/x.png", "folder", "pipe"])
def test_path_that_could_not_be_written_at_the_end_is_refused_at_once(tmp_path: pathlib.Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(VocsegError, match=rf"--plot: .*{path} cannot be written"):
        check_writable(str(tmp_path / path), "--plot")


def test_output_that_cannot_be_written_leaves_nothing_and_names_its_option(tmp_path: pathlib.Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(VocsegError, match=r"--plot: .*folder cannot be written: Is a directory. Give another path."):
        write_output(str(tmp_path / "folder"), b"x", "--plot")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    check_writable(str(tmp_path / "x.png"), "--plot")
    write_output(str(tmp_path / "x.png"), b"x", "--plot")
    assert (tmp_path / "x.png").read_bytes() == b"x"
