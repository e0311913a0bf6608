"""Runs on a file system that fills up: the error says so, and the same command goes on once there is room."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from components import versions
from components.datasets.fake_voc import write_fake_voc

PROJECT = pathlib.Path(__file__).parents[1]
SMALL = [
    "--preset=mini",
    "--epochs=2",
    "--set=model.filters=4",
    "--set=model.depth=2",
    "--set=evaluate.min_mean_iou=0",
    "--set=evaluate.beat_constant=false",
]


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of its own, whose size can be changed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=False)
    if not mounted or mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _resize(disk: pathlib.Path, size_kib: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_kib}k", disk], check=True)


def _used_kib(disk: pathlib.Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


def _run(disk: pathlib.Path, data: pathlib.Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline", "run", *SMALL, *more, "--data", str(data), "--root", str(disk / "root")]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def _published(disk: pathlib.Path) -> dict[str, bytes]:
    folders = [version for models in (disk / "root/models").glob("*") for version in versions.versions(models)]
    return {str(file): file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_run_that_fills_its_disk_says_so_and_goes_on_once_there_is_room(disk: pathlib.Path, tmp_path: pathlib.Path) -> None:
    data = tmp_path / "data"
    write_fake_voc(data, split_sizes={"train": 24, "val": 21, "test": 21})
    _resize(disk, 8)
    refused = _run(disk, data)  # Not even the run's own record fits.
    assert refused.returncode == 1 and "is full" in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
    _resize(disk, 1 << 16)
    first = _run(disk, data)
    assert first.returncode == 0, first.stderr
    whole_kib, published = _used_kib(disk), _published(disk)
    assert len(published) > 3

    failures = []
    size_kib = whole_kib + 8
    for _ in range(40):  # A second training, with a little more room each time.
        _resize(disk, size_kib)
        done = _run(disk, data, "--seed=1")
        assert published.items() <= _published(disk).items()
        if done.returncode == 0:
            break
        print(size_kib - whole_kib, done.stdout.splitlines()[-1:], done.stderr.strip(), flush=True)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "is full" in done.stderr and "run the same command again" in done.stderr, done.stderr
        failures.append(done.stdout)
        size_kib = max(size_kib, _used_kib(disk)) + max(size_kib - whole_kib, 192)
    assert done.returncode == 0 and len(failures) >= 3
    summary = json.loads(max((disk / "root/runs").glob("*/summary.json")).read_text())
    assert summary["verdict"] is not None and summary["status"] == "succeeded"
