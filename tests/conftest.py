"""Fixtures that several tests share, and the count of skips at the end."""

import collections
import os
import pathlib
import uuid
from collections.abc import Iterator

import pytest

# Before anything imports TensorFlow: no flood of notes about the hardware, and the same results with and without a GPU.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from components.datasets.fake_voc import write_fake_voc


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real data sets. Not said: skip; said but wrong: fail, so that no skip hides a missing folder."""
    folder = os.environ.get("VOCSEG_SHARED_DATA")
    if folder is None:
        pytest.skip("VOCSEG_SHARED_DATA is not set: no real data")
    if not os.path.isdir(folder):
        pytest.fail(f"VOCSEG_SHARED_DATA is {folder!r}, which is not a folder. Correct it, or unset it to skip these tests.")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def mini_voc(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The miniature set, small and written once; the folder that holds VOCdevkit."""
    folder = tmp_path_factory.mktemp("mini_voc")
    write_fake_voc(folder, split_sizes={"train": 24, "val": 21, "test": 21})
    return folder


@pytest.fixture
def ram_store(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[str]:
    """An address in TensorFlow's memory, which stands for a store such as gs://; nothing may take it for a local path."""
    import ram_files  # Slow: TensorFlow, Beam and TFX.

    ram_files.make_known(monkeypatch)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    address = f"{ram_files.ADDRESS}{uuid.uuid4().hex}"
    yield address
    assert os.listdir(tmp_path / "cwd") == []
    if ram_files.tf.io.gfile.exists(address):
        ram_files.tf.io.gfile.rmtree(address)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts the skips by reason, whatever -r says."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    terminalreporter.section(f"{len(reports)} skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:4} {reason}")
