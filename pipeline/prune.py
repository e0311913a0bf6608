"""`vocseg prune`: removes what no kept run, pushed model or baseline needs.

Artifacts are marked as deleted in ML Metadata before their files go. So whatever moment a kill chooses, the cache never takes
half an artifact for a whole one, and the next call removes what is left.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any

from components.datasets.files import is_remote
from components.errors import VocsegError
from components.versions import versions
from pipeline import console, locks, runs
from pipeline.locations import Locations


@dataclasses.dataclass
class Freed:
    """What a pipeline was relieved of, or would be.

    Attributes:
        pipeline: its name; "" for what belongs to none.
        artifacts: number of artifacts.
        leftovers: number of folders that killed or failed steps left, and of unfinished trainings.
        runs: number of runs' folders.
        size_bytes: of all their files.
    """

    pipeline: str
    artifacts: int = 0
    leftovers: int = 0
    runs: int = 0
    size_bytes: int = 0


def prune(root: str, keep: int, pipeline: str | None = None, dry_run: bool = False) -> list[Freed]:
    """Removes old artifacts, runs' folders and leftovers under the root's lock.

    Args:
        root: where outputs lie.
        keep: how many runs of each pipeline stay, see `retention.kept_runs`; and how many unfinished trainings.
        pipeline: only this one's, and no unfinished trainings, which may be of any; None: those of all.
        dry_run: removes nothing.

    Returns:
        What was removed, or would be: an item a pipeline, and the last for the unfinished trainings.

    Raises:
        BusyError: a run is under way in the root.
        VocsegError: `keep` is less than 1, the root cannot be pruned, there is no such pipeline, or a folder cannot be removed.
    """
    _check(root, keep)
    root = str(pathlib.Path(root).absolute())
    with locks.lock(root):
        from pipeline import root_mark, runners

        here = Locations(root=root, pipeline_name="", data="")
        root_mark.claim(here, runners.local_metadata(here))
        store = runners.open_store(here)
        known = sorted(context.name for context in store.get_contexts_by_type("pipeline"))
        if pipeline is not None and pipeline not in known:
            raise VocsegError(f"No pipeline {pipeline} has run in {root}. There are: {', '.join(known) or 'none'}.")
        try:
            freed = [
                _prune_pipeline(store, Locations(root=root, pipeline_name=name, data=""), keep, dry_run)
                for name in ([pipeline] if pipeline else known)
            ]
            return freed if pipeline else [*freed, _prune_unfinished(os.path.join(root, "unfinished"), keep, dry_run)]
        except OSError as error:
            raise VocsegError(
                f"{error.filename or root} cannot be removed: {error.strerror}. Mend that, and try again."
            ) from error


def show(root: str, keep: int, pipeline: str | None, dry_run: bool) -> None:
    """Prunes, and prints what that freed.

    Raises:
        VocsegError: see `prune`.
    """
    _check(root, keep)
    with console.working("pruning"):
        freed = prune(root, keep, pipeline, dry_run)
    for one in freed:
        what = [f"{one.artifacts} artifacts", f"{one.leftovers} leftovers", f"{one.runs} runs"]
        print(f"{one.pipeline or 'unfinished trainings'}: {', '.join(what)}, {one.size_bytes / 1e6:.1f} MB")
    verb = "Would free" if dry_run else "Freed"
    print(f"{verb} {sum(one.size_bytes for one in freed) / 1e6:.1f} MB.")


def check_root(root: str) -> None:
    """Fails over a root whose artifacts are not known by its own metadata, so that it would not be known what is needed.

    Raises:
        VocsegError: the root is in a store, or runs in it have their metadata in a server.
    """
    if is_remote(root):
        raise VocsegError(f"Only a root on this machine can be pruned; {root} is in a store. Set a lifecycle rule there.")
    from pipeline import root_mark

    mark = root_mark.read(root)
    if mark and "://" in mark.metadata:
        raise VocsegError(
            f"{root} cannot be pruned: the metadata of its runs is in {mark.metadata}. The root's own metadata.sqlite knows "
            "nothing of them, and files that they need would go. Remove by hand what you can spare."
        )


def _check(root: str, keep: int) -> None:
    if keep < 1:
        raise VocsegError(f"At least 1 run must be kept, the newest; got --keep {keep}.")
    check_root(root)
    if not os.path.isfile(os.path.join(root, "metadata.sqlite")):
        raise VocsegError(f"There are no runs in {root}: it holds no metadata.sqlite. Give --root the folder of the runs.")


def _prune_pipeline(store: Any, locations: Locations, keep: int, dry_run: bool) -> Freed:
    from pipeline import retention

    freed = Freed(locations.pipeline_name)
    past = retention.read_runs(store, locations.pipeline_name)
    kept = retention.kept_runs(past, keep)
    by_type = retention.live_artifacts(store, locations.pipeline_name)
    needed = retention.needed(store, kept, by_type, locations.models)
    superfluous = [artifact.id for artifacts in by_type.values() for artifact in artifacts if artifact.id not in needed]
    freed.artifacts = len(superfluous)
    deleted = _mark_deleted(store, locations.pipeline_name, superfluous, dry_run)
    leftovers = list(_leftovers(store, past, kept, locations.artifacts))
    freed.leftovers = len(leftovers)
    folders = [*_within(locations.artifacts, deleted), *leftovers]
    records = list(_old_records(locations, {run.name for run in kept}, keep))
    freed.runs = len(records)
    for folder in (*folders, *records):
        freed.size_bytes += _remove(folder, dry_run)
    return freed


def _mark_deleted(store: Any, pipeline: str, ids: list[int], dry_run: bool) -> list[str]:
    """Marks artifacts as deleted, and returns the places of all that are, those of earlier calls too."""
    from ml_metadata.proto import metadata_store_pb2

    artifacts = store.get_artifacts_by_id(ids) if ids else []
    for artifact in artifacts:
        artifact.state = metadata_store_pb2.Artifact.DELETED
    if artifacts and not dry_run:
        store.put_artifacts(artifacts)
    context = store.get_context_by_type_and_name("pipeline", pipeline)
    before = store.get_artifacts_by_context(context.id) if context else []
    places = {a.uri for a in before if a.state == metadata_store_pb2.Artifact.DELETED} | {a.uri for a in artifacts}
    in_use = {a.uri for a in before if a.state == metadata_store_pb2.Artifact.LIVE and a.id not in set(ids)}
    return sorted(places - in_use)


def _within(folder: str, places: Iterable[str]) -> Iterator[str]:
    """Yields those of the places that are folders below a folder: nothing else is ever removed."""
    parent = pathlib.Path(folder).resolve()
    for place in places:
        if os.path.isdir(place) and not os.path.islink(place) and parent in pathlib.Path(place).resolve().parents:
            yield place


def _leftovers(store: Any, past: list, kept: list, folder: str) -> Iterator[str]:
    """Yields the folders of executions that put nothing out, and TFX's own of those and of runs that are not kept.

    TFX puts outputs into `<step>/<key>/<execution>`, its notes into `<step>/.system/<kind>/<execution>`, and what an execution
    needs while it lasts into `<step>/.system/stateful_working_dir/<any name>`; under the lock none is under way.
    """
    from ml_metadata.proto import metadata_store_pb2

    ids = [execution.id for run in past for execution in run.executions]
    events = store.get_events_by_execution_ids(ids) if ids else []
    fruitful = {event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT}
    barren = {str(number) for number in ids if number not in fruitful}
    names = {run.name for run in kept}
    gone = {str(execution.id) for run in past if run.name not in names for execution in run.executions}
    for path in pathlib.Path(folder).glob("*/*/*"):
        if path.parent.name != ".system" and path.name in barren and path.is_dir():
            yield str(path)
    for path in pathlib.Path(folder).glob("*/.system/*/*"):
        if (path.name in gone | barren or path.parent.name == "stateful_working_dir") and path.is_dir():
            yield str(path)


def _old_records(locations: Locations, kept: set[str], keep: int) -> Iterator[str]:
    """Yields the folders of a pipeline's runs, but for the kept, the newest, and those that pushed a version that is there."""
    found = [run for run in runs.read_all(locations.runs) if run.pipeline == locations.pipeline_name]
    there = {path.name for path in versions(pathlib.Path(locations.models))}
    for run in found[:-keep]:
        pushed = run.pushed or {}
        if run.run in kept or run.status == "running" or (pushed.get("new") and pushed.get("version") in there):
            continue
        yield os.path.join(locations.runs, run.run)


def _prune_unfinished(folder: str, keep: int, dry_run: bool) -> Freed:
    """Removes the states of trainings but for those that were worked on last."""
    freed = Freed("")
    states = [path for path in pathlib.Path(folder).glob("*") if path.is_dir()]
    for path in sorted(states, key=lambda path: path.stat().st_mtime_ns)[:-keep]:
        freed.leftovers += 1
        freed.size_bytes += _remove(str(path), dry_run)
    return freed


def _remove(folder: str, dry_run: bool) -> int:
    """Removes a folder, and returns the bytes of its files."""
    size = sum(path.lstat().st_size for path in pathlib.Path(folder).rglob("*") if not path.is_dir())
    if not dry_run:
        shutil.rmtree(folder)
    return size
