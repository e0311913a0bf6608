"""Beam's options: which there are, and those that a user adds. Beam itself passes over a misspelt one in silence."""

import argparse
import contextlib
import difflib
import functools
import io
import re
from collections.abc import Mapping, Sequence

from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner

from components.errors import CloudError, VocsegError
from pipeline.request import RUNNERS

_WAITING = "a step would read what the one before it has not written yet"
_CONTAINER = "workers run the container that cloud.image names, which has all that they need"
_REFUSED = {
    "no_wait_until_finish": _WAITING,
    "dry_run": "nothing would be done, and the next step would look for it; `vocseg run --dry-run` shows what would be sent",
    "template_location": "a template would be written, and nothing done",
    "dataflow_job_file": "where it goes with a template, nothing is done",
    "update": "each job is one of its own, and no running one is to be replaced",
    "transform_name_mapping": "each job is one of its own, and no running one is to be replaced",
    "create_from_snapshot": "each job is one of its own, which reads what the step before it wrote",
    "streaming": "a job would never end, and all data is there when it begins",
    "prebuild_sdk_container_engine": _CONTAINER,
    "requirements_file": _CONTAINER,
    "setup_file": _CONTAINER,
    "extra_package": _CONTAINER,
    "extra_packages": _CONTAINER,
    "worker_harness_container_image": _CONTAINER,
    "sdk_harness_container_image_overrides": _CONTAINER,
}
"""Options that break the pipeline or go past settings of ours, and why."""

_SECRET = re.compile(
    r"(?:secrets?|token|passwords?|passwd|passphrase|credentials?|signature|authorization|connection[_-]?string"
    r"|(?:access|account|api|auth|private|secret|shared)[_-]?key|(?<![a-z])(?:sig|pwd))(?![a-z])"  # Not design, tokenizer.
    r"""[\w.-]*[\\"']*\s*[:=]"""  # It names something: in an option, in JSON, in an address.
    r"|://[^/\s:@]*:(?![0-9]+/)[^\s]*@"  # Of an address, user and password, in which a / may stand; not its port.
)
_OFF = ("false", "no", "off", "0")


