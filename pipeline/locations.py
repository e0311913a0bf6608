"""Where a run reads and writes, and the names that follow from it."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import uuid

from components.datasets.digests import DIGESTS_FILE
from components.datasets.files import is_remote
from components.errors import VocsegError
from pipeline_config import PipelineConfig

DEFAULT_LOCAL = "~/.local/share/vocseg"
"""Below it lie the records of roots in stores: in one place, whatever the working directory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Locations:
    """The folders of a run.

    Attributes:
        root: what the steps write lies below it; a folder, or an address in a store (gs://...).
        pipeline_name: preset and data set; models are compared only within one pipeline.
        data: the data folder, which may be a pattern of spans or remote, or "" for the official download.
        local: folder on this machine for what a store cannot hold (metadata, locks, logs), see `local_folder`; empty: the root.
        metadata_server: address of a shared metadata store, without its password; empty: a file of the root.
    """

    root: str
    pipeline_name: str
    data: str
    local: str = ""
    metadata_server: str = ""

    @property
    def here(self) -> str:
        """The folder on this machine."""
        return self.local or self.root

    def with_data(self, folder: str) -> "Locations":
        """Returns the same with another data folder and the same name."""
        return dataclasses.replace(self, data=folder)

    @property
    def artifacts(self) -> str:
        """TFX's artifacts, a folder a component."""
        return self.artifacts_of(self.pipeline_name)

    def artifacts_of(self, pipeline_name: str) -> str:
        """Returns the same of another pipeline of the root."""
        return os.path.join(self.root, "artifacts", pipeline_name)

    @property
    def metadata(self) -> str:
        """ML Metadata's SQLite file, shared by all pipelines of the root, or the address of its server."""
        return self.metadata_server or os.path.join(self.here, "metadata.sqlite")

    @property
    def models(self) -> str:
        """The pushed versions; what TensorFlow Serving watches."""
        return os.path.join(self.root, "models", self.pipeline_name)

    @property
    def work_dir(self) -> str:
        """Downloads and extracted archives."""
        return os.path.join(self.root, "data")

    @property
    def unfinished(self) -> str:
        """States of trainings that have not ended, a folder a training."""
        return os.path.join(self.root, "unfinished")

    @property
    def description(self) -> str:
        """What was guessed of a data set without a description."""
        return os.path.join(self.here, "descriptions", f"{self.pipeline_name}.toml")

    @property
    def digests(self) -> str:
        """What is remembered of the data's files; nothing where the root is a store's."""
        return os.path.join(self.work_dir, DIGESTS_FILE)

    @property
    def runs(self) -> str:
        """A folder a run: configuration, log and summary."""
        return os.path.join(self.here, "runs")


def locate(
    config: PipelineConfig, root: str | os.PathLike, data: str | os.PathLike | None, local: str | os.PathLike = ""
) -> Locations:
    """Derives the names and folders of a run.

    The data set's part of the pipeline's name is `data.name` where that is set; else a folder's name with a digest of its path,
    "embedded" for the embedded data, or the builder's name for the official data.

    Args:
        config: the run.
        root: where outputs go; a folder, or an address in a store.
        data: the data folder, or None.
        local: below which a store's root has metadata, locks and logs.
    """
    root = _absolute_root(os.fspath(root))
    folder = _absolute(os.fspath(data)) if data else ""
    official = "embedded" if config.data.embedded else config.data.official
    name = config.data.name or (_folder_name(folder) if folder else official)
    here = local_folder(root, local) if is_remote(root) and local else ""
    return Locations(root=root, pipeline_name=f"{config.preset}.{name}", data=folder, local=here)


def local_folder(root: str | os.PathLike, local: str | os.PathLike) -> str:
    """Returns the folder on this machine where a root's runs, metadata and logs lie.

    Each store's root has one of its own below `local`: what one root has made must not pass for made in another.

    Args:
        root: a folder, which is the answer itself, or an address in a store.
        local: where the records of stores' roots lie; a leading ~ is the home of who runs this.

    Raises:
        VocsegError: there is no such home.
    """
    root = _absolute_root(os.fspath(root))
    if not is_remote(root):
        return root
    try:
        folder = pathlib.Path(local).expanduser().absolute()
    except RuntimeError as error:
        raise VocsegError(f"--local: {local} cannot be found: {error} Give it the path of a folder.") from error
    return str(folder / "stores" / _folder_name(root))


def refuse_store(root: str | os.PathLike, what: str, instead: str) -> None:
    """Fails where a command that needs a folder on this machine gets a root in a store.

    Args:
        root: that was given.
        what: the command needs it for, as in "vocseg serve".
        instead: what to do, as a sentence.

    Raises:
        VocsegError: the root is in a store.
    """
    if is_remote(os.fspath(root)):
        raise VocsegError(f"{what} needs a folder on this machine, and {root} is in a store. {instead}")


def _absolute_root(root: str) -> str:
    return root.rstrip("/") if is_remote(root) else str(pathlib.Path(root).absolute())


def _absolute(path: str) -> str:
    """Returns a local path without links, so that one folder has one name; a store's address stays as it is."""
    return path.rstrip("/") if is_remote(path) else str(pathlib.Path(path).resolve())


def _folder_name(folder: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", folder.rpartition("/")[2]).strip("_") or "data"
    return f"{readable}-{hashlib.sha256(folder.encode()).hexdigest()[:6]}"


def check_writable(path: str, option: str) -> None:
    """Fails at once over a path that could not be written at the end.

    Args:
        path: of a local file.
        option: of the command line that said it.

    Raises:
        VocsegError: its folder does not exist or cannot be written to, or the path is something else than a file.
    """
    folder = os.path.dirname(os.path.abspath(path))
    taken = os.path.exists(path) and not os.path.isfile(path)  # A folder, or a device in whose place a file would be put.
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK) or taken:
        raise VocsegError(f"{option}: {path} cannot be written. Give the path of a file in a folder that exists.")


def write_output(path: str, content: bytes, option: str, hint: str = "Give another path.") -> None:
    """Writes what a command was asked for, whole or not at all.

    Args:
        path: of a local file.
        content: all of it.
        option: of the command line that said the path.
        hint: what to do where it cannot be written.

    Raises:
        VocsegError: it cannot be written.
    """
    try:
        write_file(path, content)
    except OSError as error:
        raise VocsegError(f"{option}: {path} cannot be written: {error.strerror}. {hint}") from error


def write_file(path: str, content: bytes) -> None:
    """Writes a local file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{uuid.uuid4().hex[:8]}")
    try:
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
