"""The templates in deploy/: what systemd and a shell think of them, and that their commands are ours."""

import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from pipeline.cli import _parser

DEPLOY = pathlib.Path(__file__).parents[1] / "deploy"
GUIDE = DEPLOY.parent / "docs" / "retraining.md"
PROGRAM = "/opt/vocseg/.venv/bin/vocseg"


def _verify(folder: pathlib.Path, change: tuple[str, str] = ("", "")) -> str:
    """Returns what systemd has to say of the service and the timer, with a program that exists here."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    for path in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")):
        text = path.read_text().replace(PROGRAM, "/bin/true")
        (folder / path.name).write_text(text.replace(*change) if all(change) else text)
    files = [str(folder / f"vocseg-retrain.{kind}") for kind in ("service", "timer")]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


def test_systemd_accepts_service_and_timer(tmp_path: pathlib.Path) -> None:
    assert _verify(tmp_path) == ""


def test_systemd_tells_a_misspelt_setting(tmp_path: pathlib.Path) -> None:
    assert "Unknown key" in _verify(tmp_path, ("ProtectSystem=", "ProtectSistem="))


def test_service_takes_what_is_no_fault_as_success() -> None:
    assert re.search(r"^SuccessExitStatus=3 4 130$", (DEPLOY / "vocseg-retrain.service").read_text(), re.MULTILINE)


def _commands() -> dict[str, str]:
    """Returns the arguments of our program in each template, and in the guide."""
    service = (DEPLOY / "vocseg-retrain.service").read_text()
    cron = (DEPLOY / "vocseg-retrain.cron").read_text()
    [of_service] = re.findall(rf"^ExecStart={PROGRAM} (.*)$", service, re.MULTILINE)
    [of_cron] = re.findall(rf"{PROGRAM} (.*?) >>", cron)
    [of_guide, *_] = re.findall(r"^```sh\nvocseg (.*)\n```$", GUIDE.read_text(), re.MULTILINE)
    return {"service": of_service, "cron": of_cron, "guide": of_guide}


def test_commands_of_templates_and_guide_are_the_same() -> None:
    parsed = [vars(_parser().parse_args(shlex.split(command))) for command in _commands().values()]
    assert parsed[0] == parsed[1] == parsed[2]


@pytest.mark.parametrize("name", ["service", "cron", "guide"])
def test_command_is_one_of_ours(name: str) -> None:
    arguments = _parser().parse_args(shlex.split(_commands()[name]))
    assert (arguments.preset, arguments.span, arguments.keep, arguments.warm_start) == ("voc2007", "last:4", 5, True)
    assert arguments.data == "/srv/vocseg/data/span-{SPAN}" and arguments.root == "/srv/vocseg/output"


@pytest.mark.parametrize(("code", "told"), [(0, ""), (3, ""), (4, ""), (1, "vocseg retrain ended with 1\nwhy\n")])
def test_cron_tells_of_failures_only(tmp_path: pathlib.Path, code: int, told: str) -> None:
    """The line's command, run by a shell with another program in the place of ours."""
    [line] = [line for line in (DEPLOY / "vocseg-retrain.cron").read_text().splitlines() if re.match(r"\d", line)]
    assert "%" not in line  # Cron would make a line's end of it.
    schedule, command = line.split(" vocseg ", 1)
    assert len(schedule.split()) == 5
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{{}}'\necho why >&2\nexit {code}\n")
    program.chmod(0o755)
    command = command.replace(PROGRAM, str(program)).replace("cd /srv/vocseg", f"cd {tmp_path}")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (told, "")
    assert (tmp_path / "retrain.jsonl").read_text() == "{}\n"