def parse(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns options as Beam takes them, from what `--beam` says.

    Args:
        texts: each NAME=VALUE, or a switch's NAME.

    Raises:
        VocsegError: Beam has no such option (the message offers the nearest), or the option takes no such value.
    """
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> str:
    name, separator, _ = text.partition("=")
    action = _known().get(name)
    if action is None:
        near = difflib.get_close_matches(name.replace("-", "_"), list(_known()), n=3, cutoff=0.6)
        hint = f" Did you mean {' or '.join(near)}?" if near else " Give it as NAME=VALUE, without dashes before the name."
        raise VocsegError(f"--beam: Beam has no option {name!r}.{hint}")
    if name == "runner":
        raise VocsegError(f"--beam runner=... is what --runner says: give --runner {', '.join(RUNNERS[:-1])} or {RUNNERS[-1]}.")
    if name in _REFUSED:
        raise VocsegError(f"--beam: {name} cannot be given here: {_REFUSED[name]}.")
    is_switch = action.nargs == 0
    if is_switch == bool(separator):
        how = _advice_on_switch(text) if is_switch else f"no switch: give --beam {name}=VALUE"
        raise VocsegError(f"--beam: {name} is {how}; got {mask(text)!r}.")
    _check_value(action, text)
    if action.dest == "experiments" and (old := re.search(r"\bdisable_(prime_)?runner_v2\w*", text)):
        raise VocsegError(
            f"--beam: {name}={old[0]} cannot be given here: {_CONTAINER}, and only Dataflow's Runner v2 takes one."
        )
    return f"--{text}"


def _advice_on_switch(text: str) -> str:
    """Says how to write a switch that was given a value: off is another switch, or none."""
    name, _, value = text.partition("=")
    if value.lower() not in _OFF:
        return f"a switch, which takes no value: give --beam {name}"
    action = _known()[name]
    others = [other for other, one in _known().items() if one.dest == action.dest and one.const != action.const]
    return f"a switch, which takes no value: give --beam {others[0]}" if others else "a switch, which is off: leave it out"


def mask(text: str) -> str:
    """Returns an option for eyes and logs: without its value where the option is a secret, or the value has one somewhere."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()  # AccountKey: account_key.
    return f"{text.partition('=')[0]}=***" if _SECRET.search(words) else text


def refuse_secrets(options: Sequence[str]) -> None:
    """Fails over a secret among options that will stand in a specification, or in a job's description.

    Raises:
        VocsegError: there is one; it is not in the message.
    """
    if secret := [text.removeprefix("--").partition("=")[0] for text in options if mask(text) != text]:
        raise VocsegError(
            f"--beam: {', '.join(secret)} has a secret, which would stand in the specification, and in the description of each "
            "job on Dataflow, for others to read. Give the service account that they run as the right instead."
        )


def _check_value(action: argparse.Action, text: str) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _parser().parse_args([f"--{text}"])
    except (SystemExit, ValueError) as error:
        takes = f"one of {', '.join(map(str, action.choices))}" if action.choices else "another kind of value"
        raise VocsegError(f"--beam: {text.partition('=')[0]} takes {takes}; got {mask(text)!r}.") from error


def merge(own: Sequence[str], added: Sequence[str], fixed: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Returns the options of a target with those that a user adds; an option that may be repeated keeps both.

    Args:
        own: of the target.
        added: of the user, from `parse`.
        fixed: the target's follow from the configuration, which alone may change them: what to set, by Beam's name, also for
            those that it does not say now. None: the user may say all again.

    Raises:
        VocsegError: a fixed one is said again.
    """
    said = {_action(text).dest: text for text in added if not _is_list(text)}
    again = {_action(text).dest: text for text in own if _action(text).dest in said}
    if fixed is not None and (taken := [dest for dest in said if dest in again or dest in fixed]):
        raise VocsegError("--beam: " + " ".join(_refusal(dest, again.get(dest), fixed.get(dest)) for dest in taken))
    return (*(text for text in own if text not in again.values()), *added)


def _refusal(name: str, own: str | None, field: str | None) -> str:
    says = f"the configuration says {own} already." if own else f"{name} follows from the configuration."
    return f"{says} {f'Set {field} instead.' if field else 'It cannot be changed.'}"


def check_dataflow(beam_args: Sequence[str]) -> None:
    """Fails over what Beam's own validation of Dataflow's options finds; needs no network.

    Raises:
        CloudError: see there.
    """
    options = pipeline_options.PipelineOptions([*beam_args, "--dry_run=True"])
    if errors := PipelineOptionsValidator(options, DataflowRunner()).validate():
        raise CloudError("Nothing was submitted, since Beam refuses the options:\n" + "\n".join(f"- {e}" for e in errors))


def _action(text: str) -> argparse.Action:
    return _known()[text.removeprefix("--").partition("=")[0]]


def _is_list(text: str) -> bool:
    return not isinstance(_action(text), argparse._StoreAction | argparse._StoreConstAction)


@functools.cache
def _known() -> dict[str, argparse.Action]:
    """Returns every option that Beam defines, by name, for whatever runner."""
    return {
        text.removeprefix("--"): action
        for action in _parser()._actions
        for text in action.option_strings
        if text.startswith("--") and action.dest != "help"
    }


@functools.cache
def _parser() -> argparse.ArgumentParser:
    """Returns a parser of Beam's options, without those that other packages and tests register."""
    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False)
    for kind in vars(pipeline_options).values():
        if isinstance(kind, type) and issubclass(kind, pipeline_options.PipelineOptions):
            kind._add_argparse_args(parser)  # type: ignore[attr-defined]  # Of Any, for mypy.
    return parser
