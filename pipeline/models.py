"""`vocseg models`: lists the pushed versions, goes back to an earlier one, removes old ones."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import rich.console
import rich.table
import rich.text

from components import versions
from components.errors import ModelError
from components.version_records import Record, digest_of, read_record
from pipeline import console, runs
from pipeline.locations import check_writable, write_output

_SHOWN_DIGITS = 12
"""Of a digest, in the table; JSON has all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pushed:
    """A pushed version, as far as it is known: its record's fields, and those of the run that pushed it.

    Attributes:
        pipeline: its pipeline's name.
        version: its number.
        path: its folder.
        current: whether it is the highest number, which TensorFlow Serving serves.
        pushed: when, ISO 8601, UTC.
        run: that pushed it; empty where no run's record says so.
        mean_iou: on `split`, 0..1, or None.
        split: test or eval, or empty.
        blessed: None where that is not known.
        digest: of its files, as they are.
        changed: whether that is not the digest that was pushed.
        data_digest: of the data, or empty.
        code_digest: of the Trainer's code, or empty.
        model_uri: of the Model artifact, or empty.
        copy_of: the version that a rollback copied, or empty.
        rolled_back_from: the version that was current before the rollback, or empty.
        size_bytes: of its files.
    """

    pipeline: str
    version: str
    path: str
    current: bool
    pushed: str
    run: str
    mean_iou: float | None
    split: str
    blessed: bool | None
    digest: str
    changed: bool
    data_digest: str
    code_digest: str
    model_uri: str
    copy_of: str
    rolled_back_from: str
    size_bytes: int


def show(root: str, pipeline: str | None, json_path: str | None) -> None:
    """Prints a table of the pushed versions of each pipeline.

    Args:
        root: where outputs lie.
        pipeline: the only one to show, or None for all.
        json_path: where they go as JSON ("-": to standard output, instead of the table), or None.

    Raises:
        VocsegError: there is no such root or pipeline, or the JSON cannot be written.
    """
    if json_path not in (None, "-"):
        check_writable(str(json_path), "--json")
    folders = _folders(root, pipeline)
    found = [one for folder in folders for one in list_versions(folder, os.path.join(root, "runs"))]
    text = json.dumps([dataclasses.asdict(one) for one in found], indent=1)
    if json_path == "-":
        print(text)
        return
    if not found:
        print(f"No model has been pushed in {root}. `vocseg run` makes one; --root says where.")
    width = None if sys.stdout.isatty() else 10_000
    out = rich.console.Console(width=width, emoji=False, highlight=False)
    for folder in folders:
        out.print(versions_table(folder.name, [one for one in found if one.pipeline == folder.name]))
    if json_path:
        write_output(json_path, f"{text}\n".encode(), "--json")


def rollback(root: str, pipeline: str | None, version: str | None) -> None:
    """Makes an earlier version current again, and says so.

    Args:
        root: where outputs lie.
        pipeline: whose; may be None where there is but one.
        version: its number, or None: see `components.versions.rollback`.

    Raises:
        VocsegError: there is no such version, nothing to go back to, or more than one pipeline.
    """
    folders = _folders(root, pipeline)
    if not folders:
        raise ModelError(f"No model has been pushed in {root}: there is nothing to go back to.")
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise ModelError(f"There are several pipelines in {root}. Say which with --pipeline: {names}.")
    with _changing(folders[0]):
        record = versions.rollback(folders[0], version)
    print(f"{folders[0].name}: version {record.version} is current now, with the files of {record.copy_of}")
    print(f"rolled back from {record.rolled_back_from}, which stays, and can be returned to by its number")
    print(f"model        {folders[0] / record.version}")


def prune(root: str, pipeline: str | None, keep: int, dry_run: bool) -> None:
    """Removes all but the newest versions of each pipeline, and says which.

    Args:
        root: where outputs lie.
        pipeline: the only one, or None for all.
        keep: how many stay, at least 1.
        dry_run: only says what would go.

    Raises:
        VocsegError: there is no such pipeline, or `keep` is less than 1.
    """
    folders = _folders(root, pipeline)
    if not folders:
        raise ModelError(f"No model has been pushed in {root}: there is nothing to remove.")
    would = "would be " if dry_run else ""
    count = freed = 0
    for folder in folders:
        with _changing(folder):
            removed = versions.prune(folder, keep, dry_run)
        for version, size in removed:
            print(f"{folder.name}: {version} {would}removed, {_megabytes(size)}")
            count, freed = count + 1, freed + size
    if count:
        print(f"{count} version(s) {would}removed, {freed:,} bytes {would}freed")
    else:
        print(f"nothing to remove: no pipeline has more than {keep} version(s)")


