"""What a run is asked for, and what of it cannot be: said before anything is made."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from components.datasets import files, spans
from components.errors import VocsegError
from pipeline import cloud, metadata_server
from pipeline.locations import DEFAULT_LOCAL, Locations, local_folder, locate
from pipeline_config import PipelineConfig

RUNNERS = ("local", "dataflow", "portable")
"""Where Beam's work can be done: here, on Google's Dataflow, or by a job server."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a run is asked for, beside its configuration.

    Attributes:
        root: where outputs go; a folder, or an address in a store.
        data: the data folder, or None.
        local: below which lie metadata, locks and logs, where the root is in a store.
        summary: where a copy of the summary goes, or None.
        verify: reads all data again, whatever is remembered of it.
        metadata: address of a metadata server; empty: a file on this machine.
        runner: where Beam's work is done, one of `RUNNERS`.
        beam: other options of Beam's, each NAME=VALUE or a switch's NAME.
        profile: finds out where the time goes; changes nothing of what is done or cached.
        wait_s: for how long to wait for another run in the root to end, in seconds.
    """

    root: str
    data: str | None = None
    local: str = DEFAULT_LOCAL
    summary: str | None = None
    verify: bool = False
    metadata: str = ""
    runner: str = "local"
    beam: tuple[str, ...] = ()
    profile: bool = False
    wait_s: float = 0


def check(request: Request, config: PipelineConfig) -> None:
    """Fails over what cannot be; makes nothing.

    Raises:
        VocsegError: see there.
    """
    if request.profile:
        _check_profile(request.runner)
    if request.runner == "dataflow":
        cloud.check(config, request.root, request.data)
    if request.metadata:
        metadata_server.parse(request.metadata)
    check_span(request.data or "", config.data.span)
    if config.data.spec and config.data.embedded and not request.data:
        raise VocsegError(f"--spec needs --data: the preset {config.preset} has its own embedded data.")
    if request.data is not None and not files.is_remote(request.data) and not spans.has_span(request.data):
        check_folder(request.data)


def _check_profile(runner: str) -> None:
    if runner == "local":
        return
    where = "Dataflow's console shows" if runner == "dataflow" else "the job server's own page, if it has one, shows"
    raise VocsegError(
        f"--profile times what is done on this machine, and --runner {runner} has Beam's work done elsewhere: {where} what its "
        "stages take. Leave out one of the two; the table of a run's steps has the time a component in either case."
    )


def make_folders(request: Request) -> None:
    """Makes the folders on this machine that outputs go to.

    Raises:
        VocsegError: one cannot be made or written to; the message has it as it was given.
    """
    remote = files.is_remote(request.root)
    option, folder = ("--local", local_folder(request.root, request.local)) if remote else ("--root", request.root)
    check_paths({option: folder}, request.summary)


def locations_of(request: Request, config: PipelineConfig) -> Locations:
    """Returns the folders of a run."""
    return dataclasses.replace(locate(config, request.root, request.data, request.local), metadata_server=request.metadata)


def check_span(data: str, span: str) -> None:
    """Fails over a choice of spans that cannot be, or where there is nothing to choose from.

    Raises:
        VocsegError: see there.
    """
    spans.check_choice(span)
    if span != "newest" and not spans.has_span(data):
        raise VocsegError(f"--span {span} needs {{SPAN}} in the path of the data, for instance 'DIR/span-{{SPAN}}'.")


def check_folder(data: str) -> None:
    """Fails over a local data folder in which there cannot be any data.

    Raises:
        VocsegError: it is a file, does not exist, or is empty; or its name is.
    """
    if not data:
        raise VocsegError("--data is empty. Give it a folder that holds the data set, or leave it out.")
    if os.path.isfile(data):
        raise VocsegError(f"{data} is a file. Give --data the folder that holds it.")
    if not os.path.isdir(data):
        raise VocsegError(f"The data folder {data} does not exist. Give --data a folder that holds the data set.")
    if not os.listdir(data):
        raise VocsegError(f"The data folder {data} is empty. Give --data a folder that holds the data set.")


def check_paths(outputs: Mapping[str, str], summary_path: str | None) -> None:
    """Fails at once over a path that would fail later; makes the folders that outputs go to.

    Args:
        outputs: folders, by the options that say them.
        summary_path: of a file, or None.

    Raises:
        VocsegError: there is such a path.
    """
    folders = {option: pathlib.Path(folder) for option, folder in outputs.items()}
    if summary_path:
        folders["--summary"] = pathlib.Path(summary_path).parent
    for option, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            usable = os.access(folder, os.W_OK | os.X_OK)
        except OSError as error:
            raise VocsegError(f"{option}: the folder {folder} cannot be made: {error.strerror}. Give another one.") from error
        if not usable:
            raise VocsegError(f"{option}: the folder {folder} cannot be written to. Give another one.")
    if summary_path and os.path.isdir(summary_path):
        raise VocsegError(f"--summary: {summary_path} is a folder; expected a file's path.")
    if summary_path and os.path.exists(summary_path) and not os.path.isfile(summary_path):
        raise VocsegError(f"--summary: {summary_path} is no regular file; expected the path of one, or of none yet.")
