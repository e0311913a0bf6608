"""A script in a Python of its own: what it inherits, what stops it, and that nothing of it stays."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from components import serving_client
from components.fresh_process import Ended, run_script


def _run(folder: pathlib.Path, script: str, *arguments: str, max_seconds: float = 20, max_bytes: float = 2**30) -> Ended:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    scratch = folder / "scratch"
    scratch.mkdir()
    return run_script(str(path), arguments, scratch, max_seconds, max_bytes)


def _is_gone(number: int, within_s: float = 5) -> bool:
    """Tells whether a process ends; one that nobody has waited for yet has."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_script_sees_neither_our_paths_nor_a_gpu(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "ours"))
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SOMETHING", "else")
    monkeypatch.setenv("VOCSEG_METADATA_PASSWORD", "secret")
    script = """
        import os, sys, time
        print(sys.argv[1:], [name for name in os.environ if name.startswith(("PYTHON", "VOCSEG_METADATA_"))],
              os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SOMETHING"], os.path.basename(os.getcwd()),
              [path for path in sys.path if "ours" in path], flush=True)
        print(repr(sys.stdin.read()), os.getpgid(0) == os.getpid(), file=sys.stderr, flush=True)
        time.sleep(0.2)
    """
    ended = _run(tmp_path, script, "a", "b c")
    assert ended.output == "['a', 'b c'] [] -1 else scratch []\n'' True\n"
    assert (ended.over, ended.signal) == ("", "")
    assert 0 < ended.seconds < 20
    assert 2**20 < ended.peak_memory_bytes < 2**28


def test_script_that_takes_too_long_is_killed(tmp_path: pathlib.Path) -> None:
    ended = _run(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(600)", max_seconds=2)
    assert (ended.over, ended.signal) == ("time", "")
    assert 2 <= ended.seconds < 10
    assert _is_gone(int(ended.output))


def test_script_that_takes_too_much_memory_is_killed(tmp_path: pathlib.Path) -> None:
    script = "import os, time; print(os.getpid(), flush=True); a = bytearray(os.urandom(1)) * (200 << 20); time.sleep(600)"
    ended = _run(tmp_path, script, max_bytes=100 << 20)
    assert (ended.over, ended.signal) == ("memory", "")
    assert ended.peak_memory_bytes > 100 << 20
    assert _is_gone(int(ended.output))


def test_script_that_dies_is_said_to_have_died_of_its_signal(tmp_path: pathlib.Path) -> None:
    ended = _run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (ended.over, ended.signal) == ("", "SIGSEGV")


@pytest.mark.parametrize("last", ["", "time.sleep(600)"], ids=["script ends", "script hangs"])
def test_processes_that_the_script_started_end_with_it(tmp_path: pathlib.Path, last: str) -> None:
    script = f"""
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
        {last}
    """
    ended = _run(tmp_path, script, max_seconds=2)
    assert ended.over == ("time" if last else "")
    assert _is_gone(int(ended.output))


def test_client_ends_when_the_process_that_started_it_is_killed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "requests.json").write_text("{}")
    command = [sys.executable, "-I", serving_client.__file__, "nowhere", "requests.json", "answers.json"]
    starter = f"import subprocess, time; print(subprocess.Popen({command!r}).pid, flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    client = int(process.stdout.readline())
    deadline = time.monotonic() + 20
    while not (tmp_path / "answers.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "importing TensorFlow" in (tmp_path / "answers.json").read_text()  # Which takes seconds.
    os.kill(client, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert _is_gone(client, 2)