def list_versions(folder: pathlib.Path, runs_folder: str) -> list[Pushed]:
    """Returns what is known of a pipeline's versions, oldest first.

    Args:
        folder: of its versions.
        runs_folder: of the root's runs, whose summaries say which one pushed a version, and know of older versions, too.
    """
    pushers: dict[str, runs.Summary] = {}
    for summary in runs.read_all(runs_folder):
        pushed = summary.pushed
        if summary.pipeline == folder.name and isinstance(pushed, dict):
            version = str(pushed.get("version"))
            # A run that was killed right after the push says nothing: then it is the first that found its model there.
            if pushed.get("new") or version not in pushers:
                pushers[version] = summary
    paths = versions.versions(folder)
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # It is being removed.
            found.append(_describe(path, path == paths[-1], read_record(path), pushers))
    return found


def _describe(path: pathlib.Path, current: bool, record: Record | None, pushers: dict[str, runs.Summary]) -> Pushed:
    summary = pushers.get(record.copy_of or path.name if record else path.name)
    verdict = (summary.verdict if summary else None) or {}
    mean_iou, blessed = (record.mean_iou, record.blessed) if record else (None, None)
    digest = digest_of(path)
    return Pushed(
        pipeline=path.parent.name,
        version=path.name,
        path=str(path),
        current=current,
        pushed=record.pushed if record else _time_of(path),
        run=summary.run if summary else "",
        mean_iou=((summary.metrics if summary else None) or {}).get("mean_iou") if mean_iou is None else mean_iou,
        split=(record.split if record else "") or str(verdict.get("split", "")),
        blessed=verdict.get("blessed") if blessed is None else blessed,
        digest=digest,
        changed=record is not None and record.digest != digest,
        data_digest=record.data_digest if record else "",
        code_digest=record.code_digest if record else "",
        model_uri=record.model_uri if record else "",
        copy_of=record.copy_of if record else "",
        rolled_back_from=record.rolled_back_from if record else "",
        size_bytes=versions.size_bytes(path),
    )


def _time_of(path: pathlib.Path) -> str:
    """Returns when a version without a record was pushed: its number, or, of a number that was no time, the folder's time."""
    number = int(path.name)
    seconds = number if 1e9 < number <= time.time() + 86_400 else path.stat().st_mtime
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def versions_table(title: str, pushed: list[Pushed]) -> rich.table.Table:
    """Returns a row a version, newest first; `-` for what is not known."""
    table = rich.table.Table(title=rich.text.Text(title), title_justify="left")
    for column in ("version", "pushed (UTC)", "mean IoU", "split", "blessed", "data", "code", "model", "run", "size", "note"):
        table.add_column(column, justify="right" if column in ("mean IoU", "size") else "left", overflow="fold")
    for one in reversed(pushed):
        blessed = "-" if one.blessed is None else "yes" if one.blessed else "no"
        when = one.pushed.removesuffix("+00:00").replace("T", " ")
        digests = [digest[:_SHOWN_DIGITS] or "-" for digest in (one.data_digest, one.code_digest, one.digest)]
        row = (one.version, when, console.number(one.mean_iou), one.split or "-", blessed, *digests, one.run or "-")
        cells = [rich.text.Text(cell) for cell in (*row, _megabytes(one.size_bytes), _note(one))]
        table.add_row(*cells, style="bold" if one.current else None)
    return table


def _note(one: Pushed) -> str:
    notes = ["current"] if one.current else []
    if one.copy_of:
        notes.append(f"rolled back from {one.rolled_back_from} to {one.copy_of}")
    if one.changed:
        notes.append("its files were changed since the push")
    return "; ".join(notes)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _folders(root: str, pipeline: str | None) -> list[pathlib.Path]:
    """Returns the folders of versions of all pipelines that have any, or that of one.

    Raises:
        ModelError: there is no such root, or no such pipeline in it.
    """
    if not os.path.isdir(root):
        raise ModelError(f"There is no folder {root}. Give --root the folder that runs write to.")
    parent = pathlib.Path(root, "models").absolute()
    found = sorted(path for path in parent.iterdir() if versions.versions(path)) if parent.is_dir() else []
    if pipeline is None:
        return found
    named = [path for path in found if path.name == pipeline]
    if not named:
        known = f"There are: {', '.join(path.name for path in found)}." if found else "There is none at all."
        raise ModelError(f"No pipeline {pipeline} has pushed a model in {root}. {known}")
    return named


@contextlib.contextmanager
def _changing(folder: pathlib.Path) -> Iterator[None]:
    """Turns an error of the file system into one that a user can mend."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder} cannot be changed: {error.strerror}. Mend that, and try again."
        ) from error
