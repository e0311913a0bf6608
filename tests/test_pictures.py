"""Which pictures a command line names, and where their results go."""

import pathlib
from collections.abc import Iterable

import pytest

from components.errors import VocsegError
from pipeline.pictures import find_pictures


@pytest.fixture(autouse=True)
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to an empty folder."""
    monkeypatch.chdir(tmp_path)


def _touch(*names: str) -> None:
    for name in names:
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _find(*names: str, listed: Iterable[bytes] = (), out: str = "out") -> dict[str, str]:
    return {str(path): str(place) for path, place in find_pictures(names, listed, pathlib.Path(out)).items()}


def test_file_goes_by_its_name_alone_in_the_order_given() -> None:
    _touch("x/b.jpg", "a.of.mine.png", "no_suffix")
    found = _find("x/b.jpg", "a.of.mine.png", "no_suffix")
    assert list(found.items()) == [("x/b.jpg", "b"), ("a.of.mine.png", "a.of.mine"), ("no_suffix", "no_suffix")]


def test_folder_stands_for_its_pictures_at_any_depth_sorted_and_keeps_their_paths() -> None:
    _touch("in/b.JPG", "in/a.jpeg", "in/deep/er/a.png", "in/notes.txt", "in/.hidden.jpg", "in/.cache/a.jpg", "in/x.jpg.partial")
    found = _find("in")
    assert list(found.items()) == [("in/a.jpeg", "a"), ("in/b.JPG", "b"), ("in/deep/er/a.png", "deep/er/a")]


def test_equal_names_in_two_folders_do_not_clash() -> None:
    _touch("one/x/a.jpg", "two/x/a.jpg", "two/x/b.jpg")
    assert _find("one/x", "two/x") == {"one/x/a.jpg": "one/x/a", "two/x/a.jpg": "two/x/a", "two/x/b.jpg": "two/x/b"}


def test_link_to_a_folder_is_not_followed_in_a_circle() -> None:
    _touch("in/a.jpg")
    pathlib.Path("in/again").symlink_to(pathlib.Path("in").absolute())
    assert _find("in") == {"in/a.jpg": "a"}


@pytest.mark.parametrize("name", ["in", "in/**/*.png"])
def test_results_of_an_earlier_run_inside_the_folder_are_no_pictures(name: str) -> None:
    _touch("in/a.png", "in/out/a.png", "in/out/a_overlay.jpeg", "in/outer/a.png")
    assert _find(name, out="in/out") == {"in/a.png": "a", "in/outer/a.png": "outer/a"}


@pytest.mark.parametrize("out", [".", "in", "/"])
def test_folder_inside_the_output_folder_is_read(out: str) -> None:
    _touch("in/a.png")
    assert _find("in", out=out) == {"in/a.png": "a"}


def test_pattern_keeps_what_is_below_its_part_without_wildcards() -> None:
    _touch("in/1/a.jpg", "in/2/a.jpg", "in/2/b.txt", "in/3.jpg/c.png")
    assert _find("in/*/a.*") == {"in/1/a.jpg": "1/a", "in/2/a.jpg": "2/a"}
    assert _find("in/**/*") == {"in/1/a.jpg": "1/a", "in/2/a.jpg": "2/a", "in/3.jpg/c.png": "3.jpg/c"}
    assert _find("*/[12]/a.jpg") == {"in/1/a.jpg": "in/1/a", "in/2/a.jpg": "in/2/a"}


def test_file_whose_name_looks_like_a_pattern_is_itself() -> None:
    _touch("a[1].jpg", "a1.jpg")
    assert _find("a[1].jpg") == {"a[1].jpg": "a[1]"}


def test_list_is_read_a_line_a_path_and_keeps_what_its_paths_do_not_share() -> None:
    _touch("in/1/a.jpg", "in/2/a b.jpg")
    found = _find("-", listed=[b"in/1/a.jpg\n", b"\n", b"in/2/a b.jpg\r\n", b"in/2/missing.jpg"])
    assert found == {"in/1/a.jpg": "1/a", "in/2/a b.jpg": "2/a b", "in/2/missing.jpg": "2/missing"}


def test_list_may_have_names_that_are_no_text() -> None:
    (path,) = find_pictures(["-"], [b"in/\xff.jpg\n"], pathlib.Path("out"))
    assert bytes(path) == b"in/\xff.jpg"


@pytest.mark.parametrize("line", [b"..jpg", b"in/..jpg", b"...jpg", b"/"])
def test_name_after_which_nothing_can_be_called_is_refused(line: bytes) -> None:
    with pytest.raises(VocsegError, match="cannot be a picture"):
        _find("-", listed=[line])


def test_file_after_which_nothing_can_be_called_is_refused_as_an_argument_too() -> None:
    _touch("in/..jpg", "in/a.jpg")
    with pytest.raises(VocsegError, match="cannot be a picture"):
        _find("in/..jpg")


def test_list_with_nul_is_refused_with_what_is_expected() -> None:
    with pytest.raises(VocsegError, match="one path a line"):
        _find("-", listed=[b"in/a.jpg\0in/b.jpg\0"])


def test_pictures_that_differ_only_in_their_ending_keep_it() -> None:
    _touch("in/a.jpg", "in/a.png", "in/b.jpg", "in/x/a.png")
    assert _find("in") == {"in/a.jpg": "a.jpg", "in/a.png": "a.png", "in/b.jpg": "b", "in/x/a.png": "x/a"}


def test_picture_that_is_named_twice_comes_once() -> None:
    _touch("in/a.jpg")
    assert _find("in/a.jpg", "in", "in/*.jpg", "./in/../in/a.jpg", "in", "-", listed=[b"in/a.jpg\n"]) == {"in/a.jpg": "a"}


def test_results_stay_below_the_output_folder_whatever_the_path() -> None:
    _touch("in/a.jpg", "in/x/b.jpg")
    found = find_pictures(["in/x/..", "in/x/../../in/a.jpg", "in/x/../x/*.jpg"], (), pathlib.Path("out"))
    assert all(".." not in place.parts and not place.is_absolute() for place in found.values())


def test_missing_files_are_counted_and_the_first_named() -> None:
    with pytest.raises(VocsegError, match=r"There is no file x\.jpg, nor 1 others"):
        _find("x.jpg", "y.jpg")


@pytest.mark.parametrize(
    ("name", "message"), [("empty", "The folder empty"), ("*.jpg", r"The pattern \*\.jpg"), ("-", "The list")]
)
def test_name_of_no_pictures_is_an_error(name: str, message: str) -> None:
    _touch("empty/notes.txt")
    with pytest.raises(VocsegError, match=f"{message}.* names no pictures"):
        _find(name)
