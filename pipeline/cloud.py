"""What Google Cloud must be told before anything is submitted to it: settings, root and data, all complaints at once."""

import re
from collections.abc import Sequence

from components.datasets.files import is_remote
from components.errors import CloudError
from pipeline.machines import accelerator_problem
from pipeline_config import CloudConfig, PipelineConfig

_REQUIRED = {
    "project": "--project PROJECT",
    "region": "--region us-central1",
    "image": "--set cloud.image=us-docker.pkg.dev/PROJECT/vocseg/vocseg:1 (built from the Dockerfile: docs/scale.md)",
}


def check(config: PipelineConfig, root: str, data: str | None, further: Sequence[str] = ()) -> None:
    """Fails over what a run on Google Cloud lacks; needs no network.

    Args:
        config: the run; the forms of its `cloud` fields were checked when it was made.
        root: where outputs go.
        data: the data folder, or None for the official one.
        further: what else the caller found wrong.

    Raises:
        CloudError: something is missing or wrong; the message names all of it.
    """
    if wrong := [*problems(config, root, data), *further]:
        raise CloudError(
            "Nothing was submitted, since Google Cloud needs other settings:\n" + "\n".join(f"- {p}" for p in wrong)
        )


def check_vertex(config: PipelineConfig, root: str, data: str | None, scheduled: bool = False) -> None:
    """Fails over what a pipeline on Vertex AI lacks, where no step runs on this machine; needs no network.

    Args:
        config: the run.
        root: where outputs go.
        data: the data folder, or None for the official one.
        scheduled: it is to run again and again.

    Raises:
        CloudError: something is missing or wrong; the message names all of it.
    """
    further = [*embedded_problems(config, data), *training_problems(config.cloud)]
    if scheduled and config.train.warm_start:
        further.append(
            "A schedule cannot start from an earlier model: Vertex AI would look for the newest blessed one in the whole "
            "project, whatever its architecture. Leave train.warm_start out, or retrain from here: vocseg retrain."
        )
    check(config, root, data, further)


def problems(config: PipelineConfig, root: str, data: str | None) -> list[str]:
    """Returns what `check` complains of, a sentence each."""
    found = [f"cloud.{name} is missing: give {how}." for name, how in _REQUIRED.items() if not getattr(config.cloud, name)]
    if why := address_problem(root):
        found.append(f"--root must be a folder in a bucket, as gs://BUCKET/PATH; got {root!r}: {why}.")
    elif not root.removeprefix("gs://").rstrip("/").partition("/")[2]:
        found.append(f"--root must be a folder in a bucket, as gs://BUCKET/PATH; got {root!r}: it has no PATH.")
    if data == "":
        found.append("--data is empty: give gs://..., or leave it out for the official data.")
    elif data and not is_remote(data):
        found.append(
            f"--data is on this machine, where no worker can read it: copy it to a bucket and give gs://...; got {data!r}."
        )
    elif data and (why := address_problem(data)):
        found.append(f"--data must be a folder in a bucket, as gs://BUCKET/PATH; got {data!r}: {why}.")
    return found


def embedded_problems(config: PipelineConfig, data: str | None) -> list[str]:
    """Returns what is wrong with embedded data where no step runs on this machine, which would write it to the root."""
    if data or not config.data.embedded:
        return []
    return [f"The embedded data of {config.preset} is written by `vocseg run`, which does not run there: give --data gs://..."]


def training_problems(cloud: CloudConfig) -> list[str]:
    """Returns what is wrong with the Trainer's machines on Vertex AI."""
    found = []
    if cloud.accelerator and not cloud.trainer_image:
        found.append(
            f"cloud.trainer_image is missing: cloud.accelerator={cloud.accelerator} needs the container with the CUDA lock "
            "(docker build --build-arg LOCK=requirements-gpu.txt; docs/scale.md). That of the other steps sees no GPU."
        )
    if why := accelerator_problem(cloud.trainer_machine, cloud.accelerator, cloud.accelerator_count):
        given = f"{cloud.accelerator!r} and {cloud.accelerator_count}"
        found.append(f"cloud.accelerator and cloud.accelerator_count do not go with cloud.trainer_machine: {why}; got {given}.")
    return found


def address_problem(address: str) -> str:
    """Returns why something is no folder in Google's Cloud Storage, or ""."""
    if not address.startswith("gs://"):
        return "it does not begin with gs://"
    bucket, _, path = address.removeprefix("gs://").rstrip("/").partition("/")
    if why := bucket_problem(bucket):
        return why
    if re.search(r"[#*?\[\]\s]", path):
        return "its path has one of # * ? [ ] or a space"
    return "its path has an empty part" if "//" in f"/{path}" else ""


def bucket_problem(bucket: str) -> str:
    """Returns which of Google's rules for names of buckets one breaks, or ""."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*[a-z0-9]", bucket):
        return f"the bucket's name {bucket!r} has other than lower-case letters, digits, -, _ and ., or - _ . at an end"
    parts = bucket.split(".")
    if not 3 <= len(bucket) <= (63 if len(parts) == 1 else 222) or not all(1 <= len(part) <= 63 for part in parts):
        return f"the bucket's name {bucket!r} must have 3 to 63 characters (222 with dots, 1 to 63 between them)"
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", bucket):
        return f"the bucket's name {bucket!r} is an IP address"
    if bucket.startswith("goog") or "google" in bucket:
        return f"the bucket's name {bucket!r} begins with goog, or contains google"
    return ""
