"""The checks at the beginning of a training job of Vertex AI, on what the compiled pipeline gives it."""

from typing import Any
from unittest import mock

import pytest

from components import training_job
from components.code_digest import code_digest
from components.errors import TrainingError
from pipeline import targets
from pipeline_config import CloudConfig

GPUS = CloudConfig(trainer_machine="n1-standard-8", accelerator="NVIDIA_TESLA_T4", accelerator_count=2, trainer_hosts=3)
DIGEST = code_digest("components.trainer", "components.models.unet")


def _custom_config(cloud: CloudConfig, digest: str = DIGEST) -> dict[str, Any]:
    job = {"project": "pictures-1", "job_spec": targets.training_job(cloud)}
    return {"code_digest": digest, "ai_platform_training_args": job}


def _visible(count: int) -> Any:
    return mock.patch("tensorflow.config.list_physical_devices", return_value=["GPU"] * count)


@pytest.mark.parametrize("visible", [0, 1])
def test_training_without_the_gpus_that_were_asked_for_is_refused(visible: int) -> None:
    with (
        _visible(visible),
        pytest.raises(TrainingError, match=rf"2 GPUs were asked for .* sees {visible}\. .*requirements-gpu"),
    ):
        training_job.check(_custom_config(GPUS), "unet")


@pytest.mark.parametrize(("cloud", "visible"), [(GPUS, 2), (GPUS, 4), (CloudConfig(), 0)])
def test_job_with_its_gpus_and_code_passes(cloud: CloudConfig, visible: int) -> None:
    with _visible(visible):
        training_job.check(_custom_config(cloud), "unet")


def test_container_of_other_code_is_refused() -> None:
    with _visible(2), pytest.raises(TrainingError, match="other code or libraries .*0123"):
        training_job.check(_custom_config(GPUS, "0123"), "unet")


def test_training_that_is_no_job_is_not_checked() -> None:
    training_job.check({"code_digest": "other"}, "unet")
