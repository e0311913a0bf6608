"""Spans: which folders a pattern means, and which of them a choice takes."""

import os
import pathlib
import re
import uuid
from collections.abc import Callable

import pytest
import tensorflow as tf

from components.datasets.spans import Span, check_choice, choose_spans, find_spans, has_span, resolve_spans
from components.errors import DataError

NUMBERS = [Span(number, f"d/{number}") for number in (0, 1, 2, 5, 9, 10)]
BAD_CHOICES = ["", "all", "Newest", "newest ", "last", "last:", "last:0", "last:-1", "last:x", "last:1.5", "-1", "1-", "5-2"]
BAD_CHOICES += ["1-2-3", "1,2", "1 - 2", "1\n", "٣", "9" * 19]


@pytest.fixture(params=["local", "ram://"])
def root(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """An empty folder, here or in TensorFlow's memory."""
    if request.param == "local":
        return str(tmp_path)
    folder = f"ram://{uuid.uuid4().hex}/data"
    tf.io.gfile.makedirs(folder)
    return folder


def _make(root: str, *names: str) -> None:
    for name in names:
        tf.io.gfile.makedirs(f"{root}/{name}")


def _write(path: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write("x")


def _found(root: str, pattern: str) -> dict[int, str]:
    spans = find_spans(f"{root}/{pattern}")
    assert [span.number for span in spans] == sorted({span.number for span in spans})
    assert all(span.folder.startswith(f"{root}/") for span in spans)
    return {span.number: span.folder.removeprefix(f"{root}/") for span in spans}


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("d/span-{SPAN}", True),
        ("gs://b/{SPAN:2}/x", True),
        ("{SPAN}", True),
        ("d/{span}", False),
        ("d/SPAN", False),
        ("", False),
    ],
)
def test_has_span(pattern: str, expected: bool) -> None:
    assert has_span(pattern) is expected


@pytest.mark.parametrize("pattern", ["d/{SPAN}/{SPAN}", "d/{SPAN}-{SPAN:2}", "d/none"])
def test_span_must_stand_once(pattern: str) -> None:
    with pytest.raises(DataError, match=r"Expected \{SPAN\} once in a pattern of folders; .* has it (0|2) times"):
        find_spans(pattern)


@pytest.mark.parametrize("width", ["", "0", "x", "-1", "1.5", "²", "100"])
def test_bad_width_is_named(width: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"got {{SPAN:{width}}} in")):
        find_spans(f"d/{{SPAN:{width}}}")


@pytest.mark.parametrize("other", ["{VERSION}", "{VERSION:2}", "{YYYY}", "{MM}", "{DD}"])
def test_other_specs_of_tfx_are_refused_not_taken_for_a_name(other: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"holds {other}, which is not supported")):
        find_spans(f"d/{{SPAN}}/{other}")


def test_bucket_cannot_be_a_span() -> None:
    with pytest.raises(DataError, match="it is in the bucket's"):
        find_spans("gs://data-{SPAN}/VOCdevkit")


# Finding.


def test_folders_are_found_by_number_not_by_name(root: str) -> None:
    _make(root, "span-10", "span-9", "span-0")
    assert list(_found(root, "span-{SPAN}").items()) == [(0, "span-0"), (9, "span-9"), (10, "span-10")]


def test_only_folders_with_nothing_but_digits_there_count(root: str) -> None:
    _make(root, "span-1", "span-x", "span-", "span-1x", "xspan-1", "span--1", "span-٣", "span-2-old", "other")
    _write(f"{root}/span-7")
    assert _found(root, "span-{SPAN}") == {1: "span-1"}


def test_width_takes_just_so_many_digits(root: str) -> None:
    _make(root, "span-1", "span-02", "span-13", "span-100")
    assert _found(root, "span-{SPAN:2}") == {2: "span-02", 13: "span-13"}
    assert _found(root, "span-{SPAN}") == {1: "span-1", 2: "span-02", 13: "span-13", 100: "span-100"}


def test_folders_behind_the_span_are_part_of_the_path(root: str) -> None:
    _make(root, "2/VOCdevkit", "1/VOCdevkit", "3/other", "4")
    _write(f"{root}/4/VOCdevkit")
    assert _found(root, "{SPAN}/VOCdevkit") == {1: "1/VOCdevkit", 2: "2/VOCdevkit"}
    assert _found(root, "{SPAN}/VOCdevkit/") == {1: "1/VOCdevkit", 2: "2/VOCdevkit"}


def test_text_around_the_span_is_taken_literally(root: str) -> None:
    _make(root, "a.b+1 (x)", "aXb+2 (x)", "a.bb3 (x)")
    assert _found(root, "a.b+{SPAN} (x)") == {1: "a.b+1 (x)"}


@pytest.mark.parametrize("names", [("span-1", "span-01"), ("span-007", "span-7")])
def test_two_folders_of_one_number_are_both_named(root: str, names: tuple[str, str]) -> None:
    _make(root, *names)
    with pytest.raises(DataError, match=r"Expected one folder a span; .*are both span \d\.") as raised:
        find_spans(f"{root}/span-{{SPAN}}")
    assert all(f"{root}/{name} " in str(raised.value) for name in names)


def test_file_of_the_same_number_is_no_second_folder(root: str) -> None:
    _make(root, "span-1")
    _write(f"{root}/span-01")
    assert _found(root, "span-{SPAN}") == {1: "span-1"}


def test_missing_folder_has_no_spans(root: str) -> None:
    assert _found(root, "nowhere/{SPAN}") == {}


