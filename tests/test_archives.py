"""The official archives: found, checked whole, and extracted atomically; hostile ones are refused."""

import errno
import io
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import textwrap

import pytest
from etils import epath

from components.datasets import archives
from components.datasets.archives import extract_listed, find_archives
from components.datasets.layout import list_pairs
from components.datasets.voc2007.builder import SPEC
from components.errors import DataError

ROOT = pathlib.Path(archives.__file__).parents[2]
LISTS = "ImageSets/Segmentation"
INSIDE = "VOCdevkit/VOC2007"
NAMES = ("trainval.tar", "test.tar")

TRAINVAL = {
    f"{INSIDE}/{LISTS}/train.txt": b"a\r\nb\r\n",
    f"{INSIDE}/{LISTS}/val.txt": b"c\n",
    f"{INSIDE}/{LISTS}/trainval.txt": b"a\nb\nc\n",
    f"{INSIDE}/ImageSets/Main/cat_train.txt": b"a -1\n",
    f"{INSIDE}/Annotations/a.xml": b"<xml/>",
    f"{INSIDE}/JPEGImages/unlisted.jpg": b"image unlisted",
    f"{INSIDE}/JPEGImages/a.sh": b"no picture",
    f"{INSIDE}/SegmentationObject/a.png": b"objects a",
    "JPEGImages/a.jpg": b"not below the root",
} | {
    name: data
    for key in "abc"
    for name, data in (
        (f"{INSIDE}/JPEGImages/{key}.jpg", f"image {key}".encode()),
        (f"{INSIDE}/SegmentationClass/{key}.png", f"mask {key}".encode()),
    )
}
TEST = {
    f"{INSIDE}/JPEGImages/d.jpg": b"image d",
    f"{INSIDE}/SegmentationClass/d.png": b"mask d",
    f"{INSIDE}/{LISTS}/test.txt": b"d\n",  # After its pictures: a tar may have any order.
}
EXTRACTED = {f"{INSIDE}/{LISTS}/{name}.txt" for name in ("train", "val", "test")} | {
    f"{INSIDE}/{folder}/{key}.{ending}"
    for key in "abcd"
    for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png"))
}


def _write_tar(path: pathlib.Path, members: dict[str, bytes], *extra: tarfile.TarInfo) -> epath.Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return epath.Path(path)


