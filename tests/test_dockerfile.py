"""The container's recipe: it agrees with the locks, and its commands run in a clean Debian (no engine is needed for either)."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text()
STEPS = [line.split(maxsplit=1) for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
BOOT = "/opt/apache/beam"
"""What only an engine could take from Beam's image."""


def _locked(name: str, lock: str = "requirements.txt") -> str:
    [version] = re.findall(rf"^{name}==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return version


def _copies() -> list[list[str]]:
    return [shlex.split(rest) for word, rest in STEPS if word == "COPY"]


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-gpu.txt"])
def test_workers_start_with_the_locked_beam(lock: str) -> None:
    images = re.findall(r"apache/beam_python(\S+)_sdk:(\S+)", TEXT)
    assert images == [("{}.{}".format(*sys.version_info), _locked("apache-beam", lock))]


def test_uv_is_the_makefiles() -> None:
    [version] = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"uv==(\S+)", TEXT) == [version]


def test_every_source_of_a_copy_exists_and_is_not_ignored() -> None:
    sources = [name for words in _copies() if not words[0].startswith("--from") for name in words[:-1]]
    assert {"pyproject.toml", "components", "pipeline", "pipeline_config.py", "requirements.txt"} <= set(sources)
    assert [name for name in sources if not (ROOT / name).exists()] == []
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(allowed) == sorted(sources)


def test_locks_that_can_be_chosen_are_copied() -> None:
    [default] = re.findall(r"^ARG LOCK=(\S+)", TEXT, re.MULTILINE)
    assert default == "requirements.txt"
    assert {"requirements.txt", "requirements-gpu.txt"} <= set(next(words for words in _copies() if default in words))


def test_no_package_host_is_named() -> None:
    assert re.findall(r"https?://|--(?:extra-)?index|--find-links|--trusted", TEXT) == []


def test_boot_of_beam_takes_the_environment_that_has_our_code() -> None:
    last = TEXT.rpartition("\nFROM ")[2]
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in last
    assert "PATH=/opt/vocseg/bin:" in last
    assert f'ENTRYPOINT ["{BOOT}/boot"]' in last


# Its commands in a clean Debian.


class Chroot:
    """A folder with Debian in it, of which a command sees nothing else."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.working = "/"

    def path(self, inside: str) -> pathlib.Path:
        return self.folder / os.path.join(self.working, inside).lstrip("/")

    def run(self, command: str, user: str = "root") -> str:
        """Runs a command of the shell in name spaces of its own, which take their mounts away with them."""
        mounts = f"mount -t proc proc {self.folder}/proc && mount --rbind /dev {self.folder}/dev"
        inner = f"cd {shlex.quote(self.working)} && {command}"
        # By its full path: the recipe's PATH need not lead to this machine's.
        change = f"exec {shutil.which('chroot')} --userspec={user} {self.folder} /bin/sh -c {shlex.quote(inner)}"
        words = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", f"{mounts} && {change}"]
        done = subprocess.run(words, env=self.environment | _network(), capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout


def _network() -> dict[str, str]:
    """Returns what this machine says about reaching packages; an engine hands proxies on in the same way."""
    said = re.compile(r"(?i)(https?_proxy|no_proxy|ssl_cert_(file|dir)|pip_(cert|index_url)|uv_(default_)?index(_url)?)")
    return {name: value for name, value in os.environ.items() if said.fullmatch(name)}


def _bootstrap(folder: pathlib.Path) -> None:
    """Puts Debian 12 into a folder, with this machine's ways to reach packages."""
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(folder)], check=True, stdout=subprocess.DEVNULL)
    _let_reach_packages(folder)


def _let_reach_packages(folder: pathlib.Path) -> None:
    for name in ("etc/ssl/certs", "usr/local/share/ca-certificates", "usr/share/ca-certificates"):
        if os.path.isdir(f"/{name}"):
            shutil.copytree(f"/{name}", folder / name, symlinks=True, dirs_exist_ok=True)
    configuration = os.path.expanduser("~/.config")
    for tool in ("pip", "uv"):
        if os.path.isdir(f"{configuration}/{tool}"):
            shutil.copytree(f"{configuration}/{tool}", folder / f"root/.config/{tool}", dirs_exist_ok=True)
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf"):
        if os.path.exists(f"/{name}"):
            (folder / name).unlink(missing_ok=True)
            shutil.copyfile(f"/{name}", folder / name)


def _stages(folder: pathlib.Path, base: pathlib.Path) -> Iterator[Chroot]:
    """Does what the recipe says, a folder a stage; yields each stage that is done."""
    stages: dict[str, Chroot] = {}
    current: Chroot | None = None
    for word, rest in STEPS:
        if word == "FROM":
            if current:
                yield current
            name = rest.partition(" AS ")[2] or "last"
            subprocess.run(["cp", "-a", str(base), str(folder / name)], check=True)
            current = stages[name] = Chroot(folder / name)
            continue
        assert current
        if word in ("ARG", "ENV"):
            current.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "WORKDIR":
            current.working = rest
            current.path(".").mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            _copy(current, shlex.split(rest), stages)
        elif word == "RUN":
            current.run(rest)
        else:
            assert word == "ENTRYPOINT"
    assert current
    yield current


def _copy(into: Chroot, words: Sequence[str], stages: dict[str, Chroot]) -> None:
    option, _, stage = words[0].partition("--from=")
    if option or not stage:
        target = into.path(words[-1])
        for source in words[:-1]:
            subprocess.run(["cp", "-a", str(ROOT / source), str(target)], check=True)
    elif stage in stages:
        subprocess.run(["cp", "-a", str(stages[stage].path(words[1])), str(into.path(words[2]))], check=True)
    else:
        assert words[1] == BOOT


CHECKS = (
    "python -c 'import components.example_gen, components.evaluator, pipeline.graph, pipeline_config'",
    "python -c 'import tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor'",
    "python -c 'import apache_beam.runners.worker.sdk_worker_main'",
    "vocseg --help",
)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.geteuid() != 0, reason="chroot and mount are root's")
@pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed (apt-get install debootstrap)")
def test_commands_run_in_a_clean_debian_and_anyone_can_use_the_result(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    _bootstrap(base)
    *_, last = _stages(tmp_path, base)
    for user in ("root", "nobody"):
        assert "usage: vocseg" in last.run("vocseg --help", user)
        last.run(" && ".join(CHECKS), user)
    assert "components" in last.run("python -c 'import components; print(components.__file__)'", "nobody")
    assert last.run("ls /opt/vocseg/lib/python3.11/site-packages/pipeline/__pycache__").count(".pyc") > 5
