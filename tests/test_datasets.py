"""Which description a command means."""

import pathlib

import fake_datasets
import numpy as np
import PIL.Image
import pytest

from components.datasets import registry
from components.datasets.fake_voc import write_fake_voc
from components.datasets.spec import SPEC_FILE, DatasetSpec, to_toml
from components.errors import DataError
from pipeline.datasets import find_spec

OWN = DatasetSpec(name="own", classes=("background", "leaf", "stone"))


def _find(named: str, folder: pathlib.Path | str, span: str = "newest") -> tuple[DatasetSpec, list[str]]:
    told: list[str] = []
    return find_spec(named, str(folder), span, told.append), told


def test_built_in_set_goes_by_its_name_and_nothing_is_looked_at() -> None:
    assert _find("camvid", "/nowhere") == (registry.built_in("camvid"), [])


def test_file_is_read_wherever_it_lies(tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.toml").write_text(to_toml(OWN))
    assert _find(str(tmp_path / "own.toml"), "/nowhere") == (OWN, [])


def test_word_that_is_neither_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(DataError, match=r"no description 'camvit': expected voc2007, .*or a TOML file's path"):
        _find("camvit", "/nowhere")


def test_description_in_the_data_folder_is_found_and_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / SPEC_FILE).write_text(to_toml(OWN))
    assert _find("", tmp_path) == (OWN, [f"The description is {tmp_path}/vocseg.toml."])


def test_voc_is_known_by_its_looks(tmp_path: pathlib.Path) -> None:
    write_fake_voc(tmp_path, split_sizes={"train": 3, "val": 3, "test": 3})
    assert _find("", tmp_path) == (registry.built_in("voc2007"), ["This is the built-in data set voc2007."])


def test_own_classes_in_a_folder_of_a_built_in_sets_name_are_told_as_a_guess(tmp_path: pathlib.Path) -> None:
    data = fake_datasets.write_voc(tmp_path / "voc2007")
    spec, told = _find("", data)
    assert spec.name == "voc2007" and len(spec.classes) == 3
    assert "guessed" in told[0] and len(told) > 3


def test_spans_share_the_description_beside_them(tmp_path: pathlib.Path) -> None:
    (tmp_path / "span-1").mkdir()
    (tmp_path / SPEC_FILE).write_text(to_toml(OWN))
    assert _find("", tmp_path / "span-{SPAN}")[0] == OWN


def test_spans_of_an_own_set_need_a_description(tmp_path: pathlib.Path) -> None:
    fake_datasets.write_voc(tmp_path / "span-1")
    with pytest.raises(DataError, match=rf"vocseg data init {tmp_path}/span-1 --output {tmp_path}/vocseg.toml"):
        _find("", tmp_path / "span-{SPAN}")


def test_guess_is_remembered_so_that_a_stray_pixel_cannot_make_a_class(tmp_path: pathlib.Path) -> None:
    data, remembered = fake_datasets.write_folders(tmp_path / "data"), str(tmp_path / "root/descriptions/own.toml")
    told: list[str] = []
    first = find_spec("", str(data), "newest", told.append, remembered)
    assert any(remembered in line for line in told)
    path = next((data / "masks").iterdir())
    ids = np.asarray(PIL.Image.open(path)).copy()
    ids[0, 0] = 17
    PIL.Image.fromarray(ids).save(path)
    assert len(_find("", data)[0].classes) == 18  # A new guess would have it so.
    told.clear()
    assert find_spec("", str(data), "newest", told.append, remembered) == first
    assert told == [f"The description is {remembered}, guessed by an earlier run. Correct it there, or give --spec."]


def test_description_in_the_data_folder_goes_before_a_remembered_guess(tmp_path: pathlib.Path) -> None:
    data, remembered = fake_datasets.write_folders(tmp_path / "data"), str(tmp_path / "own.toml")
    find_spec("", str(data), "newest", print, remembered)
    (data / SPEC_FILE).write_text(to_toml(OWN))
    assert find_spec("", str(data), "newest", print, remembered) == OWN
