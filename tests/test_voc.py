"""The VOC layout: finding it, its lists, its archives and the digest of its content."""

import io
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap

import pytest
from etils import epath

from components.datasets import voc
from components.datasets.fake_voc import write_fake_voc
from components.datasets.voc2007 import Voc2007Semantic
from components.errors import DataError

ROOT = pathlib.Path(voc.__file__).parents[2]
LISTS = "ImageSets/Segmentation"
INSIDE = "VOCdevkit/VOC2007"


@pytest.fixture
def tiny(tmp_path: pathlib.Path) -> epath.Path:
    """A VOC folder of four pairs whose files are not pictures: nothing here decodes them."""
    return _write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"train": ["a", "b"], "val": ["c"], "test": ["d"]})


def _write_voc(root: pathlib.Path, lists: dict[str, list[str]]) -> epath.Path:
    for part in ("JPEGImages", "SegmentationClass", LISTS):
        (root / part).mkdir(parents=True)
    for split, keys in lists.items():
        (root / LISTS / f"{split}.txt").write_text("".join(f"{key}\n" for key in keys))
        for key in keys:
            (root / "JPEGImages" / f"{key}.jpg").write_bytes(f"image {key}".encode())
            (root / "SegmentationClass" / f"{key}.png").write_bytes(f"mask {key}".encode())
    return epath.Path(root)


def _files(folder: os.PathLike | str) -> set[str]:
    """Returns every file and link below a folder, relative to it."""
    root = pathlib.Path(folder)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}


# Finding the folder.


@pytest.mark.parametrize("levels_up", [0, 1, 2], ids=["VOC2007 itself", "VOCdevkit", "its parent"])
def test_voc_is_found_from_three_levels(tiny: epath.Path, levels_up: int) -> None:
    given = [tiny, tiny.parent, tiny.parent.parent][levels_up]
    assert voc.find_voc(given, 2007) == tiny
    assert voc.find_voc(os.fspath(given), 2007) == tiny


def test_missing_folder_is_named_with_the_remedy(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist. Give --data a folder that holds VOCdevkit/VOC2007"):
        voc.find_voc(tmp_path / "nowhere", 2007)


def test_empty_folder_says_what_was_expected_and_that_it_holds_nothing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"expected VOCdevkit/VOC2007/ImageSets/Segmentation .*tar files.* It holds: nothing\."):
        voc.find_voc(tmp_path, 2007)


def test_folder_of_something_else_says_what_it_holds(tmp_path: pathlib.Path) -> None:
    for name in ("photos", "notes.txt"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"It holds: notes.txt, photos\."):
        voc.find_voc(tmp_path, 2007)


def test_set_of_another_year_is_not_taken(tiny: epath.Path) -> None:
    with pytest.raises(DataError, match="expected VOCdevkit/VOC2012"):
        voc.find_voc(tiny.parent.parent, 2012)


def test_file_given_as_data_folder_is_an_error_that_can_be_mended(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "VOCtrainval_06-Nov-2007.tar"
    archive.write_bytes(b"")
    with pytest.raises(DataError, match=r"VOCtrainval_06-Nov-2007.tar"):
        voc.find_voc(archive, 2007)


@pytest.mark.parametrize("part", ["JPEGImages", "SegmentationClass"])
def test_missing_part_is_named(tiny: epath.Path, part: str) -> None:
    shutil.rmtree(tiny / part)
    with pytest.raises(DataError, match=rf"has lists in ImageSets/Segmentation, but no {part}\."):
        voc.find_voc(tiny, 2007)


def test_both_missing_parts_are_named(tiny: epath.Path) -> None:
    shutil.rmtree(tiny / "JPEGImages")
    shutil.rmtree(tiny / "SegmentationClass")
    with pytest.raises(DataError, match=r"no JPEGImages and no SegmentationClass\."):
        voc.find_voc(tiny, 2007)


# Lists.


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
    ],
)
def test_list_written_by_any_editor_gives_the_same_ids(tmp_path: pathlib.Path, raw: bytes) -> None:
    (tmp_path / "train.txt").write_bytes(raw)
    assert voc.read_list(epath.Path(tmp_path / "train.txt")) == ["a", "b"]