def _files(folder: pathlib.Path) -> set[str]:
    """Returns every file and link below a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


@pytest.fixture
def tars(tmp_path: pathlib.Path) -> list[epath.Path]:
    """Two archives as the official ones are: trainval and test."""
    folder = tmp_path / "archives"
    folder.mkdir()
    return [_write_tar(folder / NAMES[0], TRAINVAL), _write_tar(folder / NAMES[1], TEST)]


@pytest.fixture
def out(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where the tests extract: a folder that is empty, and theirs alone."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def _place(archive: epath.Path, name: str) -> tarfile.TarInfo:
    with tarfile.open(archive) as tar:
        return tar.getmember(f"{INSIDE}/{name}")


# Finding.


def test_archives_are_found_in_the_given_order(tars: list[epath.Path]) -> None:
    assert find_archives(tars[0].parent, NAMES) == tars
    assert find_archives(os.fspath(tars[0].parent), NAMES[::-1]) == tars[::-1]


def test_folder_without_archives_has_none(tmp_path: pathlib.Path) -> None:
    assert find_archives(tmp_path, NAMES) == []
    assert find_archives(tmp_path / "nowhere", NAMES) == []


@pytest.mark.parametrize("missing", [0, 1])
def test_one_archive_without_the_other_names_the_missing_one(tars: list[epath.Path], missing: int) -> None:
    tars[missing].unlink()
    with pytest.raises(DataError, match=rf"but not {NAMES[missing]}\. Put "):
        find_archives(tars[0].parent, NAMES)


# What is extracted.


def test_only_listed_members_are_extracted(tars: list[epath.Path], out: pathlib.Path) -> None:
    assert extract_listed(tars, SPEC, out / "deep" / "set") == epath.Path(out / "deep" / "set")
    assert _files(out) == {f"deep/set/{name}" for name in EXTRACTED}
    assert (out / "deep" / "set" / INSIDE / "SegmentationClass" / "b.png").read_bytes() == b"mask b"
    assert (out / "deep" / "set" / INSIDE / LISTS / "train.txt").read_bytes() == b"a\r\nb\r\n"


def test_extracted_set_has_the_pairs_of_the_lists(tars: list[epath.Path], out: pathlib.Path) -> None:
    pairs = list_pairs(os.fspath(extract_listed(tars, SPEC, out / "set")), SPEC)
    assert {split: [pair.key for pair in found] for split, found in pairs.items()} == {
        "train": ["a", "b"],
        "validation": ["c"],
        "test": ["d"],
    }
    assert all(os.path.exists(path) for found in pairs.values() for pair in found for path in (pair.image, pair.mask))


def test_members_named_from_a_dot_and_with_folders_of_their_own_are_the_same(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    # As `tar cf x.tar .` writes them.
    folder = tarfile.TarInfo(f"./{INSIDE}/JPEGImages")
    folder.type = tarfile.DIRTYPE
    members = {f"./{name}": data for name, data in (TRAINVAL | TEST).items()}
    extract_listed([_write_tar(tmp_path / "all.tar", members, folder)], SPEC, out / "set")
    assert _files(out / "set") == EXTRACTED


def test_pictures_in_another_format_and_in_folders_are_extracted(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    members = {
        f"{INSIDE}/{LISTS}/train.txt": b"2007/a\nb\n",
        f"{INSIDE}/JPEGImages/2007/a.PNG": b"1",
        f"{INSIDE}/SegmentationClass/2007/a.png": b"2",
        f"{INSIDE}/JPEGImages/b.jpeg": b"3",
        f"{INSIDE}/JPEGImages/2007/b.jpg": b"not listed",
    }
    extract_listed([_write_tar(tmp_path / "all.tar", members)], SPEC, out / "set")
    assert _files(out / "set" / INSIDE) == {
        f"{LISTS}/train.txt",
        "JPEGImages/2007/a.PNG",
        "SegmentationClass/2007/a.png",
        "JPEGImages/b.jpeg",
    }


def test_second_extraction_reads_nothing(tars: list[epath.Path], out: pathlib.Path) -> None:
    first = extract_listed(tars, SPEC, out / "set")
    for archive in tars:
        archive.unlink()
    assert extract_listed(tars, SPEC, out / "set") == first
    assert _files(out / "set") == EXTRACTED


def test_listed_member_that_the_archive_lacks_is_left_to_the_pairs_check(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    members = {name: data for name, data in TRAINVAL.items() if not name.endswith("SegmentationClass/b.png")}
    root = extract_listed([_write_tar(tmp_path / "a.tar", members)], SPEC, out / "set")
    assert not (root / INSIDE / "SegmentationClass" / "b.png").exists()
    assert [pair.key for pair in list_pairs(os.fspath(root), SPEC)["train"]] == ["a", "b"]


# Breaking off.


class _StopError(Exception):
    pass


@pytest.mark.parametrize("copies", [0, 1, 3, 10])
def test_exception_midway_leaves_nothing(
    tars: list[epath.Path], out: pathlib.Path, monkeypatch: pytest.MonkeyPatch, copies: int
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
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []
    monkeypatch.undo()
    extract_listed(tars, SPEC, out / "set")
    assert _files(out / "set") == EXTRACTED


def test_kill_midway_leaves_nothing_that_a_later_call_takes_for_whole(tars: list[epath.Path], out: pathlib.Path) -> None:
    code = f"""
        import os, shutil, signal
        from etils import epath
        from components.datasets import archives
        from components.datasets.spec import DatasetSpec, Layout, Splits
        copy, done = shutil.copyfileobj, []
        def kill_at_the_fourth(source, target, length):
            if len(done) == 3:
                target.write(b"half a fi")
                target.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
            copy(source, target, length)
        shutil.copyfileobj = kill_at_the_fourth
        layout = Layout(root={INSIDE!r}, images="JPEGImages", masks="SegmentationClass")
        spec = DatasetSpec(name="x", classes=("a", "b"), layout=layout, splits=Splits(lists="{LISTS}/{{split}}.txt"))
        tars = [epath.Path(path) for path in {[os.fspath(archive) for archive in tars]}]
        archives.extract_listed(tars, spec, {os.fspath(out / "set")!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert _files(out) != set()  # It was killed in the middle indeed.
    assert not (out / "set").exists()
    extract_listed(tars, SPEC, out / "set")
    assert _files(out / "set") == EXTRACTED


def test_somebody_else_who_finishes_first_is_not_overwritten(
    tars: list[epath.Path], out: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = archives._extract_archive

    def extract_while_another_finishes(*args: object) -> None:
        extract(*args)
        (out / "set" / "theirs").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(archives, "_extract_archive", extract_while_another_finishes)
    extract_listed(tars, SPEC, out / "set")
    assert [path.name for path in out.iterdir()] == ["set"]
    assert [path.name for path in (out / "set").iterdir()] == ["theirs"]


# Damage.


@pytest.mark.parametrize("name", ["JPEGImages/a.jpg", "SegmentationClass/c.png"], ids=["in the middle", "in the last member"])
def test_archive_cut_within_a_member_is_named_and_leaves_nothing(tars: list[epath.Path], out: pathlib.Path, name: str) -> None:
    tars[0].write_bytes(tars[0].read_bytes()[: _place(tars[0], name).offset_data + 3])
    with pytest.raises(DataError, match=r"trainval.tar cannot be read as a tar archive: .*\. Download it again\."):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("into_header", [0, 100], ids=["between two members", "within a header"])
@pytest.mark.parametrize("name", ["JPEGImages/b.jpg", "SegmentationClass/c.png"])
def test_archive_cut_where_tarfile_does_not_notice_is_not_taken_for_whole(
    tars: list[epath.Path], out: pathlib.Path, name: str, into_header: int
) -> None:
    # tarfile takes the end of the file, or half a header, for the end of the archive, but a whole one ends with zeros.
    tars[0].write_bytes(tars[0].read_bytes()[: _place(tars[0], name).offset + into_header])
    with pytest.raises(DataError, match=r"trainval.tar .*Download it again\."):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", [f"{LISTS}/train.txt", "JPEGImages/b.jpg"], ids=["the first", "in the middle"])
def test_archive_with_a_damaged_header_is_not_taken_for_whole(tars: list[epath.Path], out: pathlib.Path, name: str) -> None:
    data = bytearray(tars[0].read_bytes())
    data[_place(tars[0], name).offset] ^= 1  # One bit of its name: the header's checksum is wrong.
    tars[0].write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"trainval.tar .*Download it again\."):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("blocks", [1, 2, 8])
def test_archive_with_a_zeroed_header_is_not_taken_for_whole(tars: list[epath.Path], out: pathlib.Path, blocks: int) -> None:
    # As a lost sector leaves it: to tarfile the archive ends there, without test's list or half of the pictures.
    data = tars[0].read_bytes()
    start = _place(tars[0], "JPEGImages/a.jpg").offset
    tars[0].write_bytes(data[:start] + bytes(512 * blocks) + data[start + 512 * blocks :])
    assert any(data[start + 512 * blocks :])  # Something is lost indeed.
    with pytest.raises(DataError, match=r"trainval.tar .*Download it again\."):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("zeros", [512, 1024, 20 * 512, 3 << 20])
def test_archive_may_end_with_any_number_of_zeros(tars: list[epath.Path], out: pathlib.Path, zeros: int) -> None:
    last = _place(tars[0], "SegmentationClass/c.png")
    tars[0].write_bytes(tars[0].read_bytes()[: last.offset_data + 512] + bytes(zeros))
    extract_listed(tars, SPEC, out / "set")
    assert _files(out / "set") == EXTRACTED


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404 Not Found</html>", b"\x89PNG\r\n" * 300, b"\x1f\x8b\x08\x00" + bytes(600), bytes(5)],
    ids=["empty", "web page", "picture", "damaged gzip", "a few zeros"],
)
def test_archive_that_is_no_tar_is_named(tars: list[epath.Path], out: pathlib.Path, content: bytes) -> None:
    tars[1].write_bytes(content)
    with pytest.raises(DataError, match=r"(?s)test.tar cannot be read as a tar archive: .*\. Download it again\."):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


def test_compressed_archive_is_not_decompressed(tars: list[epath.Path], out: pathlib.Path) -> None:
    # The official ones are not, and a small file could become an endless one.
    with tarfile.open(tars[1], "w:gz") as tar:
        for name, data in TEST.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(DataError, match="test.tar cannot be read as a tar archive"):
        extract_listed(tars, SPEC, out / "set")


def test_archives_without_any_list_are_named(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    archive = _write_tar(tmp_path / "other.tar", {"VOCdevkit/VOC2012/x.txt": b"x", "readme": b"x"})
    with pytest.raises(DataError, match=r"other.tar: no member VOCdevkit/VOC2007/ImageSets/Segmentation/train.txt"):
        extract_listed([archive], SPEC, out / "set")
    assert list(out.iterdir()) == []


def test_second_archive_without_its_list_does_not_pass_for_a_set_without_test(
    tars: list[epath.Path], out: pathlib.Path
) -> None:
    # A test archive cut at a member's end is a valid tar; were it taken, the test split would vanish without a word.
    _write_tar(pathlib.Path(tars[1]), {name: data for name, data in TEST.items() if not name.endswith(".txt")})
    with pytest.raises(DataError, match=r"test.tar"):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


# Hostile members.


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _regular(name: str, size: int = 3) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _refuse(tmp_path: pathlib.Path, out: pathlib.Path, *extra: tarfile.TarInfo) -> str:
    """Extracts an archive with some members too many; returns the message, after looking that nothing was written."""
    (tmp_path / "victim").write_bytes(b"safe")
    before = _files(tmp_path)
    archive = _write_tar(tmp_path / "evil.tar", TRAINVAL, *extra)
    with pytest.raises(DataError) as error:
        extract_listed([archive], SPEC, out / "set")
    assert _files(tmp_path) - before == {"evil.tar"}
    assert (tmp_path / "victim").read_bytes() == b"safe"
    assert list(out.iterdir()) == []
    assert str(error.value).startswith(f"{archive} holds ")
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/vocseg-test",
        "//etc/vocseg-test",
        "../dotted",
        "..",
        f"{INSIDE}/JPEGImages/../../../../dotted",
        f"{INSIDE}/JPEGImages/..",
        f"./../{INSIDE}/JPEGImages/a.jpg",
        f"/{INSIDE}/JPEGImages/a.jpg",
        f"{INSIDE}/JPEGImages\\..\\a.jpg",
        "C:\\x",
    ],
)
def test_member_that_leaves_the_archive_is_refused(tmp_path: pathlib.Path, out: pathlib.Path, name: str) -> None:
    message = _refuse(tmp_path, out, _regular(name))
    assert f"the member {name!r}, outside of itself: it is refused. Download it again." in message


