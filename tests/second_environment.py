"""Where a cloud's workers live: an environment that has the locked packages and our wheel, and no source tree."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

PROJECT = pathlib.Path(__file__).parents[1]
_SOURCES = (
    "components",
    "pipeline",
    "tests",
    "benchmarks",
    "docs",
    "pipeline_config.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
_START_S = 300
"""A job service that is not there by then never comes; it takes seconds where nothing else runs."""


def build_wheel(folder: pathlib.Path) -> pathlib.Path:
    """Builds our wheel from a copy of the sources: setuptools leaves a folder in them, and takes files from an old one."""
    copy = folder / "sources"
    copy.mkdir(parents=True)
    for path in (PROJECT / name for name in _SOURCES):
        if path.is_dir():
            shutil.copytree(path, copy / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, copy)
    build = "import setuptools.build_meta; setuptools.build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def find_uv() -> str | None:
    """Returns the installer of the Makefile, or one on PATH."""
    ours = sorted(pathlib.Path(sys.prefix).glob("tools/uv-*/bin/uv"))
    return str(ours[-1]) if ours else shutil.which("uv")


def make(folder: pathlib.Path, uv: str) -> pathlib.Path:
    """Installs the lock and our wheel into an environment below a folder, and returns its interpreter.

    With the packages in uv's cache it takes seconds; else it downloads 1.2 GB.
    """
    wheel = build_wheel(folder / "wheel")
    python = folder / "environment/bin/python"
    environment = {"UV_SYSTEM_CERTS": "true"} | dict(os.environ)
    for arguments in (
        ["venv", "--python", sys.executable, str(folder / "environment")],
        ["pip", "sync", "--python", str(python), "--require-hashes", str(PROJECT / "requirements.txt")],
        ["pip", "install", "--python", str(python), "--offline", "--no-deps", str(wheel)],
    ):
        subprocess.run([uv, "-q", *arguments], env=environment, check=True)
    return python


@dataclasses.dataclass(frozen=True)
class Workers:
    """A job service, and the pool that its workers come from.

    Attributes:
        beam_args: with which a job goes there.
        folder: the pool's working directory, empty at first.
        log: what service, pool and workers have said.
    """

    beam_args: tuple[str, ...]
    folder: pathlib.Path
    log: pathlib.Path


@contextlib.contextmanager
def workers(python: pathlib.Path, folder: pathlib.Path, count: int = 1) -> Iterator[Workers]:
    """Starts Beam's job service from this environment, and a pool of workers from another; ends them whatever happens.

    Args:
        python: the other environment's interpreter.
        folder: an empty one for logs and working directories.
        count: workers of a job.
    """
    places = [folder / name for name in ("service", "pool")]
    for place in places:
        place.mkdir()
    log, port_file, pool_port = folder / "log.txt", folder / "port", _free_port()
    with (
        log.open("a") as output,
        _process(
            [sys.executable, str(PROJECT / "tests/job_service.py"), str(port_file)],
            places[0],
            dict(os.environ),
            output.fileno(),
        ) as service,
        _process(
            [str(python), "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"],
            places[1],
            # The pool starts bare `python`. Nothing else is known here: no PYTHONPATH, no home.
            {"PATH": f"{python.parent}:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "-1"},
            output.fileno(),
        ) as pool,
    ):
        _wait_for(port_file, pool_port, service, pool)
        beam_args = (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{port_file.read_text()}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool_port}",
            f"--direct_num_workers={count}",
        )
        yield Workers(beam_args, places[1], log)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def _process(command: list[str], folder: pathlib.Path, environment: dict[str, str], output: int) -> Iterator[subprocess.Popen]:
    """Runs a command in a process group of its own, and kills the group at the end."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(port_file: pathlib.Path, port: int, *processes: subprocess.Popen) -> None:
    until = time.monotonic() + _START_S
    while not (port_file.exists() and _listens(port)):
        assert all(process.poll() is None for process in processes), "the job service or the pool has ended: see its log"
        assert time.monotonic() < until, "the job service or the pool does not come"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), 1).close()
    except OSError:
        return False
    return True