def test_list_keeps_its_order(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.txt").write_text("c\na\nb\n")
    assert voc.read_list(epath.Path(tmp_path / "train.txt")) == ["c", "a", "b"]


def test_list_may_hold_ids_outside_ascii_and_with_inner_blanks_and_dots(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.txt").write_text("käse 1\n2007.03\n", encoding="utf-8")
    assert voc.read_list(epath.Path(tmp_path / "train.txt")) == ["käse 1", "2007.03"]


def test_list_without_ids_is_empty(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf\r\n  \r\n")
    assert voc.read_list(epath.Path(tmp_path / "train.txt")) == []


@pytest.mark.parametrize(
    "key", ["../../x", "/etc/passwd", "..\\x", "\\\\host\\x", "..", ".", ".hidden", "sub/x", "gs://bucket/x"]
)
def test_id_that_would_leave_the_folder_is_refused_by_name(tmp_path: pathlib.Path, key: str) -> None:
    path = epath.Path(tmp_path / "train.txt")
    path.write_text(f"a\n{key}\n")
    with pytest.raises(DataError) as error:
        voc.read_list(path)
    assert f"{path} lists {key!r}; expected the id of an image" in str(error.value)


@pytest.mark.parametrize("raw", [b"a\0b\n", "a\n".encode("utf-16-le")], ids=["NUL", "UTF-16 without a mark"])
def test_id_with_a_character_that_no_file_name_has_is_refused(tmp_path: pathlib.Path, raw: bytes) -> None:
    (tmp_path / "train.txt").write_bytes(raw)
    with pytest.raises(DataError, match=r"train.txt"):
        voc.read_list(epath.Path(tmp_path / "train.txt"))


def test_id_that_stands_twice_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.txt").write_text("a\nb\nc\nb \r\na\n")
    with pytest.raises(DataError, match=r"train.txt lists 'b' twice. Remove one of the lines\."):
        voc.read_list(epath.Path(tmp_path / "train.txt"))


@pytest.mark.parametrize("raw", ["a\n".encode("utf-16"), b"k\xe4se\n", b"\x89PNG\r\n"], ids=["UTF-16", "Latin-1", "a picture"])
def test_list_that_is_not_utf8_is_named(tmp_path: pathlib.Path, raw: bytes) -> None:
    (tmp_path / "val.txt").write_bytes(raw)
    with pytest.raises(DataError, match=r"val.txt is not a text file in UTF-8"):
        voc.read_list(epath.Path(tmp_path / "val.txt"))


def test_pairs_of_each_split_have_key_image_and_mask(tiny: epath.Path) -> None:
    pairs = voc.pairs_by_split(tiny)
    assert {split: [pair.key for pair in listed] for split, listed in pairs.items()} == {
        "train": ["a", "b"],
        "validation": ["c"],
        "test": ["d"],
    }
    assert pairs["train"][1] == voc.Pair(
        "b", os.fspath(tiny / "JPEGImages" / "b.jpg"), os.fspath(tiny / "SegmentationClass" / "b.png")
    )


def test_pairs_are_listed_whether_their_files_exist_or_not(tiny: epath.Path) -> None:
    (tiny / "JPEGImages" / "a.jpg").unlink()
    (tiny / "SegmentationClass" / "b.png").unlink()
    assert [pair.key for pair in voc.pairs_by_split(tiny)["train"]] == ["a", "b"]


@pytest.mark.parametrize("present", [True, False], ids=["empty", "missing"])
def test_test_list_may_be_empty_or_missing(tiny: epath.Path, present: bool) -> None:
    (tiny / LISTS / "test.txt").unlink()
    if present:
        (tiny / LISTS / "test.txt").write_bytes(b"\r\n")
    pairs = voc.pairs_by_split(tiny)
    assert pairs["test"] == []
    assert len(pairs["train"]) == 2


@pytest.mark.parametrize("name", ["train", "val"])
def test_empty_list_that_is_needed_is_named(tiny: epath.Path, name: str) -> None:
    (tiny / LISTS / f"{name}.txt").write_text("\n")
    with pytest.raises(DataError, match=rf"{name}.txt is empty; expected an image id a line\."):
        voc.pairs_by_split(tiny)


@pytest.mark.parametrize("name", ["train", "val"])
def test_missing_list_that_is_needed_is_named(tiny: epath.Path, name: str) -> None:
    (tiny / LISTS / f"{name}.txt").unlink()
    with pytest.raises(DataError, match=rf"{name}.txt does not exist; expected an image id a line\."):
        voc.pairs_by_split(tiny)


def test_same_id_in_two_splits_is_a_pair_of_each(tiny: epath.Path) -> None:
    (tiny / LISTS / "val.txt").write_text("c\na\n")
    pairs = voc.pairs_by_split(tiny)
    assert pairs["validation"][1] == pairs["train"][0]


# Archives.

ARCHIVES = ("trainval.tar", "test.tar")
TRAINVAL_MEMBERS = {
    f"{INSIDE}/{LISTS}/train.txt": b"a\r\nb\r\n",
    f"{INSIDE}/{LISTS}/val.txt": b"c\n",
    f"{INSIDE}/{LISTS}/trainval.txt": b"a\nb\nc\n",
    f"{INSIDE}/ImageSets/Main/cat_train.txt": b"a -1\n",
    f"{INSIDE}/Annotations/a.xml": b"<xml/>",
    f"{INSIDE}/JPEGImages/unlisted.jpg": b"image unlisted",
    f"{INSIDE}/SegmentationObject/a.png": b"objects a",
} | {
    name: data
    for key in "abc"
    for name, data in (
        (f"{INSIDE}/JPEGImages/{key}.jpg", f"image {key}".encode()),
        (f"{INSIDE}/SegmentationClass/{key}.png", f"mask {key}".encode()),
    )
}
TEST_MEMBERS = {
    f"{INSIDE}/JPEGImages/d.jpg": b"image d",
    f"{INSIDE}/SegmentationClass/d.png": b"mask d",
    f"{INSIDE}/{LISTS}/test.txt": b"d\n",  # After its pictures: a tar may have any order.
}
EXTRACTED = {f"{INSIDE}/{LISTS}/{name}.txt" for name in ("train", "val", "test")} | {
    f"{INSIDE}/{folder}/{key}.{ending}"
    for key in "abcd"
    for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png"))
}


def _write_tar(path: pathlib.Path, members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> epath.Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return epath.Path(path)


@pytest.fixture
def archives(tmp_path: pathlib.Path) -> list[epath.Path]:
    """Two archives as the official ones are: trainval and test."""
    folder = tmp_path / "archives"
    folder.mkdir()
    return [_write_tar(folder / ARCHIVES[0], TRAINVAL_MEMBERS), _write_tar(folder / ARCHIVES[1], TEST_MEMBERS)]


def test_archives_are_found_in_the_given_order(archives: list[epath.Path]) -> None:
    assert voc.find_archives(archives[0].parent, ARCHIVES) == archives


def test_folder_without_archives_has_none(tmp_path: pathlib.Path) -> None:
    assert voc.find_archives(tmp_path, ARCHIVES) == []
    assert voc.find_archives(tmp_path / "nowhere", ARCHIVES) == []


@pytest.mark.parametrize("missing", [0, 1])
def test_one_archive_without_the_other_names_the_missing_one(archives: list[epath.Path], missing: int) -> None:
    archives[missing].unlink()
    with pytest.raises(DataError, match=rf"but not {ARCHIVES[missing]}\. Put "):
        voc.find_archives(archives[0].parent, ARCHIVES)


def test_only_listed_members_are_extracted(archives: list[epath.Path], tmp_path: pathlib.Path) -> None:
    root = voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert root == epath.Path(tmp_path / "out" / "set" / INSIDE)
    assert _files(tmp_path / "out") == {f"set/{name}" for name in EXTRACTED}
    assert (root / "SegmentationClass" / "b.png").read_bytes() == b"mask b"
    assert (root / LISTS / "train.txt").read_bytes() == b"a\r\nb\r\n"


def test_extracted_set_has_the_content_of_the_folder_it_was_made_from(
    archives: list[epath.Path], tiny: epath.Path, tmp_path: pathlib.Path
) -> None:
    root = voc.extract_listed(archives, 2007, tmp_path / "set")
    assert voc.content_digest(root) == voc.content_digest(tiny)


def test_second_extraction_reads_nothing(archives: list[epath.Path], tmp_path: pathlib.Path) -> None:
    first = voc.extract_listed(archives, 2007, tmp_path / "set")
    for archive in archives:
        archive.unlink()
    assert voc.extract_listed(archives, 2007, tmp_path / "set") == first
    assert _files(tmp_path / "set") == EXTRACTED


def test_listed_member_that_the_archive_lacks_is_left_to_the_pairs_check(tmp_path: pathlib.Path) -> None:
    members = {name: data for name, data in TRAINVAL_MEMBERS.items() if not name.endswith("SegmentationClass/b.png")}
    root = voc.extract_listed([_write_tar(tmp_path / "a.tar", members)], 2007, tmp_path / "set")
    assert not (root / "SegmentationClass" / "b.png").exists()
    assert [pair.key for pair in voc.pairs_by_split(root)["train"]] == ["a", "b"]


class _StopError(Exception):
    pass


@pytest.mark.parametrize("copies", [0, 1, 3, 10])
def test_exception_midway_leaves_nothing(
    archives: list[epath.Path], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    copy = shutil.copyfileobj
    done: list[object] = []

    def stop_after(source: io.BytesIO, target: io.BytesIO, length: int) -> None:
        if len(done) == copies:
            target.write(b"half a fi")
            raise _StopError
        done.append(target)
        copy(source, target, length)

    monkeypatch.setattr(shutil, "copyfileobj", stop_after)
    with pytest.raises(_StopError):
        voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert _files(tmp_path / "out") == set()
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert _files(tmp_path / "out" / "set") == EXTRACTED


def test_kill_midway_leaves_nothing_that_a_later_call_takes_for_whole(
    archives: list[epath.Path], tmp_path: pathlib.Path
) -> None:
    code = f"""
        import os, shutil, signal
        from etils import epath
        from components.datasets import voc
        copy, done = shutil.copyfileobj, []
        def kill_at_the_fourth(source, target, length):
            if len(done) == 3:
                target.write(b"half a fi")
                target.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
            copy(source, target, length)
        shutil.copyfileobj = kill_at_the_fourth
        archives = [epath.Path(path) for path in {[os.fspath(archive) for archive in archives]}]
        voc.extract_listed(archives, 2007, {os.fspath(tmp_path / "out" / "set")!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert _files(tmp_path / "out") != set()  # It was killed in the middle indeed.
    assert not (tmp_path / "out" / "set").exists()
    voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert _files(tmp_path / "out" / "set") == EXTRACTED


def test_somebody_else_who_finishes_first_is_not_overwritten(
    archives: list[epath.Path], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = voc._extract_archive

    def extract_while_another_finishes(archive: epath.Path, root: str, destination: epath.Path) -> None:
        extract(archive, root, destination)
        (tmp_path / "out" / "set" / "theirs").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(voc, "_extract_archive", extract_while_another_finishes)
    voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set"]
    assert [path.name for path in (tmp_path / "out" / "set").iterdir()] == ["theirs"]


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _regular(name: str, size: int = 3) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def test_hostile_members_never_write_outside(tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"safe")
    members = {name: data for name, data in TRAINVAL_MEMBERS.items() if "/a." not in name}
    archive = _write_tar(
        tmp_path / "evil.tar",
        members,
        extra=(
            _regular(str(outside / "absolute")),
            _regular("../outside/dotted"),
            _regular(f"{INSIDE}/JPEGImages/../../../../outside/dotted2"),
            _link(f"{INSIDE}/JPEGImages/a.jpg", str(victim)),
            _link(f"{INSIDE}/SegmentationClass/a.png", str(victim), tarfile.LNKTYPE),
            _link(f"{INSIDE}/SegmentationClass", str(outside)),
        ),
    )
    root = voc.extract_listed([archive], 2007, tmp_path / "out" / "set")
    assert _files(outside) == {"victim"}
    assert victim.read_bytes() == b"safe"
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert {path.name for path in (root / "JPEGImages").iterdir()} == {"b.jpg", "c.jpg"}


@pytest.mark.parametrize("key", ["../../../../x", "/etc/x"])
def test_hostile_list_in_an_archive_is_refused_and_leaves_nothing(tmp_path: pathlib.Path, key: str) -> None:
    members = TRAINVAL_MEMBERS | {f"{INSIDE}/{LISTS}/val.txt": f"{key}\n".encode(), f"{INSIDE}/JPEGImages/{key}.jpg": b"evil"}
    with pytest.raises(DataError, match="expected the id of an image"):
        voc.extract_listed([_write_tar(tmp_path / "evil.tar", members)], 2007, tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []


def _place(archive: epath.Path, name: str) -> tarfile.TarInfo:
    with tarfile.open(archive) as tar:
        return tar.getmember(f"{INSIDE}/{name}")


@pytest.mark.parametrize("name", ["JPEGImages/a.jpg", "SegmentationClass/c.png"], ids=["in the middle", "in the last member"])
def test_archive_cut_within_a_member_is_named_and_leaves_nothing(
    archives: list[epath.Path], tmp_path: pathlib.Path, name: str
) -> None:
    archives[0].write_bytes(archives[0].read_bytes()[: _place(archives[0], name).offset_data + 3])
    with pytest.raises(DataError, match=r"trainval.tar cannot be read as a tar archive: .*\. Download it again\."):
        voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("into_header", [0, 100], ids=["between two members", "within a header"])
@pytest.mark.parametrize("name", ["JPEGImages/b.jpg", "SegmentationClass/c.png"])
def test_archive_cut_where_tarfile_does_not_notice_is_not_taken_for_whole(
    archives: list[epath.Path], tmp_path: pathlib.Path, name: str, into_header: int
) -> None:
    # tarfile takes the end of the file, or half a header, for the end of the archive, but a whole one ends with zeros.
    archives[0].write_bytes(archives[0].read_bytes()[: _place(archives[0], name).offset + into_header])
    with pytest.raises(DataError, match=r"trainval.tar .*Download it again\."):
        voc.extract_listed(archives, 2007, tmp_path / "out" / "set")


def test_archive_with_a_damaged_header_is_not_taken_for_whole(archives: list[epath.Path], tmp_path: pathlib.Path) -> None:
    data = bytearray(archives[0].read_bytes())
    data[_place(archives[0], "JPEGImages/b.jpg").offset] ^= 1  # One bit of its name: the header's checksum is wrong.
    archives[0].write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"trainval.tar .*Download it again\."):
        voc.extract_listed(archives, 2007, tmp_path / "out" / "set")


@pytest.mark.parametrize(
    "content", [b"", b"<html>404 Not Found</html>", b"\x89PNG\r\n" * 300], ids=["empty", "web page", "picture"]
)
def test_archive_that_is_no_tar_is_named(archives: list[epath.Path], tmp_path: pathlib.Path, content: bytes) -> None:
    archives[1].write_bytes(content)
    with pytest.raises(DataError, match=r"(?s)test.tar cannot be read as a tar archive: .*\. Download it again\."):
        voc.extract_listed(archives, 2007, tmp_path / "out" / "set")
    assert list((tmp_path / "out").iterdir()) == []


def test_archives_without_any_list_are_named(tmp_path: pathlib.Path) -> None:
    archive = _write_tar(tmp_path / "other.tar", {"VOCdevkit/VOC2012/x.txt": b"x", "readme": b"x"})
    with pytest.raises(DataError, match=r"other.tar: no member VOCdevkit/VOC2007/ImageSets/Segmentation"):
        voc.extract_listed([archive], 2007, tmp_path / "out" / "set")
    assert not (tmp_path / "out" / "set").exists()


def test_second_archive_without_its_list_does_not_pass_for_a_set_without_test(
    archives: list[epath.Path], tmp_path: pathlib.Path
) -> None:
    # A test archive cut at a member's end is a valid tar; were it taken, the test split would vanish without a word.
    _write_tar(pathlib.Path(archives[1]), {name: data for name, data in TEST_MEMBERS.items() if not name.endswith(".txt")})
    with pytest.raises(DataError, match=r"test.tar"):
        voc.extract_listed(archives, 2007, tmp_path / "set")


# Digests.


def test_digest_is_the_same_wherever_the_set_lies(tiny: epath.Path, tmp_path: pathlib.Path) -> None:
    shutil.copytree(tiny, tmp_path / "copy")
    assert voc.content_digest(epath.Path(tmp_path / "copy")) == voc.content_digest(tiny)


def test_digest_changes_with_one_byte_of_one_mask(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    mask = tiny / "SegmentationClass" / "c.png"
    data = mask.read_bytes()
    mask.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert voc.content_digest(tiny) != before
    mask.write_bytes(data)
    assert voc.content_digest(tiny) == before


@pytest.mark.parametrize(
    ("split", "text"),
    [("train", "a\n"), ("train", "b\na\n"), ("train", "a\nb\nx\n"), ("test", ""), ("val", "c\nd\n")],
    ids=["one fewer", "other order", "a file that is not there", "empty", "one more"],
)
def test_digest_changes_with_a_lists_edit(tiny: epath.Path, split: str, text: str) -> None:
    before = voc.content_digest(tiny)
    (tiny / LISTS / f"{split}.txt").write_text(text)
    assert voc.content_digest(tiny) != before


def test_digest_changes_when_a_pair_moves_to_another_split(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    (tiny / LISTS / "train.txt").write_text("a\n")
    (tiny / LISTS / "val.txt").write_text("b\nc\n")
    assert voc.content_digest(tiny) != before


def test_digest_changes_when_two_masks_are_swapped(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    a, b = tiny / "SegmentationClass" / "a.png", tiny / "SegmentationClass" / "b.png"
    data_a, data_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(data_b)
    b.write_bytes(data_a)
    assert voc.content_digest(tiny) != before


def test_digest_changes_when_a_listed_file_vanishes(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    (tiny / "JPEGImages" / "d.jpg").unlink()
    assert voc.content_digest(tiny) != before


def test_digest_does_not_change_with_a_time_stamp(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    for path in pathlib.Path(tiny).rglob("*"):
        os.utime(path, (1, 1))
    assert voc.content_digest(tiny) == before


def test_digest_does_not_change_with_an_unlisted_file(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    (tiny / "JPEGImages" / "unlisted.jpg").write_bytes(b"x")
    (tiny / LISTS / "trainval.txt").write_text("a\nb\nc\n")
    assert voc.content_digest(tiny) == before


def test_digest_does_not_change_with_the_line_endings_of_a_list(tiny: epath.Path) -> None:
    before = voc.content_digest(tiny)
    (tiny / LISTS / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\nb")
    assert voc.content_digest(tiny) == before


def test_digest_of_a_file_is_its_sha256(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")  # FIPS 180-2, example B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert voc.file_digest(epath.Path(tmp_path / "x")) == expected


# Real data.


def test_real_lists_have_209_213_210_pairs_whose_files_exist(shared_data: pathlib.Path) -> None:
    pairs = voc.pairs_by_split(voc.find_voc(shared_data / "voc2007", 2007))
    assert {split: len(listed) for split, listed in pairs.items()} == {"train": 209, "validation": 213, "test": 210}
    assert all(os.path.exists(path) for listed in pairs.values() for pair in listed for path in (pair.image, pair.mask))


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_real_lists_with_crlf_hold_the_same_ids(shared_data: pathlib.Path, name: str) -> None:
    found = sorted((shared_data / "voc2007" / "ImageSets_CRLF_as_found").rglob(f"{name}.txt"))
    assert len(found) == 1
    assert b"\r\n" in found[0].read_bytes()
    root = voc.find_voc(shared_data / "voc2007", 2007)
    assert voc.read_list(epath.Path(found[0])) == voc.read_list(root / LISTS / f"{name}.txt")


def test_real_user_set_with_an_empty_test_list_is_found(shared_data: pathlib.Path) -> None:
    pairs = voc.pairs_by_split(voc.find_voc(shared_data / "coalrock", 2007))
    assert {split: len(listed) for split, listed in pairs.items()} == {"train": 31, "validation": 4, "test": 0}


def test_real_user_set_with_ids_in_two_lists_is_found(shared_data: pathlib.Path) -> None:
    pairs = voc.pairs_by_split(voc.find_voc(shared_data / "farmland", 2007))
    assert {split: len(listed) for split, listed in pairs.items()} == {"train": 8, "validation": 4, "test": 0}
    assert len({p.key for p in pairs["train"]} & {p.key for p in pairs["validation"]}) == 2


def test_extracted_folder_wins_over_archives_beside_it(tmp_path: pathlib.Path) -> None:
    write_fake_voc(tmp_path, split_sizes={"train": 2, "val": 2, "test": 2})
    assert voc.holds_voc(tmp_path, 2007)
    (tmp_path / "VOCtrainval_06-Nov-2007.tar").write_bytes(b"not even an archive")
    source = Voc2007Semantic(source=tmp_path, data_dir=tmp_path / "tfds")
    assert source.source_digest() == voc.content_digest(voc.find_voc(tmp_path, 2007))


def test_archives_win_over_a_folder_that_is_not_whole(tmp_path: pathlib.Path) -> None:
    folder = write_fake_voc(tmp_path, split_sizes={"train": 2, "val": 2, "test": 2})
    (folder / "ImageSets" / "Segmentation" / "test.txt").unlink()
    assert not voc.holds_voc(tmp_path, 2007)


def test_digest_takes_a_mask_that_is_a_folder_for_unreadable(tmp_path: pathlib.Path) -> None:
    folder = write_fake_voc(tmp_path, split_sizes={"train": 2, "val": 2, "test": 2})
    mask = folder / "SegmentationClass" / "2007_000000.png"
    before = voc.content_digest(epath.Path(folder))
    mask.unlink()
    missing = voc.content_digest(epath.Path(folder))
    mask.mkdir()
    assert len({before, missing, voc.content_digest(epath.Path(folder))}) == 3