def test_folder_that_leaves_the_archive_is_refused(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    assert "'../out/set', outside of itself" in _refuse(tmp_path, out, _special("../out/set", tarfile.DIRTYPE))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
@pytest.mark.parametrize(
    "name",
    [f"{INSIDE}/JPEGImages/a.jpg", f"{INSIDE}/SegmentationClass", f"{INSIDE}/{LISTS}/test.txt", "unlisted"],
    ids=["in place of a picture", "in place of a folder", "in place of a list", "unlisted"],
)
@pytest.mark.parametrize("target", ["victim", "JPEGImages/b.jpg"], ids=["out", "in"])
def test_link_is_refused(tmp_path: pathlib.Path, out: pathlib.Path, kind: bytes, name: str, target: str) -> None:
    target = str(tmp_path / target) if target == "victim" else f"{INSIDE}/{target}"
    assert f"{name!r}, a link or a device: it is refused" in _refuse(tmp_path, out, _special(name, kind, target))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=["character", "block", "FIFO"])
def test_device_is_refused(tmp_path: pathlib.Path, out: pathlib.Path, kind: bytes) -> None:
    name = f"{INSIDE}/JPEGImages/b.jpg"
    assert f"{name!r}, a link or a device: it is refused" in _refuse(tmp_path, out, _special(name, kind))