def test_relative_patterns_stay_relative(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d" / "1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "d")
    assert find_spans("{SPAN}") == [Span(1, "1")]
    monkeypatch.chdir(tmp_path)
    assert find_spans("./d/{SPAN}") == [Span(1, "./d/1")]


def test_link_to_a_folder_counts(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "3").symlink_to(tmp_path / "real")
    (tmp_path / "4").symlink_to(tmp_path / "nowhere")
    assert _found(str(tmp_path), "{SPAN}") == {3: "3"}


def test_folder_that_cannot_be_listed_is_an_error_with_the_reason(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(DataError, match="cannot be listed: Permission denied"):
        find_spans(f"{tmp_path}/{{SPAN}}")


def test_store_that_cannot_be_listed_is_an_error_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise tf.errors.PermissionDeniedError(None, None, "no access to the bucket")

    monkeypatch.setattr(tf.io.gfile, "listdir", refuse)
    with pytest.raises(DataError, match="ram://x cannot be listed: no access to the bucket"):
        find_spans("ram://x/{SPAN}")


def test_names_of_folders_that_end_with_a_slash_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.io.gfile, "listdir", lambda path: {"gs://b/d": ["2/", "1/", "file"]}[path])  # As gs:// does.
    monkeypatch.setattr(tf.io.gfile, "isdir", lambda path: True)
    assert find_spans("gs://b/d/{SPAN}/x") == [Span(1, "gs://b/d/1/x"), Span(2, "gs://b/d/2/x")]


# Choosing.


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("newest", [10]),
        ("last:1", [10]),
        ("last:3", [5, 9, 10]),
        ("last:6", [0, 1, 2, 5, 9, 10]),
        ("last:99", [0, 1, 2, 5, 9, 10]),
        ("1-5", [1, 2, 5]),
        ("3-7", [5]),
        ("0-0", [0]),
        ("6-999999999999999999", [9, 10]),
        ("0", [0]),
        ("10", [10]),
        ("09", [9]),
    ],
)
def test_choice(choice: str, expected: list[int]) -> None:
    check_choice(choice)
    assert [span.number for span in choose_spans(NUMBERS, choice)] == expected


def test_choice_goes_by_number_whatever_the_order() -> None:
    assert [span.number for span in choose_spans(NUMBERS[::-1], "last:2")] == [9, 10]


@pytest.mark.parametrize("choice", ["3", "3-4", "11-20"])
def test_choice_of_spans_that_are_not_there_says_which_are(choice: str) -> None:
    with pytest.raises(DataError, match=rf"of the choice '{choice}', but there is none\. There are: 0, 1, 2, 5, 9, 10\."):
        choose_spans(NUMBERS, choice)


def test_long_list_of_spans_is_cut_to_the_newest() -> None:
    with pytest.raises(DataError, match=r"There are: \.\.\., 92, 93, 94, 95, 96, 97, 98, 99\."):
        choose_spans([Span(number, str(number)) for number in range(100)], "100")


@pytest.mark.parametrize("choice", ["newest", "last:2", "1", "0-9"])
def test_choice_among_none_is_an_error(choice: str) -> None:
    with pytest.raises(DataError, match=r"There are: none\."):
        choose_spans([], choice)


@pytest.mark.parametrize("choice", BAD_CHOICES)
@pytest.mark.parametrize("function", [check_choice, lambda text: choose_spans(NUMBERS, text)], ids=["check", "choose"])
def test_bad_choice_says_what_is_allowed(function: Callable[[str], object], choice: str) -> None:
    with pytest.raises(DataError, match='Expected spans as "newest", "last:N" .* "A-B" .* "A"') as raised:
        function(choice)
    assert str(raised.value).endswith(f"got {choice!r}.")


# Both.


def test_resolved_spans_are_the_chosen_ones_of_those_found(root: str) -> None:
    _make(root, "span-01", "span-02", "span-03")
    pattern = f"{root}/span-{{SPAN:2}}"
    assert resolve_spans(pattern, "last:2") == [Span(2, f"{root}/span-02"), Span(3, f"{root}/span-03")]


def test_pattern_without_a_match_says_what_the_folder_holds(root: str) -> None:
    _make(root, "day-1", "span-1")
    with pytest.raises(DataError) as raised:
        resolve_spans(f"{root}/span-{{SPAN:2}}/VOCdevkit", "newest")
    assert str(raised.value) == (
        f"{root}/span-{{SPAN:2}}/VOCdevkit matches no folder: expected, for instance, {root}/span-01/VOCdevkit. "
        f"{root} holds: day-1, span-1."
    )


def test_pattern_without_a_match_in_a_full_folder_names_some(root: str) -> None:
    _make(root, *"abcdefghij")
    with pytest.raises(DataError, match=r"holds: a, b, c, d, e, f, g, h, \.\.\.\."):
        resolve_spans(f"{root}/{{SPAN}}", "newest")


def test_pattern_in_an_empty_folder_says_so(root: str) -> None:
    with pytest.raises(DataError, match=r"holds: nothing\."):
        resolve_spans(f"{root}/{{SPAN}}", "newest")


def test_pattern_in_a_missing_folder_says_so(root: str) -> None:
    with pytest.raises(DataError, match=r"There is no folder .*/nowhere\."):
        resolve_spans(f"{root}/nowhere/{{SPAN}}", "newest")


def test_bad_choice_is_seen_before_anything_is_read() -> None:
    with pytest.raises(DataError, match="Expected spans as"):
        resolve_spans("no pattern at all", "some")
