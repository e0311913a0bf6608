"""`vocseg data`: what is refused before anything is read, and that a check and a run judge alike."""

import errno
import json
import os
import pathlib
import shutil

import fake_datasets
import PIL.Image
import pytest

import pipeline_config
from components.datasets import files
from components.datasets.spec import SPEC_FILE, read_spec
from components.errors import DataError, VocsegError
from pipeline import data
from pipeline.cli import main


@pytest.fixture
def own(tmp_path: pathlib.Path) -> pathlib.Path:
    return fake_datasets.write_voc(tmp_path / "own data")


def test_init_writes_the_description_and_says_how_to_try_it(own: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    data.init(str(own), None)
    spec = read_spec(str(own / SPEC_FILE))
    assert (spec.name, len(spec.classes)) == ("own_data", 3)
    assert capfd.readouterr().out.endswith(f"To try it:\n  vocseg data check '{own}'\n")


def test_init_elsewhere_says_the_option_that_finds_it_again(
    own: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture
) -> None:
    data.init(str(own), str(tmp_path / "own.toml"))
    assert capfd.readouterr().out.endswith(f"vocseg data check '{own}' --spec {tmp_path}/own.toml\n")
    assert not (own / SPEC_FILE).exists()


def test_init_overwrites_nothing(own: pathlib.Path) -> None:
    (own / SPEC_FILE).write_text("mine")
    with pytest.raises(VocsegError, match=r"vocseg.toml exists. Give --output another path"):
        data.init(str(own), None)
    assert (own / SPEC_FILE).read_text() == "mine"


def test_init_of_a_remote_folder_needs_a_place() -> None:
    with pytest.raises(VocsegError, match=r"gs://b/d is not on this machine: give --output FILE"):
        data.init("gs://b/d", None)


@pytest.mark.parametrize("path", ["nowhere/x.json", "."])
def test_place_for_the_report_is_looked_at_before_the_data(own: pathlib.Path, tmp_path: pathlib.Path, path: str) -> None:
    with pytest.raises(VocsegError, match=r"--json: .* cannot be written"):
        data.check(str(own), "nothing.toml", "newest", str(tmp_path / path))


def test_choice_of_spans_needs_spans(own: pathlib.Path) -> None:
    with pytest.raises(VocsegError, match=r"--span last:2 needs \{SPAN\} in the path"):
        data.check(str(own), "", "last:2", None)
    assert main(["run", "--preset", "mini", "--data", str(own), "--span", "last:2"]) == 1


def test_description_of_data_that_is_not_given_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert main(["run", "--preset", "mini", "--spec", "nope.toml"]) == 1
    assert "--spec needs --data" in capsys.readouterr().err


def test_sheet_of_a_split_that_is_not_there_is_refused(own: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"has no split test; it has train, validation"):
        data.show(str(own), "", "newest", str(tmp_path / "sheet.png"), "test", 4, 0)
    assert not (tmp_path / "sheet.png").exists()


def test_sheet_is_a_picture(own: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    data.show(str(own), "", "newest", str(tmp_path / "sheet.png"), None, 3, 0)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert f"3 pairs of own_data: {tmp_path}/sheet.png" in capfd.readouterr().out


AUGMENT = ("--augment", "--set", "augment.flip=true", "--set", "augment.max_scale=2")


def _show(*arguments: str | pathlib.Path) -> int:
    return main(["data", "show", *map(str, arguments)])


def test_sheet_of_variants_has_a_row_each(own: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    plain, augmented = tmp_path / "plain.png", tmp_path / "augmented.png"
    assert _show(own, "--count", 2, "--split", "train", "--output", plain) == 0
    assert _show(own, "--count", 2, "--variants", 4, "--output", augmented, "--preset", "mini", *AUGMENT) == 0
    assert f"2 pairs of own_data: {augmented}" in capfd.readouterr().out
    row_px = 180 + 18 + 8
    with PIL.Image.open(augmented) as drawn, PIL.Image.open(plain) as before:
        added_px = drawn.height - before.height
    assert added_px // row_px == 2 * 4  # And perhaps a line of the legend.


def test_only_training_pictures_are_varied_unless_another_split_is_named(
    own: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = []
    monkeypatch.setattr(data, "show", lambda *arguments: splits.append(arguments[4]))
    for more in ((), AUGMENT, ("--split", "validation", *AUGMENT)):
        assert _show(own, *more) == 0
    assert splits == [None, "train", "validation"]


def test_configuration_that_varies_nothing_is_not_drawn(
    own: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture
) -> None:
    off = [text for name in pipeline_config.fields(pipeline_config.AugmentConfig()) for text in ("--set", _at_default(name))]
    assert _show(own, "--augment", "--preset", "mini", *off, "--output", tmp_path / "sheet.png") == 1
    assert "The preset mini varies nothing in training" in capfd.readouterr().err
    assert not (tmp_path / "sheet.png").exists()


def _at_default(name: str) -> str:
    return f"augment.{name}={getattr(pipeline_config.AugmentConfig(), name)}"


@pytest.mark.parametrize("more", [("--preset", "mini"), ("--set", "augment.flip=true"), ("--variants", 2)])
def test_what_only_augment_needs_is_refused_without_it(
    own: pathlib.Path, more: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    assert _show(own, *more) == 1
    assert "give --augment, too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--variants", 0), "--variants must be at least 1; got 0"),
        (("--preset", "minni"), "There is no preset 'minni'"),
        (("--set", "augment.filp=true"), "Did you mean augment.flip"),
        (("--set", "augment.min_scale"), "--set takes FIELD=VALUE"),
    ],
)
def test_wrong_choice_of_variants_is_explained(
    own: pathlib.Path, more: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture
) -> None:
    assert _show(own, *AUGMENT, *more) == 1
    assert expected in capsys.readouterr().err


def test_check_finds_what_a_run_would_refuse(own: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    """With all of train dropped as leaks nothing is bad, and nothing is left."""
    lists = own / "VOCdevkit/VOC2007/ImageSets/Segmentation"
    shutil.copy(lists / "val.txt", lists / "train.txt")
    data.init(str(own), None)
    (own / SPEC_FILE).write_text('leaks = "drop_from_train"\n' + (own / SPEC_FILE).read_text())
    assert data.check(str(own), "", "newest", str(tmp_path / "found.json")) == data.NOT_CLEAN
    found = json.loads((tmp_path / "found.json").read_text())
    assert not found["clean"] and "No usable pair is left of the 3 in the split train" in found["refusal"]
    assert found["splits"]["train"]["dropped"] == 3
    out = capfd.readouterr().out
    assert "own_data: not clean" in out and "A run would refuse it: No usable pair is left" in out


def test_clean_data_is_told_in_numbers(own: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    (own / "VOCdevkit/VOC2007/JPEGImages/notes.txt").write_text("")
    assert data.check(str(own), "", "newest", "-") == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["clean"], found["refusal"], found["listed"], found["generated"]) == (True, "", 11, 11)
    assert found["splits"]["train"]["mask_kinds"] == {"palette as ids": 8}
    assert any("not taken for pictures: 1 .txt" in line for line in found["oddities"])


def test_check_names_a_picture_on_a_bad_block(
    own: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    picture, read = sorted((own / "VOCdevkit/VOC2007/JPEGImages").iterdir())[0], files.read_bytes

    def fail(path: str) -> bytes:
        if path == str(picture):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return read(path)

    monkeypatch.setattr(files, "read_bytes", fail)
    assert main(["data", "check", str(own)]) == 1
    said = capsys.readouterr().err
    assert f"input/output error on {picture}" in said.lower().replace(str(picture).lower(), str(picture))
    assert "take it out of the lists" in said


def test_data_that_a_disk_fails_over_are_not_called_an_error_of_ours(
    own: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(folder: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), folder)

    monkeypatch.setattr(files, "files_below", fail)
    assert main(["data", "check", str(own)]) == 1
    said = capsys.readouterr().err
    assert f"input/output error on {own}" in said and "run the same command again" in said and "not an error" not in said