def test_link_that_a_member_is_to_be_written_through_is_refused(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    name = f"{INSIDE}/SegmentationClass/a.png"
    link = _special(f"{INSIDE}/SegmentationClass", tarfile.SYMTYPE, str(tmp_path))
    assert "SegmentationClass', a link" in _refuse(tmp_path, out, link, _regular(name))
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    "name", [f"{LISTS}/train.txt", "JPEGImages/c.jpg", "SegmentationClass/c.png"], ids=["list", "picture", "mask"]
)
def test_listed_member_that_is_too_large_is_refused(
    tmp_path: pathlib.Path, out: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    members = TRAINVAL | {f"{INSIDE}/{name}": b"x\n" + bytes(99)}
    archive = _write_tar(tmp_path / "evil.tar", members)
    with pytest.raises(DataError, match=rf"evil.tar holds '{INSIDE}/{name}' with 101 bytes, more than 100: it is refused"):
        extract_listed([archive], SPEC, out / "set")
    assert list(out.iterdir()) == []


def test_listed_member_of_just_the_limit_is_extracted(
    tars: list[epath.Path], out: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", len(b"image a"))
    extract_listed(tars, SPEC, out / "set")
    assert _files(out / "set") == EXTRACTED


def test_unlisted_member_may_be_large(tmp_path: pathlib.Path, out: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 100)
    archive = _write_tar(tmp_path / "a.tar", TRAINVAL, _regular(f"{INSIDE}/ImageSets/big", size=10_000))
    extract_listed([archive], SPEC, out / "set")
    assert f"{INSIDE}/ImageSets/big" not in _files(out / "set")


def test_sparse_member_counts_by_the_size_that_it_would_have(
    tmp_path: pathlib.Path, out: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GNU's sparse files: 512 bytes here say that they are 1 TiB of zeros. The structure is at 386 of the header, see tar.h.
    info = tarfile.TarInfo(f"{INSIDE}/JPEGImages/a.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" * 2  # One piece: offset and length in octal.
    header[483:495] = struct.pack(">BxxxQ", 0x80, 1 << 40)  # The real size, in base 256.
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    whole = _write_tar(tmp_path / "evil.tar", TRAINVAL).read_bytes()
    (tmp_path / "evil.tar").write_bytes(
        whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512) + bytes(header) + bytes(1024)
    )
    with pytest.raises(DataError, match=f"with {1 << 40} bytes, more than"):
        extract_listed([epath.Path(tmp_path / "evil.tar")], SPEC, out / "set")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("key", ["../../../../x", "/etc/x", "..\\x", ".x"])
def test_hostile_list_in_an_archive_is_refused_and_leaves_nothing(tmp_path: pathlib.Path, out: pathlib.Path, key: str) -> None:
    members = TRAINVAL | {f"{INSIDE}/{LISTS}/val.txt": f"{key}\n".encode()}
    with pytest.raises(DataError, match="expected the id of an image"):
        extract_listed([_write_tar(tmp_path / "evil.tar", members)], SPEC, out / "set")
    assert list(out.iterdir()) == []


def test_member_that_stands_twice_is_the_last_one(tmp_path: pathlib.Path, out: pathlib.Path) -> None:
    # As tar itself has it: what was appended replaces.
    archive = _write_tar(tmp_path / "a.tar", TRAINVAL)
    with tarfile.open(archive, "a") as tar:
        info = tarfile.TarInfo(f"{INSIDE}/JPEGImages/a.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"new"))
    assert (extract_listed([archive], SPEC, out / "set") / INSIDE / "JPEGImages" / "a.jpg").read_bytes() == b"new"


# A disk that is full, or fails.


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_fault_of_the_disk_is_not_told_as_one_of_the_archive(
    tars: list[epath.Path], out: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        extract_listed(tars, SPEC, out / "set")
    assert list(out.iterdir()) == []


def test_right_that_lacks_for_extracting_is_not_told_as_damage(
    tars: list[epath.Path], out: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/out")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(DataError, match="cannot be extracted into .*Permission denied"):
        extract_listed(tars, SPEC, out / "set")
