"""Jobs on Dataflow: their names, and what is said of those that a run may leave behind."""

import contextlib
import hashlib
import re
import secrets
import sys
from collections.abc import Iterator

from components.errors import VocsegError
from pipeline_config import CloudConfig, ConfigError

_LONGEST = 63
_TRY_BYTES = 3


def job_name(pipeline_name: str, run_name: str) -> str:
    """Returns what the names of a run's jobs begin with: lower-case letters, digits and -, a letter first, no - last.

    Names that differ stay different: a digest of both ends it. There is room for what `of_try` adds.
    """
    digest = hashlib.sha256(f"{pipeline_name}/{run_name}".encode()).hexdigest()[:6]
    run = re.sub(r"[^a-z0-9]+", "-", run_name.lower()).strip("-")[-24:].strip("-")
    pipeline = re.sub(r"[^a-z0-9]+", "-", pipeline_name.lower()).strip("-")
    room = _LONGEST - len(f"vocseg--{run}-{digest}") - len("-") - 2 * _TRY_BYTES
    return "-".join(part for part in ("vocseg", pipeline[:room].strip("-"), run, digest) if part)


def of_try(name: str) -> str:
    """Returns the name of one try's job: Dataflow refuses a second job of a name while the first, of a lost try, runs on."""
    return f"{name}-{secrets.token_hex(_TRY_BYTES)}"


@contextlib.contextmanager
def told_of(runner: str, cloud: CloudConfig, pipeline_name: str, run_name: str) -> Iterator[None]:
    """Says after an interrupt, or an error that is not ours, that a job that was sent to Dataflow may go on there, and cost.

    An error of ours has been told by the job itself, which has ended then.
    """
    try:
        yield
    except (VocsegError, ConfigError):
        raise
    except BaseException:
        if runner == "dataflow":
            place = f"--project {cloud.project} --region {cloud.region}"
            wanted = f"--status active --filter 'name:{job_name(pipeline_name, run_name)}-*'"
            with contextlib.suppress(OSError):
                print(
                    "A job that was sent to Dataflow may go on there, and cost, until it is cancelled:\n"
                    f"  gcloud dataflow jobs list {place} {wanted}\n"
                    f"  gcloud dataflow jobs cancel {place} JOB_ID",
                    file=sys.stderr,
                )
        raise
