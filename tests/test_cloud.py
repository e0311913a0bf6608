"""The forms of the cloud's settings, and all that a run there lacks, at once."""

import dataclasses

import pytest

from components.errors import CloudError
from pipeline import cloud
from pipeline_config import CloudConfig, ConfigError, PipelineConfig, preset

COMPLETE = {"project": "pictures-1", "region": "us-central1", "image": "us-docker.pkg.dev/pictures-1/vocseg/vocseg:1"}


def _config(name: str = "voc2007", **settings: str) -> PipelineConfig:
    return dataclasses.replace(preset(name), cloud=CloudConfig(**settings))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project", "abc123"),
        ("project", "a" * 30),
        ("project", "example.com:pictures"),
        ("region", "us-central1"),
        ("region", "northamerica-northeast2"),
        ("region", "europe-west12"),
        ("image", "gcr.io/p/vocseg"),
        ("image", "localhost:5000/a/b__c:1.0_x"),
        ("image", "us-docker.pkg.dev/example.com/p/r/i@sha256:" + "0123456789abcdef" * 4),
        ("trainer_image", "us-docker.pkg.dev/p/r/vocseg:1-gpu"),
        ("service_account", "123-compute@developer.gserviceaccount.com"),
        ("service_account", "t@p-1.example.com.iam.gserviceaccount.com"),
        ("network", "regions/us-central1/subnetworks/default"),
        ("network", "https://www.googleapis.com/compute/v1/projects/host-1/regions/us-east1/subnetworks/a-1"),
        ("beam_machine", "n2-custom-4-8192-ext"),
        ("trainer_machine", "a3-megagpu-8g"),
    ],
)
def test_name_in_a_form_that_google_takes_is_taken(field: str, value: str) -> None:
    assert getattr(CloudConfig(**{field: value}), field) == value


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("project", "short", "6 to 30"),
        ("project", "a" * 31, "6 to 30"),
        ("project", "My Project", "not its name"),
        ("project", "123456789012", "not its name or number"),
        ("project", "pictures-", "no - last"),
        ("project", "pictures\n", "6 to 30"),
        ("region", "us-central1-a", "us-central1-a is a zone"),
        ("region", "US", "for instance us-central1"),
        ("image", "https://gcr.io/p/i", "as docker names it"),
        ("image", "gcr.io/P/Image", "as docker names it"),
        ("image", "gcr.io/p/i:", "as docker names it"),
        ("trainer_image", "gcr.io/p/i@sha256:12", "as docker names it"),
        ("service_account", "ada@example.com", "service account's e-mail"),
        ("network", "default", "regions/REGION/subnetworks/NAME"),
        ("beam_machine", "large", "n1-standard-4"),
        ("beam_machine", "", "must not be empty"),
        ("trainer_machine", "", "must not be empty"),
        ("trainer_machine", "zones/x/machineTypes/n1-standard-4", "n1-standard-4"),
    ],
)
def test_name_in_another_form_is_refused_with_what_is_expected(field: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"cloud.{field} .*{expected}"):
        CloudConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "least"), [("beam_workers", 1), ("beam_disk_gb", 30), ("trainer_hosts", 1), ("accelerator_count", 0)]
)
def test_count_below_the_least_is_refused(field: str, least: int) -> None:
    assert getattr(CloudConfig(**{field: least}), field) == least
    with pytest.raises(ConfigError, match=f"cloud.{field} must be at least {least}; got {least - 1}"):
        CloudConfig(**{field: least - 1})


@pytest.mark.parametrize("settings", [{"accelerator": "NVIDIA_L4"}, {"accelerator_count": 2}])
def test_accelerator_and_its_count_go_together(settings: dict[str, str | int]) -> None:
    with pytest.raises(ConfigError, match="go together, for instance NVIDIA_L4 and 1"):
        CloudConfig(**settings)


def test_subnetwork_lies_in_the_region() -> None:
    with pytest.raises(ConfigError, match="another region than cloud.region: .*'us-east1'"):
        CloudConfig(region="us-east1", network="regions/us-central1/subnetworks/default")
    assert CloudConfig(region="us-east1", network="regions/us-east1/subnetworks/default").region == "us-east1"


@pytest.mark.parametrize("data", [None, "gs://pictures/quarry", "gs://pictures/span-{SPAN}"])
def test_complete_settings_pass(data: str | None) -> None:
    cloud.check(_config(**COMPLETE), "gs://pictures/vocseg", data)


def test_all_that_is_missing_or_wrong_is_named_at_once() -> None:
    with pytest.raises(CloudError) as error:
        further = cloud.embedded_problems(_config("mini"), None)
        cloud.check(_config("mini"), "output", None, [*further, "The moon is full."])
    lines = str(error.value).splitlines()
    assert lines[0].startswith("Nothing was submitted")
    words = [
        "project is missing",
        "region is missing",
        "image is missing",
        "--root must be",
        "embedded data of mini",
        "The moon",
    ]
    assert len(lines) == 7 and all(word in line for word, line in zip(words, lines[1:], strict=True))


@pytest.mark.parametrize("name", COMPLETE)
def test_each_setting_that_is_missing_is_named_alone(name: str) -> None:
    [problem] = cloud.problems(_config(**(COMPLETE | {name: ""})), "gs://pictures/vocseg", None)
    assert problem.startswith(f"cloud.{name} is missing: give --")


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("output", "does not begin with gs://"),
        ("s3://bucket/x", "does not begin with gs://"),
        ("gs://pictures", "has no PATH"),
        ("gs://pictures/", "has no PATH"),
        ("gs://Pictures/x", "lower-case"),
        ("gs:///x", "lower-case"),
        ("gs://-abc/x", "at an end"),
        ("gs://ab/x", "3 to 63"),
        (f"gs://{'a' * 64}/x", "3 to 63"),
        (f"gs://{'a' * 64}.b/x", "3 to 63"),
        ("gs://a..b/x", "1 to 63 between them"),
        ("gs://192.168.5.4/x", "IP address"),
        ("gs://goog-pictures/x", "begins with goog"),
        ("gs://my-google-pictures/x", "contains google"),
        ("gs://pictures/a*", "one of"),
        ("gs://pictures/a b", "a space"),
        ("gs://pictures//a", "empty part"),
        ("gs://pictures/a//b", "empty part"),
    ],
)
def test_root_that_is_no_folder_in_a_bucket_is_refused_with_the_reason(root: str, why: str) -> None:
    [problem] = cloud.problems(_config(**COMPLETE), root, None)
    assert problem.startswith("--root must be") and why in problem


@pytest.mark.parametrize(
    "root", ["gs://a_b-1/x", "gs://example.com/x/y/", f"gs://{'a' * 63}/x", f"gs://{'a' * 63}.{'b' * 63}/x"]
)
def test_root_in_a_bucket_with_a_good_name_is_taken(root: str) -> None:
    assert cloud.problems(_config(**COMPLETE), root, None) == []


@pytest.mark.parametrize(
    ("data", "why"),
    [("", "is empty"), ("quarry", "on this machine"), ("hdfs://host/x", "does not begin"), ("gs://P/x", "lower-case")],
)
def test_data_that_no_worker_can_read_is_refused(data: str, why: str) -> None:
    [problem] = cloud.problems(_config(**COMPLETE), "gs://pictures/vocseg", data)
    assert problem.startswith("--data") and why in problem
