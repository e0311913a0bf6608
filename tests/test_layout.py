"""From a data folder and its description to pairs: the root, the lists, the folders, the fractions, and what is amiss."""

import dataclasses
import errno
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable

import pytest
import tensorflow as tf

from components.datasets import files, layout, registry
from components.datasets.builder import content_digest
from components.datasets.fake_voc import write_fake_voc
from components.datasets.layout import Pair, divide, find_root, holds, list_pairs
from components.datasets.lists import read_list, read_pair_list
from components.datasets.spec import DatasetSpec, Layout, Splits
from components.datasets.voc2007 import Voc2007Semantic
from components.datasets.voc2007.builder import SPEC as VOC
from components.errors import DataError

LISTS = "ImageSets/Segmentation"


def _describe(splits: Splits = Splits(), **places: str) -> DatasetSpec:  # noqa: B008 - it is frozen
    return DatasetSpec(name="mine", classes=("a", "b"), layout=Layout(**places), splits=splits)


def _touch(root: pathlib.Path, *names: str) -> str:
    """Writes files whose contents do not matter: nothing here decodes them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(f"content of {name}"))
    return os.fspath(root)


def _write(root: pathlib.Path, name: str, text: str | bytes) -> str:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return os.fspath(root / name)


def _keys(pairs: dict[str, list[Pair]]) -> dict[str, list[str]]:
    return {split: [pair.key for pair in listed] for split, listed in pairs.items()}


def _all(pairs: dict[str, list[Pair]]) -> dict[str, Pair]:
    return {pair.key: pair for listed in pairs.values() for pair in listed}


def _found(pair: Pair, root: str) -> tuple[str, str, str]:
    return pair.key, os.path.relpath(pair.image, root), os.path.relpath(pair.mask, root)


@pytest.fixture
def tiny(tmp_path: pathlib.Path) -> pathlib.Path:
    """A VOC folder of four pairs whose files are not pictures: nothing here decodes them."""
    root = tmp_path / "VOCdevkit" / "VOC2007"
    for split, keys in {"train": "ab", "val": "c", "test": "d"}.items():
        _write(root, f"{LISTS}/{split}.txt", "".join(f"{key}\n" for key in keys))
        _touch(root, *(f"JPEGImages/{key}.jpg" for key in keys), *(f"SegmentationClass/{key}.png" for key in keys))
    return root


# Finding the root.


@pytest.mark.parametrize("levels_up", [0, 1, 2], ids=["VOC2007 itself", "VOCdevkit", "its parent"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_root_is_found_from_three_levels(tiny: pathlib.Path, levels_up: int, slash: str) -> None:
    given = [tiny, tiny.parent, tiny.parent.parent][levels_up]
    found = find_root(f"{given}{slash}", VOC)
    assert os.path.samefile(found, tiny)
    assert found.startswith(f"{given}{slash}")


def test_root_is_found_in_a_store() -> None:
    folder = f"ram://{uuid.uuid4().hex}/data"
    for part in ("JPEGImages", "SegmentationClass", LISTS):
        tf.io.gfile.makedirs(f"{folder}/VOCdevkit/VOC2007/{part}")
    assert find_root(folder, VOC) == f"{folder}/VOCdevkit/VOC2007"
    assert find_root(f"{folder}/VOCdevkit", VOC) == f"{folder}/VOCdevkit/VOC2007"


def test_missing_folder_is_named_with_the_remedy(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist. Give --data a folder that holds the data set voc2007"):
        find_root(f"{tmp_path}/nowhere", VOC)


def test_store_that_nobody_knows_is_named() -> None:
    with pytest.raises(DataError, match=r"The data folder nobodys://x cannot be looked at: .*'nobodys' not implemented"):
        find_root("nobodys://x", VOC)


def test_empty_folder_says_what_was_expected_and_that_it_holds_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        DataError, match=r"expected VOCdevkit/VOC2007/JPEGImages, .*/ImageSets/Segmentation below it.*: nothing\."
    ):
        find_root(f"{tmp_path}", VOC)


def test_folder_of_something_else_says_what_it_holds(tmp_path: pathlib.Path) -> None:
    for name in ("photos", "notes.txt"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"It holds: notes.txt, photos\."):
        find_root(f"{tmp_path}", VOC)


def test_set_of_another_year_is_not_taken(tiny: pathlib.Path) -> None:
    with pytest.raises(DataError, match="expected VOCdevkit/VOC2012"):
        find_root(f"{tiny.parent.parent}", registry.built_in("voc2012"))


def test_file_given_as_data_folder_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    path = _touch(tmp_path, "VOCtrainval_06-Nov-2007.tar") + "/VOCtrainval_06-Nov-2007.tar"
    with pytest.raises(DataError, match=r"VOCtrainval_06-Nov-2007.tar is a file. Give --data the folder that holds it"):
        find_root(path, VOC)


@pytest.mark.parametrize("part", ["JPEGImages", "SegmentationClass", LISTS])
def test_missing_part_is_named(tiny: pathlib.Path, part: str) -> None:
    shutil.rmtree(tiny / part)
    with pytest.raises(DataError, match=rf"VOC2007 has .* and .*, but no {part}\."):
        find_root(f"{tiny.parent.parent}", VOC)


def test_both_missing_parts_are_named(tiny: pathlib.Path) -> None:
    shutil.rmtree(tiny / "JPEGImages")
    shutil.rmtree(tiny / "SegmentationClass")
    with pytest.raises(DataError, match=r"no JPEGImages and no SegmentationClass\."):
        find_root(f"{tiny}", VOC)


def test_folder_that_may_not_be_listed_is_an_error_that_can_be_mended(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(DataError, match=r"does not hold the data set voc2007.*\(Permission denied\)"):
        find_root(f"{tmp_path}", VOC)


def test_pictures_in_the_root_itself_need_the_root(tmp_path: pathlib.Path) -> None:
    described = _describe(root="data", images="", masks="", mask_suffix="_m")
    _touch(tmp_path, "data/a.jpg", "data/a_m.png")
    assert find_root(f"{tmp_path}", described) == f"{tmp_path}/data"
    assert find_root(f"{tmp_path}/data", described) == f"{tmp_path}/data"


def test_lists_in_a_folder_of_the_split_are_looked_for_by_its_name(tmp_path: pathlib.Path) -> None:
    described = _describe(Splits(lists="{split}/list.txt"))
    root = _touch(tmp_path, "images/a.jpg", "masks/a.png", "images/b.jpg", "masks/b.png")
    with pytest.raises(DataError, match=r"but no train\."):
        find_root(root, described)
    _write(tmp_path, "train/list.txt", "a\n")
    _write(tmp_path, "val/list.txt", "b\n")
    assert _keys(list_pairs(root, described)) == {"train": ["a"], "validation": ["b"]}


def test_whole_folder_holds_the_set_and_one_without_a_list_does_not(tiny: pathlib.Path) -> None:
    assert holds(f"{tiny.parent.parent}", VOC)
    (tiny / LISTS / "test.txt").unlink()
    assert not holds(f"{tiny.parent.parent}", VOC)
    assert not holds(f"{tiny}/nowhere", VOC)


def test_extracted_folder_wins_over_archives_beside_it(tmp_path: pathlib.Path) -> None:
    write_fake_voc(tmp_path, split_sizes={"train": 2, "val": 2, "test": 2})
    (tmp_path / "VOCtrainval_06-Nov-2007.tar").write_bytes(b"not even an archive")
    source = Voc2007Semantic(source=tmp_path, data_dir=tmp_path / "tfds")
    assert source.source_digest() == content_digest(list_pairs(f"{tmp_path}", VOC), None)


# Lists of ids.


@pytest.mark.parametrize(
    "raw",
    [
        b"a\nb\n",
        b"a\r\nb\r\n",
        b"a\rb\r",
        b"\xef\xbb\xbfa\nb\n",
        b"\xef\xbb\xbfa\r\nb",
        b"a  \nb\t\n",
        b"  a\n\tb\n",
        b"a\nb",
        b"\n\na\n\n  \nb\n\n\n",
        b"a\r\nb\n",
        b"a\n\x0cb\n",
    ],
    ids=[
        "LF",
        "CRLF",
        "CR",
        "BOM",
        "BOM, CRLF, no last newline",
        "trailing blanks",
        "leading blanks",
        "no last newline",
        "blank lines",
        "mixed",
        "form feed at a line's start",
    ],
)
def test_list_written_by_any_editor_gives_the_same_ids(tmp_path: pathlib.Path, raw: bytes) -> None:
    assert read_list(_write(tmp_path, "train.txt", raw)) == ["a", "b"]


def test_list_keeps_its_order(tmp_path: pathlib.Path) -> None:
    assert read_list(_write(tmp_path, "train.txt", "c\na\nb\n")) == ["c", "a", "b"]


def test_list_may_hold_ids_outside_ascii_with_inner_blanks_dots_and_folders(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path, "train.txt", "käse 1\n2007.03\nsub/deep/x\na..b\nx/12:30")
    assert read_list(path) == ["käse 1", "2007.03", "sub/deep/x", "a..b", "x/12:30"]


def test_list_without_ids_is_empty(tmp_path: pathlib.Path) -> None:
    assert read_list(_write(tmp_path, "train.txt", b"\xef\xbb\xbf\r\n  \r\n")) == []
    assert read_list(_write(tmp_path, "empty.txt", b"")) == []


@pytest.mark.parametrize(
    "key",
    [
        "../../x",
        "/etc/passwd",
        "..\\x",
        "\\\\host\\x",
        "a\\b",
        "..",
        ".",
        ".hidden",
        "sub/.hidden",
        ".git/x",
        "a/../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "/",
        "//host/x",
        "gs://bucket/x",
        "C:/x",
        "a\0b",
        "a\tb",
        "a\x1fb",
        "a\x7fb",
        "a\x0cb",
        "a\x85b",
        "a\u2028b",
        "a\u200bb",
        "a\ufeffb",
        "a\u202egpj",
    ],
)
def test_id_that_would_leave_the_folder_or_cannot_be_printed_is_refused_with_its_line(tmp_path: pathlib.Path, key: str) -> None:
    path = _write(tmp_path, "train.txt", f"a\r\n\r\n{key}\r\nb\r\n")
    with pytest.raises(DataError) as error:
        read_list(path)
    assert str(error.value) == (
        f"{path} lists what cannot be used:\n  line 3: {key!r}; expected the id of an image: a file's name without its ending"
    )


def test_every_bad_line_is_named_with_its_number(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path, "train.txt", "a\n../x\n\nb\n/y\n\n.z")
    with pytest.raises(DataError) as error:
        read_list(path)
    assert [line.split(";")[0] for line in str(error.value).splitlines()[1:]] == [
        "  line 2: '../x'",
        "  line 5: '/y'",
        "  line 7: '.z'",
    ]


def test_many_bad_lines_are_named_up_to_twenty_and_counted(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError) as error:
        read_list(_write(tmp_path, "train.txt", "".join(f"/{i}\n" for i in range(1000))))
    lines = str(error.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 980 more"


def test_ids_that_stand_twice_are_named_with_both_lines(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path, "train.txt", "a\nb\nc\nb \r\na\nb\n")
    with pytest.raises(DataError) as error:
        read_list(path)
    assert str(error.value).splitlines() == [
        f"{path} lists what cannot be used:",
        "  line 4: 'b'; it stands in line 2 already; remove one",
        "  line 5: 'a'; it stands in line 1 already; remove one",
        "  line 6: 'b'; it stands in line 2 already; remove one",
    ]


@pytest.mark.parametrize("raw", ["a\n".encode("utf-16"), b"k\xe4se\n", b"\x89PNG\r\n"], ids=["UTF-16", "Latin-1", "a picture"])
@pytest.mark.parametrize("read", [read_list, read_pair_list])
def test_list_that_is_not_utf8_is_named(tmp_path: pathlib.Path, raw: bytes, read: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match=r"val.txt is not a text file in UTF-8"):
        read(_write(tmp_path, "val.txt", raw))


@pytest.mark.parametrize("raw", ["a\n".encode("utf-16-le"), b"a\0\0\0\n"], ids=["UTF-16 without a mark", "NUL"])
def test_list_with_zeros_is_refused(tmp_path: pathlib.Path, raw: bytes) -> None:
    with pytest.raises(DataError, match=r"val.txt lists what cannot be used:\s+line 1: 'a\\x00"):
        read_list(_write(tmp_path, "val.txt", raw))


@pytest.mark.parametrize("read", [read_list, read_pair_list])
def test_list_that_is_a_folder_is_named(tmp_path: pathlib.Path, read: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(f"{tmp_path}")


def test_list_may_lie_in_a_store() -> None:
    path = f"ram://{uuid.uuid4().hex}.txt"
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"\xef\xbb\xbfa\r\nb")
    assert read_list(path) == ["a", "b"]


# Pairs by lists of ids.


def test_pairs_of_each_split_have_key_image_mask_and_folder(tiny: pathlib.Path) -> None:
    given = f"{tiny.parent.parent}"
    pairs = list_pairs(given, VOC)
    assert _keys(pairs) == {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    assert pairs["train"][1] == Pair("b", f"{tiny}/JPEGImages/b.jpg", f"{tiny}/SegmentationClass/b.png", given)


def test_folder_that_pairs_may_not_leave_is_the_linked_one(tiny: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(tiny)
    pair = list_pairs(f"{tmp_path}/link", VOC)["train"][0]
    assert pair.image == f"{tmp_path}/link/JPEGImages/a.jpg"
    assert pair.folder == os.path.realpath(tiny)


def test_pairs_are_listed_whether_their_files_exist_or_not(tiny: pathlib.Path) -> None:
    (tiny / "JPEGImages" / "a.jpg").unlink()
    (tiny / "SegmentationClass" / "b.png").unlink()
    a, b = list_pairs(f"{tiny}", VOC)["train"]
    assert (a.image, b.mask) == (f"{tiny}/JPEGImages/a.jpg", f"{tiny}/SegmentationClass/b.png")
    assert (a.problem, b.problem) == ("", "")  # What reads them says so.


@pytest.mark.parametrize("ending", [".png", ".JPG", ".jpeg", ".Png", ".tiff", ".WEBP", ".bmp", ".gif"])
def test_picture_may_have_any_ending(tiny: pathlib.Path, ending: str) -> None:
    (tiny / "JPEGImages" / "a.jpg").rename(tiny / "JPEGImages" / f"a{ending}")
    pair = list_pairs(f"{tiny}", VOC)["train"][0]
    assert (pair.image, pair.problem) == (f"{tiny}/JPEGImages/a{ending}", "")


def test_masks_may_have_another_ending(tiny: pathlib.Path) -> None:
    (tiny / "SegmentationClass" / "a.png").rename(tiny / "SegmentationClass" / "a.TIF")
    assert list_pairs(f"{tiny}", VOC)["train"][0].mask == f"{tiny}/SegmentationClass/a.TIF"


@pytest.mark.parametrize("listed", ["a.jpg", "a.JPG", "a.png"])
def test_id_with_a_pictures_ending_is_the_id(tiny: pathlib.Path, listed: str) -> None:
    (tiny / LISTS / "train.txt").write_text(f"{listed}\nb\n")
    assert _found(list_pairs(f"{tiny}", VOC)["train"][0], f"{tiny}") == ("a", "JPEGImages/a.jpg", "SegmentationClass/a.png")


def test_id_with_an_ending_finds_the_mask_with_a_suffix(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, *(f"images/{key}.jpg" for key in "ab"), *(f"masks/{key}_m.png" for key in "ab"))
    _write(tmp_path, "train.txt", "a.jpg")
    _write(tmp_path, "val.txt", "b.jpg")
    pair = list_pairs(root, _describe(Splits(lists="{split}.txt"), mask_suffix="_m"))["train"][0]
    assert _found(pair, root) == ("a", "images/a.jpg", "masks/a_m.png")


def test_id_with_the_ending_of_a_missing_picture_is_its_id(tiny: pathlib.Path) -> None:
    (tiny / "JPEGImages" / "a.jpg").unlink()
    (tiny / LISTS / "train.txt").write_text("a.jpg\n")
    assert _found(list_pairs(f"{tiny}", VOC)["train"][0], f"{tiny}") == ("a", "JPEGImages/a.jpg", "SegmentationClass/a.png")


def test_id_that_stands_with_its_ending_and_without_is_named(tiny: pathlib.Path) -> None:
    (tiny / LISTS / "train.txt").write_text("a.jpg\nb\na\n")
    with pytest.raises(DataError, match=r"train.txt lists 'a' more than once: with an ending and without\."):
        list_pairs(f"{tiny}", VOC)


def test_dot_in_an_id_is_no_ending(tiny: pathlib.Path) -> None:
    _touch(
        tiny, "JPEGImages/2007.03.jpg", "SegmentationClass/2007.03.png", "JPEGImages/x.jpg.png", "SegmentationClass/x.jpg.png"
    )
    (tiny / LISTS / "train.txt").write_text("2007.03\nx.jpg\n")
    assert [_found(pair, f"{tiny}") for pair in list_pairs(f"{tiny}", VOC)["train"]] == [
        ("2007.03", "JPEGImages/2007.03.jpg", "SegmentationClass/2007.03.png"),
        ("x.jpg", "JPEGImages/x.jpg.png", "SegmentationClass/x.jpg.png"),
    ]


def test_id_may_be_in_a_folder(tiny: pathlib.Path) -> None:
    _touch(tiny, "JPEGImages/sub/a.png", "SegmentationClass/sub/a.png")
    (tiny / LISTS / "train.txt").write_text("sub/a\na\n")
    assert [_found(pair, f"{tiny}") for pair in list_pairs(f"{tiny}", VOC)["train"]] == [
        ("sub/a", "JPEGImages/sub/a.png", "SegmentationClass/sub/a.png"),
        ("a", "JPEGImages/a.jpg", "SegmentationClass/a.png"),
    ]


def test_two_pictures_of_one_id_are_the_pairs_problem(tiny: pathlib.Path) -> None:
    _touch(tiny, "JPEGImages/a.png", "SegmentationClass/b.bmp")
    a, b = list_pairs(f"{tiny}", VOC)["train"]
    assert a.problem == "there are several: a.jpg, a.png; expected one image"
    assert b.problem == "there are several: b.bmp, b.png; expected one mask"
    assert list_pairs(f"{tiny}", VOC)["validation"][0].problem == ""


def test_listed_ending_tells_which_of_two_pictures_is_meant(tiny: pathlib.Path) -> None:
    _touch(tiny, "JPEGImages/a.png")
    (tiny / LISTS / "train.txt").write_text("a.png\n")
    pair = list_pairs(f"{tiny}", VOC)["train"][0]
    assert (_found(pair, f"{tiny}")[:2], pair.problem) == (("a", "JPEGImages/a.png"), "")


def test_files_of_editors_and_systems_are_no_second_picture(tiny: pathlib.Path) -> None:
    others = ("Thumbs.db", ".DS_Store", "._a.jpg", "a.txt", "a.jpg.bak", "a", "a.xml", "a.json", "a.jpg~")
    _touch(tiny, *(f"{folder}/{name}" for folder in ("JPEGImages", "SegmentationClass") for name in others))
    _touch(tiny, "JPEGImages/.trash/a.jpg")
    assert all(not pair.problem for pair in list_pairs(f"{tiny}", VOC)["train"])


@pytest.mark.parametrize("present", [True, False], ids=["empty", "missing"])
def test_test_list_may_be_empty_or_missing(tiny: pathlib.Path, present: bool) -> None:
    (tiny / LISTS / "test.txt").unlink()
    if present:
        (tiny / LISTS / "test.txt").write_bytes(b"\r\n")
    assert _keys(list_pairs(f"{tiny}", VOC)) == {"train": ["a", "b"], "validation": ["c"]}


def test_test_list_of_a_description_without_test_is_not_read(tiny: pathlib.Path) -> None:
    described = dataclasses.replace(VOC, splits=dataclasses.replace(VOC.splits, test=""))
    assert "test" not in list_pairs(f"{tiny}", described)


@pytest.mark.parametrize("name", ["train", "val"])
@pytest.mark.parametrize("present", [True, False], ids=["is empty", "does not exist"])
def test_list_that_is_needed_is_named(tiny: pathlib.Path, name: str, present: bool) -> None:
    (tiny / LISTS / f"{name}.txt").unlink()
    if present:
        (tiny / LISTS / f"{name}.txt").write_text("\n")
    state = "is empty" if present else "does not exist"
    with pytest.raises(DataError, match=rf"{name}.txt {state}; expected a line a picture\."):
        list_pairs(f"{tiny}", VOC)


def test_same_id_in_two_splits_is_a_pair_of_each(tiny: pathlib.Path) -> None:
    (tiny / LISTS / "val.txt").write_text("c\na\n")
    pairs = list_pairs(f"{tiny}", VOC)
    assert pairs["validation"][1] == pairs["train"][0]


def test_lists_may_go_with_folders_of_the_split(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "train/x/a.jpg", "train/y/a.png", "val/x/a.jpg", "val/y/a.png")
    _write(tmp_path, "train.txt", "a")
    _write(tmp_path, "val.txt", "a")
    pairs = list_pairs(root, _describe(Splits(lists="{split}.txt"), images="{split}/x", masks="{split}/y"))
    assert {split: _found(found[0], root) for split, found in pairs.items()} == {
        "train": ("a", "train/x/a.jpg", "train/y/a.png"),
        "validation": ("a", "val/x/a.jpg", "val/y/a.png"),
    }


# Lists of pairs.

PREFIX = "/SegNet/CamVid/"


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("end", ["\n", "\r\n", "   \r\n\r\n", "\t\n"])
def test_list_of_pairs_gives_paths_without_the_prefix(tmp_path: pathlib.Path, prefix: str, end: str) -> None:
    text = "".join(f"{prefix}train/{key}.png {prefix}trainannot/{key}.png{end}" for key in "ab")
    assert read_pair_list(_write(tmp_path, "train.txt", text), prefix) == [
        ("train/a.png", "trainannot/a.png"),
        ("train/b.png", "trainannot/b.png"),
    ]


def test_blanks_between_paths_may_be_any_and_a_mark_is_no_part(tmp_path: pathlib.Path) -> None:
    assert read_pair_list(_write(tmp_path, "train.txt", b"\xef\xbb\xbf a.png \t  b.png")) == [("a.png", "b.png")]


def test_prefix_may_be_missing_from_some_paths(tmp_path: pathlib.Path) -> None:
    assert read_pair_list(_write(tmp_path, "train.txt", f"{PREFIX}a.png b.png"), PREFIX) == [("a.png", "b.png")]


def test_line_without_two_paths_is_named(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path, "train.txt", "a.png b.png\na.png\n\nmy a.png my b.png\n")
    with pytest.raises(DataError) as error:
        read_pair_list(path)
    assert str(error.value).splitlines()[1:] == [
        "  line 2: 'a.png'; expected two paths, of image and mask",
        "  line 4: 'my a.png my b.png'; expected two paths, of image and mask",
    ]


@pytest.mark.parametrize(
    "bad", ["../x.png", "/etc/passwd", "a\\b.png", ".x.png", "a//b.png", "gs://b/x.png", "a/../b.png", "./a.png"]
)
@pytest.mark.parametrize("first", [True, False], ids=["image", "mask"])
def test_path_that_leaves_the_data_folder_is_refused_with_its_line(tmp_path: pathlib.Path, bad: str, first: bool) -> None:
    line = f"{bad} good.png" if first else f"good.png {bad}"
    with pytest.raises(DataError) as error:
        read_pair_list(_write(tmp_path, "train.txt", f"a.png b.png\n{line}\n"))
    assert (
        f"line 2: {line!r}; expected paths inside the data folder; what they all begin with can be said: splits.prefix"
        in str(error.value)
    )


@pytest.mark.parametrize("bad", [f"{PREFIX}../x.png", f"{PREFIX}/etc/passwd", f"{PREFIX}{PREFIX}x.png", "/SegNet/x.png"])
def test_path_that_leaves_the_data_folder_behind_the_prefix_is_refused(tmp_path: pathlib.Path, bad: str) -> None:
    with pytest.raises(DataError, match=f"expected paths inside the data folder behind the prefix {PREFIX}"):
        read_pair_list(_write(tmp_path, "train.txt", f"{bad} {PREFIX}good.png\n"), PREFIX)


def test_prefix_without_its_slash_is_said_to_be_one(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="behind the prefix /SegNet/CamVid$"):
        read_pair_list(_write(tmp_path, "train.txt", f"{PREFIX}a.png {PREFIX}b.png\n"), PREFIX.rstrip("/"))


@pytest.mark.parametrize("again", ["x/a.png", "x/a.jpg"], ids=["the same", "another ending"])
def test_picture_that_a_list_of_pairs_has_twice_is_named(tmp_path: pathlib.Path, again: str) -> None:
    # With another ending it would have the same key.
    with pytest.raises(DataError, match=r"line 3: 'x/a'; it stands in line 1 already; remove one"):
        read_pair_list(_write(tmp_path, "train.txt", f"x/a.png m/a.png\nx/b.png m/b.png\n{again} m/c.png\n"))


def test_one_mask_may_belong_to_two_pictures(tmp_path: pathlib.Path) -> None:
    path = _write(tmp_path, "train.txt", "a.png m.png\nb.png m.png\n")
    assert read_pair_list(path) == [("a.png", "m.png"), ("b.png", "m.png")]


@pytest.mark.parametrize("inner", ["", "CamVid/"], ids=["CamVid itself", "its parent"])
def test_camvid_is_found_by_its_lists(tmp_path: pathlib.Path, inner: str) -> None:
    for split in ("train", "val"):
        _write(tmp_path, f"{inner}{split}.txt", f"{PREFIX}{split}/a.png {PREFIX}{split}annot/a.png\n")
    pairs = list_pairs(f"{tmp_path}", registry.built_in("camvid"))
    root = f"{tmp_path}/{inner}".rstrip("/")
    assert {split: _found(found[0], root) for split, found in pairs.items()} == {
        "train": ("train/a", "train/a.png", "trainannot/a.png"),
        "validation": ("val/a", "val/a.png", "valannot/a.png"),
    }
    assert pairs["train"][0].folder == f"{tmp_path}"


# Folders.


def test_folder_per_split(tmp_path: pathlib.Path) -> None:
    names = [f"{split}/{folder}" for split in ("train", "val", "test") for folder in ("images/a.jpg", "masks/a.png")]
    root = _touch(tmp_path, *names)
    pairs = list_pairs(root, _describe(images="{split}/images", masks="{split}/masks"))
    assert {split: [_found(pair, root) for pair in found] for split, found in pairs.items()} == {
        "train": [("train/a", "train/images/a.jpg", "train/masks/a.png")],
        "validation": [("val/a", "val/images/a.jpg", "val/masks/a.png")],
        "test": [("test/a", "test/images/a.jpg", "test/masks/a.png")],
    }


def test_folder_per_split_of_the_users_names_with_folders_in_it(tmp_path: pathlib.Path) -> None:
    names = [f"{folder}/{split}/aachen/a.png" for split in ("t", "v") for folder in ("leftImg8bit", "gtFine")]
    root = _touch(tmp_path, *names)
    pairs = list_pairs(root, _describe(Splits(train="t", validation="v"), images="leftImg8bit/{split}", masks="gtFine/{split}"))
    assert _keys(pairs) == {"train": ["t/aachen/a"], "validation": ["v/aachen/a"]}
    assert _found(pairs["train"][0], root)[1:] == ("leftImg8bit/t/aachen/a.png", "gtFine/t/aachen/a.png")


@pytest.mark.parametrize("split", ["train", "val"])
def test_folder_of_a_split_without_pictures_is_named(tmp_path: pathlib.Path, split: str) -> None:
    root = _touch(tmp_path, "train/i/a.jpg", "train/m/a.png", "val/i/a.jpg", "val/m/a.png")
    (tmp_path / split / "i" / "a.jpg").rename(tmp_path / split / "i" / "a.txt")
    (tmp_path / split / "m" / "a.png").unlink()
    name = {"train": "train", "val": "validation"}[split]
    with pytest.raises(DataError, match=rf"There is no picture for {name} in .*/{split}/i; expected files that end in .jpg, "):
        list_pairs(root, _describe(images="{split}/i", masks="{split}/m"))


@pytest.mark.parametrize("present", [True, False], ids=["empty", "missing"])
def test_folder_of_test_may_be_empty_or_missing(tmp_path: pathlib.Path, present: bool) -> None:
    root = _touch(tmp_path, "train/i/a.jpg", "train/m/a.png", "val/i/a.jpg", "val/m/a.png")
    if present:
        (tmp_path / "test" / "i").mkdir(parents=True)
    assert list(list_pairs(root, _describe(images="{split}/i", masks="{split}/m"))) == ["train", "validation"]


def test_masks_of_all_splits_in_one_folder_are_not_missed_in_each(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "images/train/a.jpg", "images/val/b.jpg", "masks/a.png", "masks/b.png")
    pairs = list_pairs(root, _describe(images="images/{split}"))
    assert {split: [_found(pair, root) for pair in found] for split, found in pairs.items()} == {
        "train": [("train/a", "images/train/a.jpg", "masks/a.png")],
        "validation": [("val/b", "images/val/b.jpg", "masks/b.png")],
    }


def test_pictures_without_masks_and_masks_without_pictures_are_listed(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/b.png", "masks/c.png", "images/d.jpg", "masks/d.png")
    found = _all(list_pairs(root, _describe()))
    assert {key: _found(pair, root)[1:] for key, pair in found.items()} == {
        "a": ("images/a.jpg", "masks/a.png"),
        "b": ("images/b.jpg", "masks/b.png"),
        "c": ("images/c.jpg", "masks/c.png"),
        "d": ("images/d.jpg", "masks/d.png"),
    }


def test_pairs_of_folders_are_in_the_order_of_their_keys(tmp_path: pathlib.Path) -> None:
    keys = [f"{index:02d}" for index in range(30)]
    root = _touch(tmp_path, *(f"{split}/{folder}/{key}.png" for split in ("train", "val") for folder in "im" for key in keys))
    pairs = list_pairs(root, _describe(images="{split}/i", masks="{split}/m"))
    assert _keys(pairs)["train"] == [f"train/{key}" for key in keys]


def test_hidden_files_and_those_of_systems_are_ignored(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, *(f"{folder}/{key}" for folder in ("images", "masks") for key in ("a.png", "b.png")))
    others = (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png", ".b.png", ".cache/c.png", "sub/.x.jpg", "notes.txt", "d")
    _touch(tmp_path, *(f"{folder}/{name}" for folder in ("images", "masks") for name in others))
    assert sorted(_all(list_pairs(root, _describe()))) == ["a", "b"]


def test_two_pictures_of_one_stem_are_one_pair_with_a_problem(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "images/a.jpg", "images/a.JPG", "masks/a.png", "images/b.jpg", "masks/b.png")
    found = _all(list_pairs(root, _describe()))
    assert {key: pair.problem for key, pair in found.items()} == {
        "a": "there are several: a.JPG, a.jpg; expected one image",
        "b": "",
    }


def test_masks_may_have_a_suffix(tmp_path: pathlib.Path) -> None:
    root = _touch(
        tmp_path, "images/a.jpg", "masks/a_mask.png", "images/b_mask.jpg", "masks/b_mask_mask.png", "masks/c_mask.gif"
    )
    found = _all(list_pairs(root, _describe(mask_suffix="_mask")))
    assert {key: _found(pair, root)[1:] for key, pair in found.items()} == {
        "a": ("images/a.jpg", "masks/a_mask.png"),
        "b_mask": ("images/b_mask.jpg", "masks/b_mask_mask.png"),
        "c": ("images/c.jpg", "masks/c_mask.gif"),
    }


def test_mask_named_by_the_whole_name_of_its_picture_has_its_ending_as_suffix(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, *(f"images/{key}.jpg" for key in "ab"), *(f"masks/{key}.jpg.png" for key in "ab"))
    found = _all(list_pairs(root, _describe(mask_suffix=".jpg")))
    assert _found(found["a"], root) == ("a", "images/a.jpg", "masks/a.jpg.png")


@pytest.mark.parametrize(("images", "masks"), [("all", "all"), ("all/", "all"), ("", ""), (".", "")])
def test_picture_and_mask_may_lie_in_one_folder(tmp_path: pathlib.Path, images: str, masks: str) -> None:
    names = ("a.jpg", "a_m.png", "b.png", "b_m.png", "c.png", "sub/d.png", "sub/d_m.png", "e_m.png")
    where = images.strip("./")
    root = _touch(tmp_path, *(f"{where}/{name}".strip("/") for name in names))
    found = _all(list_pairs(root, _describe(images=images, masks=masks, mask_suffix="_m")))
    inner = f"{root}/{where}".rstrip("/")
    assert {key: _found(pair, inner)[1:] for key, pair in found.items()} == {
        "a": ("a.jpg", "a_m.png"),
        "b": ("b.png", "b_m.png"),
        "c": ("c.png", "c_m.png"),
        "sub/d": ("sub/d.png", "sub/d_m.png"),
        "e": ("e.jpg", "e_m.png"),
    }
    assert not any(pair.problem for pair in found.values())


@pytest.mark.parametrize(
    ("images", "masks"),
    [("", "masks"), ("images", ""), ("all", "all/masks"), ("all/images", "all"), ("./all", "all/sub/masks/")],
)
def test_one_folder_may_lie_in_the_other(tmp_path: pathlib.Path, images: str, masks: str) -> None:
    root = _touch(
        tmp_path, *(os.path.normpath(f"{folder}/{key}.png".lstrip("/")) for folder in (images, masks) for key in "ab")
    )
    found = _all(list_pairs(root, _describe(images=images, masks=masks)))
    assert {key: _found(pair, root) for key, pair in found.items()} == {
        key: (key, os.path.normpath(f"./{images}/{key}.png"), os.path.normpath(f"./{masks}/{key}.png")) for key in "ab"
    }


def test_folder_whose_name_begins_with_the_others_is_not_in_it(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "x/a.png", "x/y_more/b.png", "x/y/a.png", "x/y/y_more/b.png")
    assert sorted(_all(list_pairs(root, _describe(images="x", masks="x/y")))) == ["a", "y_more/b"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_picture_beside_its_mask_is_both(tmp_path: pathlib.Path, side: str) -> None:
    root = _touch(tmp_path, "train/1.jpg", "train/2.jpg", "val/1.jpg", "masks/3.png")
    pairs = list_pairs(root, _describe(Splits(test=""), images="{split}", mask_side=side))
    assert {split: [_found(pair, root) for pair in found] for split, found in pairs.items()} == {
        "train": [("train/1", "train/1.jpg", "train/1.jpg"), ("train/2", "train/2.jpg", "train/2.jpg")],
        "validation": [("val/1", "val/1.jpg", "val/1.jpg")],
    }


def test_picture_beside_its_mask_needs_no_folder_of_masks(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "train/1.jpg", "val/1.jpg")
    assert find_root(root, registry.built_in("cityscapes_pairs")) == root
    with pytest.raises(DataError, match=r"does not hold the data set cityscapes_pairs: expected train below it"):
        find_root(f"{tmp_path}/train", registry.built_in("cityscapes_pairs"))


def test_carla_is_found_from_two_levels(tmp_path: pathlib.Path) -> None:
    keys = [f"F6{index}" for index in range(10)]
    _touch(tmp_path, *(f"data/{folder}/{key}.png" for folder in ("CameraRGB", "CameraMask") for key in keys))
    described = registry.built_in("carla")
    outer, inner = (list_pairs(f"{folder}", described) for folder in (tmp_path, tmp_path / "data"))
    assert _keys(outer) == _keys(inner)
    assert {split: len(found) for split, found in outer.items()} == {"train": 8, "validation": 1, "test": 1}


def test_folders_in_a_store_give_the_same_pairs(tmp_path: pathlib.Path) -> None:
    names = [f"{folder}/{key}" for folder in ("images", "masks") for key in ("a.png", "sub/b.png", "c.JPG", ".x.png", "d.txt")]
    local, remote = _touch(tmp_path, *names), f"ram://{uuid.uuid4().hex}/data"
    for name in names:
        tf.io.gfile.makedirs(os.path.dirname(f"{remote}/{name}"))
        with tf.io.gfile.GFile(f"{remote}/{name}", "w") as file:
            file.write(name)
    here, there = list_pairs(local, _describe()), list_pairs(remote, _describe())
    assert _keys(here) == _keys(there)
    assert {pair.image.removeprefix(local) for pair in _all(here).values()} == {
        pair.image.removeprefix(remote) for pair in _all(there).values()
    }
    assert {pair.folder for pair in _all(there).values()} == {remote}


def test_folder_of_pictures_that_may_not_be_listed_is_an_error_that_can_be_mended(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _touch(tmp_path, "images/a.png", "masks/a.png", "images/sub/b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("sub"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"The folder .*/images/sub cannot be listed: Permission denied"):
        list_pairs(root, _describe())


def test_name_that_is_not_utf8_is_listed(tmp_path: pathlib.Path) -> None:
    # It goes to the quarantine when it is read; the other pictures are none the worse for it.
    root = _touch(tmp_path, "images/a.png", "masks/a.png")
    odd = os.fsdecode(b"B\xe4ume")
    _touch(tmp_path, f"images/{odd}.png", f"masks/{odd}.png")
    assert sorted(_all(list_pairs(root, _describe()))) == sorted(["a", odd])


# Fractions.


def _pairs(count: int) -> list[Pair]:
    return [Pair(f"{index:04d}", f"{index}.jpg", f"{index}.png") for index in range(count)]


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (10, (0.8, 0.1, 0.1), (8, 1, 1)),
        (100, (0.8, 0.1, 0.1), (80, 10, 10)),
        (1000, (0.5, 0.25, 0.25), (500, 250, 250)),
        (4, (0.8, 0.1, 0.1), (2, 1, 1)),
        (3, (0.8, 0.1, 0.1), (1, 1, 1)),
        (3, (0.1, 0.1, 0.8), (1, 1, 1)),
        (2, (0.8, 0.1, 0.1), (1, 1, 0)),
        (2, (0.9, 0.1, 0.0), (1, 1, 0)),
        (1, (0.8, 0.1, 0.1), (1, 0, 0)),
        (0, (0.8, 0.1, 0.1), (0, 0, 0)),
        (10, (0.9, 0.1, 0.0), (9, 1, 0)),
        (10, (0.01, 0.98, 0.01), (1, 8, 1)),
        (10, (0.01, 0.01, 0.98), (1, 1, 8)),
        (4, (0.05, 0.5, 0.45), (1, 1, 2)),
    ],
)
def test_division_is_complete_and_gives_each_share_its_number(
    count: int, fractions: tuple[float, ...], sizes: tuple[int, ...]
) -> None:
    pairs = _pairs(count)
    divided = divide(pairs, Splits(fractions=fractions))
    assert tuple(len(divided[split]) for split in ("train", "validation", "test")) == sizes
    # Complete and disjoint: each pair is in just one split.
    assert sorted(pair.key for found in divided.values() for pair in found) == [pair.key for pair in pairs]


def test_division_keeps_the_given_order_in_each_split() -> None:
    for found in divide(_pairs(50), Splits()).values():
        assert [pair.key for pair in found] == sorted(pair.key for pair in found)


def test_division_does_not_depend_on_the_order_of_the_listing() -> None:
    pairs = _pairs(50)
    forth, back = divide(pairs, Splits(seed=3)), divide(pairs[::-1], Splits(seed=3))
    assert {split: set(found) for split, found in forth.items()} == {split: set(found) for split, found in back.items()}


def test_division_follows_the_seed() -> None:
    by_seed = [_keys(divide(_pairs(50), Splits(seed=seed))) for seed in (0, 0, 1)]
    assert by_seed[0] == by_seed[1]
    assert by_seed[0]["test"] != by_seed[2]["test"]


def test_division_is_the_same_on_every_machine_and_in_every_version() -> None:
    # `printf 0:0002 | sha256sum` begins with 0e, the least of the ten; 0004 follows with 18.
    divided = _keys(divide(_pairs(10), Splits()))
    assert (divided["test"], divided["validation"]) == (["0002"], ["0004"])


def test_division_follows_the_keys_and_not_the_folder(tmp_path: pathlib.Path) -> None:
    for copy in ("one", "two/deep"):
        _touch(tmp_path / copy, *(f"{folder}/{index}.png" for folder in ("images", "masks") for index in range(20)))
    one, two = (list_pairs(f"{tmp_path}/{copy}", _describe()) for copy in ("one", "two/deep"))
    assert _keys(one) == _keys(two)
    assert {split: len(found) for split, found in one.items()} == {"train": 16, "validation": 2, "test": 2}


def test_division_without_a_share_for_test_has_no_test(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, *(f"{folder}/{index}.png" for folder in ("images", "masks") for index in range(4)))
    pairs = list_pairs(root, _describe(Splits(fractions=(0.75, 0.25, 0.0))))
    assert {split: len(found) for split, found in pairs.items()} == {"train": 3, "validation": 1}


def test_two_pictures_are_enough_and_one_is_not(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "images/a.png", "masks/a.png")
    with pytest.raises(DataError, match=r"There is one picture only, .*/images/a.png; train and validation need one each"):
        list_pairs(root, _describe())
    _touch(tmp_path, "images/b.png", "masks/b.png")
    assert {split: len(found) for split, found in list_pairs(root, _describe()).items()} == {"train": 1, "validation": 1}


def test_no_picture_at_all_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    root = _touch(tmp_path, "images/a.heic", "masks/a.txt")
    with pytest.raises(DataError, match=r"There is no picture for train in .*/images; expected files that end in .jpg, .jpeg"):
        list_pairs(root, _describe())


# What an editor leaves in lists.


def test_marks_of_editors_are_told_of_by_list(tiny: pathlib.Path) -> None:
    assert layout.describe_lists(f"{tiny}", VOC) == []
    (tiny / LISTS / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\nb ")
    (tiny / LISTS / "test.txt").write_bytes(b"")
    assert layout.describe_lists(f"{tiny.parent}", VOC) == [
        f"{tiny}/{LISTS}/train.txt: a byte order mark, CRLF line ends, blanks around ids, blank lines, no line end at its end",
        f"{tiny}/{LISTS}/test.txt: empty",
    ]


# The digest of what is listed.


def _digest(root: pathlib.Path) -> str:
    return content_digest(list_pairs(f"{root}", VOC), None)


def test_digest_is_the_same_wherever_the_set_lies(tiny: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(tiny, tmp_path / "copy")
    assert _digest(tmp_path / "copy") == _digest(tiny)


def test_digest_changes_with_one_byte_of_one_mask(tiny: pathlib.Path) -> None:
    before = _digest(tiny)
    mask = tiny / "SegmentationClass" / "c.png"
    data = mask.read_bytes()
    mask.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert _digest(tiny) != before
    mask.write_bytes(data)
    assert _digest(tiny) == before


@pytest.mark.parametrize(
    ("split", "text"),
    [("train", "a\n"), ("train", "b\na\n"), ("train", "a\nb\nx\n"), ("test", ""), ("val", "c\nd\n")],
    ids=["one fewer", "other order", "a file that is not there", "empty", "one more"],
)
def test_digest_changes_with_a_lists_edit(tiny: pathlib.Path, split: str, text: str) -> None:
    before = _digest(tiny)
    (tiny / LISTS / f"{split}.txt").write_text(text)
    assert _digest(tiny) != before


def test_digest_changes_when_a_pair_moves_to_another_split(tiny: pathlib.Path) -> None:
    before = _digest(tiny)
    (tiny / LISTS / "train.txt").write_text("a\n")
    (tiny / LISTS / "val.txt").write_text("b\nc\n")
    assert _digest(tiny) != before


def test_digest_changes_when_two_masks_are_swapped(tiny: pathlib.Path) -> None:
    before = _digest(tiny)
    a, b = tiny / "SegmentationClass" / "a.png", tiny / "SegmentationClass" / "b.png"
    data_a, data_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(data_b)
    b.write_bytes(data_a)
    assert _digest(tiny) != before


def test_digest_tells_a_mask_from_a_missing_one_and_from_a_folder(tiny: pathlib.Path) -> None:
    mask = tiny / "SegmentationClass" / "d.png"
    before = _digest(tiny)
    mask.unlink()
    missing = _digest(tiny)
    mask.mkdir()
    assert len({before, missing, _digest(tiny)}) == 3


@pytest.mark.parametrize("edit", ["time stamps", "files that no list has", "line ends"])
def test_digest_does_not_change_with_what_does_not_count(tiny: pathlib.Path, edit: str) -> None:
    before = _digest(tiny)
    if edit == "time stamps":
        for path in tiny.rglob("*"):
            os.utime(path, (1, 1))
    elif edit == "files that no list has":
        _touch(tiny, "JPEGImages/unlisted.jpg", f"{LISTS}/trainval.txt")
    else:
        (tiny / LISTS / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\nb")
    assert _digest(tiny) == before


# Real data.


def _real(shared_data: pathlib.Path, name: str) -> dict[str, list[Pair]]:
    return list_pairs(f"{shared_data / name}", VOC)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("voc2007", {"train": 209, "validation": 213, "test": 210}),
        ("coalrock", {"train": 31, "validation": 4}),  # Its list for test is empty.
        ("farmland", {"train": 8, "validation": 4}),
    ],
)
def test_real_set_has_its_pairs_whose_files_exist(shared_data: pathlib.Path, name: str, sizes: dict[str, int]) -> None:
    pairs = _real(shared_data, name)
    assert {split: len(listed) for split, listed in pairs.items()} == sizes
    for listed in pairs.values():
        assert all(os.path.isfile(path) for pair in listed for path in (pair.image, pair.mask))
        assert not any(pair.problem for pair in listed)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_real_lists_with_crlf_hold_the_same_ids(shared_data: pathlib.Path, name: str) -> None:
    found = shared_data / "voc2007" / "ImageSets_CRLF_as_found" / f"{name}.txt"
    assert b"\r\n" in found.read_bytes()
    assert read_list(f"{found}") == read_list(f"{shared_data}/voc2007/VOCdevkit/VOC2007/{LISTS}/{name}.txt")


def test_real_user_set_has_pictures_that_are_no_jpegs(shared_data: pathlib.Path) -> None:
    pairs = _all(_real(shared_data, "farmland")).values()
    assert {os.path.relpath(pair.image, shared_data) for pair in pairs} == {
        f"farmland/VOCdevkit/VOC2007/JPEGImages/{pair.key}.png" for pair in pairs
    }


def test_real_user_set_has_ids_in_two_lists(shared_data: pathlib.Path) -> None:
    pairs = _real(shared_data, "farmland")
    assert len({pair.key for pair in pairs["train"]} & {pair.key for pair in pairs["validation"]}) == 2


# Links, and what is not looked at.


def test_digest_changes_when_a_link_out_of_the_folder_becomes_the_file_itself(tmp_path: pathlib.Path) -> None:
    """The reader refuses the link and takes the file: their bytes are the same, what is made of them is not."""
    data, described = tmp_path / "data", _describe()
    _touch(data, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b.png")
    outside = tmp_path / "outside.jpg"
    (data / "images/a.jpg").rename(outside)
    (data / "images/a.jpg").symlink_to(outside)
    linked = content_digest(list_pairs(str(data), described), None)
    (data / "images/a.jpg").unlink()
    shutil.copy(outside, data / "images/a.jpg")
    assert content_digest(list_pairs(str(data), described), None) != linked


def test_digest_does_not_read_what_lies_outside(tmp_path: pathlib.Path) -> None:
    data, described = tmp_path / "data", _describe()
    _touch(data, "masks/a.png", "masks/b.png")
    _touch(tmp_path, "elsewhere/a.jpg", "elsewhere/b.jpg")
    (data / "images").symlink_to(tmp_path / "elsewhere")
    before = content_digest(list_pairs(str(data), described), None)
    (tmp_path / "elsewhere/a.jpg").write_bytes(b"other")
    assert content_digest(list_pairs(str(data), described), None) == before


def test_list_that_is_a_link_out_of_the_folder_is_refused_and_not_shown(tmp_path: pathlib.Path) -> None:
    root = tmp_path / "data"
    write_fake_voc(root, split_sizes={"train": 2, "val": 2, "test": 2})
    (tmp_path / "secret.txt").write_text("root:x:0:0:/root\n")
    path = root / "VOCdevkit/VOC2007/ImageSets/Segmentation/train.txt"
    path.unlink()
    path.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match=r"train.txt is a link that leaves the data folder") as caught:
        list_pairs(str(root), VOC)
    assert "root:x" not in str(caught.value)


def test_files_and_links_that_are_not_looked_at_are_told(tmp_path: pathlib.Path) -> None:
    _touch(tmp_path / "data", "images/a.jpg", "images/b.jfif", "images/x.ppm", "images/y.ppm", "masks/a.png", "masks/only.tga")
    _touch(tmp_path / "data", "store/c.jpg")
    (tmp_path / "data/images/batch").symlink_to(tmp_path / "data/store")
    lines = layout.describe_rest(str(tmp_path / "data"), _describe())
    assert [line.replace(str(tmp_path), "") for line in lines] == [
        "/data/images: not taken for pictures: 2 .ppm",
        "/data/images: links to folders, not followed: batch",
        "/data/masks: not taken for pictures: 1 .tga",
    ]


def test_list_that_the_description_names_and_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    write_fake_voc(tmp_path, split_sizes={"train": 2, "val": 2, "test": 2})
    described = dataclasses.replace(VOC, splits=Splits(lists=VOC.splits.lists, test="tets"))
    [line] = layout.describe_lists(str(tmp_path), described)
    assert line.endswith("ImageSets/Segmentation/tets.txt: does not exist")


def test_folders_that_all_splits_share_are_listed_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_fake_voc(tmp_path, split_sizes={"train": 2, "val": 2, "test": 2})
    listed: list[str] = []
    original = layout.files.files_below
    monkeypatch.setattr(layout.files, "files_below", lambda folder: listed.append(folder) or original(folder))
    list_pairs(str(tmp_path), VOC)
    assert sorted(os.path.basename(folder) for folder in listed) == ["JPEGImages", "SegmentationClass"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_list_or_folder_that_cannot_be_read_for_a_while_is_no_fault_of_the_data(
    tiny: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(tiny))

    for where, name in ((files, "read_bytes"), (os, "scandir"), (os, "stat")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, fail)
            with pytest.raises(OSError, match=os.strerror(number)):
                list_pairs(str(tiny), VOC)
