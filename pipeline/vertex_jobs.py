"""What Vertex AI is asked to do: run the pipeline now, or by a schedule."""

import contextlib
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import google.api_core.exceptions
import google.auth.exceptions
from google.cloud import aiplatform

from components.errors import CloudError
from pipeline.cron import check_cron
from pipeline.targets import display_name
from pipeline.vertex import compile_job
from pipeline_config import CloudConfig, PipelineConfig


def submit(config: PipelineConfig, root: str, data: str | None, beam: Sequence[str] = ()) -> None:
    """Compiles the pipeline and lets Vertex AI run it once.

    Args:
        config: the run.
        root: a folder in a bucket.
        data: the data folder in a bucket, or None for the official data.
        beam: other options of Beam's, each NAME=VALUE or a switch's NAME.

    Raises:
        VocsegError: settings are missing or cannot be, there are no credentials, or Vertex AI refuses.
    """
    with _job(config, root, data, beam) as job:
        job.submit(service_account=config.cloud.service_account or None)
    print(f"{job.display_name} was submitted as {job.resource_name}")


def schedule(config: PipelineConfig, root: str, data: str | None, cron: str, replace: bool, beam: Sequence[str] = ()) -> None:
    """Compiles the pipeline and lets Vertex AI run it by a schedule, one run at a time.

    Args:
        config: the run.
        root: a folder in a bucket.
        data: the data folder in a bucket, or None for the official data.
        cron: when.
        replace: deletes earlier schedules of the same pipeline and root, once the new one is there.
        beam: other options of Beam's.

    Raises:
        VocsegError: the expression, or settings are missing or cannot be, there are no credentials, there is a schedule of this
            pipeline already, or Vertex AI refuses.
    """
    check_cron(cron)
    with _job(config, root, data, beam, scheduled=True) as job:
        name = schedule_name(job.display_name, root)
        earlier = _schedules(name, config.cloud)
        if earlier and not replace:
            names = ", ".join(one.resource_name for one in earlier)
            raise CloudError(f"There is a schedule {name} already: {names}. Give --replace to have it deleted.")
        made = job.create_schedule(
            cron=cron,
            display_name=name,
            max_concurrent_run_count=1,
            service_account=config.cloud.service_account or None,
        )
        print(f"{name} will run at {cron!r}: {made.resource_name}")
        for one in earlier:
            one.delete()
            print(f"deleted: {one.resource_name}")


def schedule_name(pipeline_name: str, root: str) -> str:
    """Returns what a schedule is called: one pipeline in two roots is two, of which neither replaces the other."""
    return display_name(f"{pipeline_name}-{hashlib.sha256(root.rstrip('/').encode()).hexdigest()[:6]}")


def _schedules(name: str, settings: CloudConfig) -> list[aiplatform.PipelineJobSchedule]:
    """Returns the schedules of that name that have not ended."""
    listed = aiplatform.PipelineJobSchedule.list(
        filter=f'display_name="{name}"', project=settings.project, location=settings.region
    )
    return [one for one in listed if not one.done()]


@contextlib.contextmanager
def _job(
    config: PipelineConfig, root: str, data: str | None, beam: Sequence[str], scheduled: bool = False
) -> Iterator[aiplatform.PipelineJob]:
    """Gives the compiled pipeline as a job; says in words what Vertex AI or the search for credentials raises.

    Raises:
        VocsegError: see `submit`.
    """
    compiled = compile_job(config, root, data, beam, scheduled)
    with tempfile.TemporaryDirectory(prefix="vocseg-vertex-") as folder, _in_words(config.cloud):
        template = pathlib.Path(folder) / "pipeline.json"
        template.write_text(json.dumps(compiled))
        yield aiplatform.PipelineJob(
            display_name=compiled["displayName"],
            template_path=str(template),
            project=config.cloud.project,
            location=config.cloud.region,
        )


@contextlib.contextmanager
def _in_words(settings: CloudConfig) -> Iterator[None]:
    try:
        yield
    except google.auth.exceptions.GoogleAuthError as error:
        raise CloudError(
            "There are no credentials for Google Cloud that work: run `gcloud auth application-default login`, or let "
            f"GOOGLE_APPLICATION_CREDENTIALS name a service account's key file. ({error})"
        ) from error
    except google.api_core.exceptions.GoogleAPICallError as error:
        raise CloudError(f"Vertex AI of {settings.project} in {settings.region} refused: {error.message}") from error
