"""The pipeline as Vertex AI gets it: compiled without credentials, read by KFP's own messages, and its steps run here."""

import contextlib
import copy
import dataclasses
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import google.api_core.exceptions
import google.auth.exceptions
import pytest
from fake_vertex import FakeVertex
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components import Trainer
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils

from components import code_digest
from components.blessings import BLESSED
from components.datasets import registry
from components.datasets.fake_voc import write_fake_voc
from components.errors import CloudError, VocsegError
from pipeline import cli, cloud, targets, vertex, vertex_driver, vertex_jobs
from pipeline_config import override, preset

ROOT = pathlib.Path(vertex.__file__).parents[1]
GOLDEN = pathlib.Path(__file__).with_name("vertex_golden.json")
IMAGE = "us-central1-docker.pkg.dev/my-project/vocseg/vocseg:1"
CUDA_IMAGE = "us-central1-docker.pkg.dev/my-project/vocseg/vocseg-cuda:1"
ACCOUNT = "trainer@my-project.iam.gserviceaccount.com"
SETTINGS = {
    "cloud.project": "my-project",
    "cloud.region": "us-central1",
    "cloud.image": IMAGE,
    "cloud.trainer_image": CUDA_IMAGE,
    "cloud.service_account": ACCOUNT,
}
BUCKET = "gs://bucket/path"
CONFIG = override(preset("voc2007_gpu"), SETTINGS)
ARGUMENTS = [
    *("--preset", "voc2007_gpu", "--project", "my-project", "--region", "us-central1", "--service-account", ACCOUNT),
    *("--set", f"cloud.image={IMAGE}", "--set", f"cloud.trainer_image={CUDA_IMAGE}", "--root", BUCKET),
]
NAME = "voc2007_gpu.voc2007-9afd50"
"""Of its schedule: with a digest of the root."""
Job = dict[str, Any]


@pytest.fixture(scope="module")
def job() -> Job:
    return vertex.compile_job(CONFIG, BUCKET, None)


def _executors(job: Job) -> dict[str, Any]:
    return job["pipelineSpec"]["deploymentSpec"]["executors"]


def _containers(job: Job) -> dict[str, Any]:
    return {name.removesuffix("_executor"): one["container"] for name, one in _executors(job).items() if "container" in one}


def _parameters(job: Job, task: str) -> dict[str, Any]:
    given = job["pipelineSpec"]["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
    return {name: one["runtimeValue"]["constant"] for name, one in given.items()}


def _pools(job: Job) -> list[dict[str, Any]]:
    return json.loads(_parameters(job, "Trainer")["custom_config"])["ai_platform_training_args"]["job_spec"][
        "worker_pool_specs"
    ]


# The specification.


def test_it_parses_into_kfps_own_messages(job: Job) -> None:
    parsed = json_format.ParseDict(job, pipeline_spec_pb2.PipelineJob())
    spec = json_format.ParseDict(job["pipelineSpec"], pipeline_spec_pb2.PipelineSpec())
    deployment = json_format.ParseDict(job["pipelineSpec"]["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    assert parsed.runtime_config.gcs_output_directory == f"{BUCKET}/artifacts/voc2007_gpu.voc2007"
    assert spec.schema_version == "2.1.0"
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,112}", spec.pipeline_info.name)
    assert set(spec.components) == {task.component_ref.name for task in spec.root.dag.tasks.values()}
    assert {component.executor_label for component in spec.components.values()} == set(deployment.executors)


def test_gpu_machine_and_containers_are_as_configured(job: Job) -> None:
    assert _pools(job) == [
        {
            "machine_spec": {"machine_type": "g2-standard-12", "accelerator_type": "NVIDIA_L4", "accelerator_count": 1},
            "replica_count": 1,
            "container_spec": {"image_uri": CUDA_IMAGE},
        }
    ]
    containers = _containers(job)
    assert len(containers) == 12
    assert {one["image"] for one in containers.values()} == {IMAGE}
    sent = json.loads(_parameters(job, "Trainer")["custom_config"])
    assert sent["ai_platform_enable_vertex"] is True
    assert sent["ai_platform_vertex_region"] == "us-central1"
    assert sent["ai_platform_training_args"]["project"] == "my-project"
    assert sent["ai_platform_training_args"]["job_spec"]["service_account"] == ACCOUNT


BEAM_STEPS = ("ExampleGen", "StatisticsGen", "Transform", "Evaluator")


def test_only_steps_on_beam_have_beams_options(job: Job) -> None:
    """Else a change of Beam's machines would be one of every step's command, which Vertex AI's cache looks at."""
    with_options = {name for name, one in _containers(job).items() if any("--runner" in word for word in one["args"])}
    assert with_options == set(BEAM_STEPS)
    check = _containers(job)["ExampleGen"]["lifecycle"]["preCacheCheck"]["args"]
    assert not any("--runner" in word for word in check)


@pytest.mark.parametrize("step", BEAM_STEPS)
def test_beams_work_goes_to_dataflow(job: Job, step: str) -> None:
    arguments = _containers(job)[step]["args"]
    assert {"--runner=DataflowRunner", "--project=my-project", "--region=us-central1"} <= set(arguments)
    assert f"--sdk_container_image={IMAGE}" in arguments


def test_what_the_containers_run_can_be_imported(job: Job) -> None:
    containers = _containers(job)
    paths = {name: one["args"][one["args"].index("--executor_class_path") + 1] for name, one in containers.items()}
    functions = [_parameters(job, "Trainer")["run_fn"], _parameters(job, "Transform")["preprocessing_fn"]]
    for path in (*paths.values(), *functions):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    for command in ({*one["command"][1:]} for one in containers.values()):
        assert command == {"-m", "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"}
    assert paths["Trainer"] == "tfx.extensions.google_cloud_ai_platform.trainer.executor.GenericExecutor"
    assert paths["ExampleGen"] == "components.example_gen.Executor"


def test_digest_of_the_image_covers_all_of_ours_that_its_containers_run(job: Job) -> None:
    covered = code_digest._closure(vertex_driver._STEPS)
    containers = _containers(job).values()
    modules = {one["args"][one["args"].index("--executor_class_path") + 1].rpartition(".")[0] for one in containers}
    modules |= {one["lifecycle"]["preCacheCheck"]["command"][2] for one in containers if "lifecycle" in one}
    modules |= {_parameters(job, "Trainer")["run_fn"].rpartition(".")[0]}
    modules |= {_parameters(job, "Transform")["preprocessing_fn"].rpartition(".")[0]}
    assert {name for name in modules if not name.startswith("tfx.")} - covered == set()
    assert len(modules & covered) >= 7
    assert {f"components.datasets.{name}.builder" for name in registry.BUILT_IN} <= covered


def test_our_artifact_types_can_be_imported_by_the_names_that_executors_get(job: Job) -> None:
    kinds = {
        key: pipeline_spec_pb2.ArtifactTypeSchema(instance_schema=one["artifactType"]["instanceSchema"])
        for component in job["pipelineSpec"]["components"].values()
        for key, one in component.get("outputDefinitions", {}).get("artifacts", {}).items()
        if "title: tfx." not in one["artifactType"]["instanceSchema"]
    }
    runtime = {
        key: pipeline_spec_pb2.ArtifactList(artifacts=[pipeline_spec_pb2.RuntimeArtifact(type=kind, uri="/u")])
        for key, kind in kinds.items()
    }
    found = kubeflow_v2_entrypoint_utils.parse_raw_artifact_dict(runtime)
    # Under the names by which a metadata store of another runner knows them, which the compilation leaves as they are.
    assert {artifact.TYPE_NAME for [artifact] in found.values()} == {"Quarantine", "DataReport", "DataBlessing", "ModelCard"}


def test_added_options_of_beams_reach_the_steps_on_beam() -> None:
    compiled = vertex.compile_job(CONFIG, BUCKET, None, ["num_workers=3", "labels=team=a"])
    assert all({"--num_workers=3", "--labels=team=a"} <= set(_containers(compiled)[step]["args"]) for step in BEAM_STEPS)


@pytest.mark.parametrize(
    ("beam", "words"),
    [
        ("num_worker=3", "Did you mean num_workers"),
        ("region=us-east1", "configuration says --region=us-central1 already. Set cloud.region instead"),
        ("job_name=mine", "job_name follows from the configuration. It cannot be changed"),
        ("streaming", "streaming cannot be given here"),
        ("s3_secret_access_key=abc", "s3_secret_access_key has a secret"),
    ],
)
def test_added_option_that_cannot_be_is_refused(beam: str, words: str) -> None:
    with pytest.raises(VocsegError, match=words) as error:
        vertex.compile_job(CONFIG, BUCKET, None, [beam])
    assert "abc" not in str(error.value)


# The data's digest, and the image's.


def test_a_driver_of_ours_runs_before_the_cache_is_asked(job: Job) -> None:
    containers = _containers(job)
    assert [name for name, one in containers.items() if "lifecycle" in one] == ["ExampleGen"]
    check = containers["ExampleGen"]["lifecycle"]["preCacheCheck"]
    assert check["command"] == ["python", "-m", "pipeline.vertex_driver"]
    assert check["args"][:3] == ["--json_serialized_invocation_args", "{{$}}", "--json_serialized_inputs_spec_args"]
    assert json.loads(check["args"][3]) == job["pipelineSpec"]["components"]["ExampleGen"]["inputDefinitions"]
    assert check["args"][4:] == ["--code_digest", vertex_driver.image_digest()]


def test_image_of_other_code_is_refused_before_anything_runs(job: Job) -> None:
    arguments = _containers(job)["ExampleGen"]["lifecycle"]["preCacheCheck"]["args"]
    with pytest.raises(CloudError, match=r"other code or other libraries .*\(ffffffffffff\).*new tag"):
        vertex_driver.main([*arguments[:5], "f" * 64])


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Lets everything that a compiled pipeline would do in the cloud happen here."""
    real = targets.vertex

    def here(*arguments: Any) -> targets.Target:
        local = {"beam_args": targets.LOCAL_BEAM_ARGS, "trainer": Trainer, "trainer_settings": {}}
        return dataclasses.replace(real(*arguments), **local)

    with mock.patch.object(targets, "vertex", here), mock.patch.object(cloud, "check_vertex"):
        yield


def _only(job: Job, task: str) -> Job:
    """Returns the job with one of its tasks alone."""
    alone = copy.deepcopy(job)
    tasks = alone["pipelineSpec"]["root"]["dag"]["tasks"]
    alone["pipelineSpec"]["root"]["dag"]["tasks"] = {task: tasks[task]}
    return alone


MINI = override(preset("mini"), SETTINGS | {"data.spec": "voc2007"})


def test_a_compiled_pipeline_sees_new_data(tmp_path: pathlib.Path) -> None:
    """The digest is the driver's, at run time; compiled in, it would let a schedule answer from the cache for ever."""
    data = tmp_path / "data"
    voc = write_fake_voc(data, split_sizes={"train": 3, "val": 2, "test": 2})
    machine = FakeVertex(tmp_path / "tasks")
    machine.folder.mkdir()
    with _on_this_machine():
        compiled = vertex.compile_job(MINI, str(tmp_path / "root"), str(data))
        assert machine.run(_only(compiled, "ExampleGen")) == {"ExampleGen": "run"}
        first = {one["name"].rpartition("-")[2]: one for one in machine.artifacts}
        assert len(first["examples"]["metadata"]["data_digest"]) == 64
        assert json.loads(first["examples"]["metadata"]["split_names"]) == ["train", "eval", "test"]
        assert sum(len(list(pathlib.Path(first["examples"]["uri"]).glob(f"Split-{s}/*.gz"))) for s in ("train", "eval")) >= 2
        assert json.loads(pathlib.Path(first["report"]["uri"], "report.json").read_text())["dataset"] == "voc2007"

        picture = sorted((voc / "JPEGImages").iterdir())[0]
        picture.write_bytes(picture.read_bytes() + b"\0")  # A byte behind the end, which no decoder minds.
        assert vertex.compile_job(MINI, str(tmp_path / "root"), str(data)) == compiled
        with mock.patch("fake_vertex._run", _drive_only):
            with pytest.raises(_ExecutorAskedError) as asked:
                machine.run(_only(compiled, "ExampleGen"))
    assert asked.value.data_digest != first["examples"]["metadata"]["data_digest"]


class _ExecutorAskedError(Exception):
    def __init__(self, data_digest: str) -> None:
        self.data_digest = data_digest


def _drive_only(command: dict[str, Any], executor_input: dict[str, Any], folder: pathlib.Path) -> None:
    """Runs the driver in this process; raises where the executor would have come."""
    from pipeline import vertex_driver

    written = pathlib.Path(executor_input["outputs"]["outputFile"])
    if written.exists():
        raise _ExecutorAskedError(json.loads(written.read_text())["parameterValues"]["data_digest"])
    vertex_driver.main([json.dumps(executor_input) if word == "{{$}}" else word for word in command["args"]])


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_compiled_steps_run_and_hand_on_what_the_next_ones_need(tmp_path: pathlib.Path) -> None:
    """Each as a process, with the command and the inputs that Vertex AI would give it; the Trainer trains in its own."""
    data = tmp_path / "data"
    voc = write_fake_voc(data, split_sizes={"train": 24, "val": 21, "test": 21})
    blessing = {"evaluate.min_mean_iou": "0", "evaluate.beat_constant": "false", "evaluate.max_mean_iou_drop": "1"}
    config = override(MINI, blessing | {"evaluate.max_iou_drop": "1", "train.epochs": "2", "data.max_drift": "1"})
    machine = FakeVertex(tmp_path / "tasks")
    machine.folder.mkdir()
    with _on_this_machine():
        compiled = vertex.compile_job(config, str(tmp_path / "root"), str(data))
    steps = {name for name in compiled["pipelineSpec"]["root"]["dag"]["tasks"] if "aseline" not in name}
    states = machine.run(compiled)
    assert {name for name, state in states.items() if state == "run"} == steps
    assert machine.newest("Evaluator-blessing")["metadata"][BLESSED] == 1
    assert machine.newest("ServingCheck-blessing")["metadata"][BLESSED] == 1
    assert machine.newest("Pusher-pushed_model")["metadata"]["pushed"] == 1
    [version] = _versions(tmp_path)

    again = machine.run(compiled)  # The baseline is now the candidate itself, and so are the data.
    assert {name for name, state in again.items() if state == "run"} == {
        *("DistributionValidator", "DataGate", "Evaluator", "ModelCardGen", "ServingCheck", "Pusher")
    }
    assert _versions(tmp_path) == [version]
    blessed = machine.newest("Evaluator-blessing")["metadata"]
    assert blessed["baseline_model_id"] == blessed["current_model_id"]

    picture = sorted((voc / "JPEGImages").iterdir())[0]
    picture.write_bytes(picture.read_bytes() + b"\0")
    third = machine.run(compiled)
    assert {name for name, state in third.items() if state == "run"} == steps - {"SchemaGen"}


def _versions(folder: pathlib.Path) -> list[str]:
    return [path.name for path in sorted((folder / "root" / "models").glob("*/[0-9]*"))]


# The same for the same.


def test_it_is_the_same_elsewhere_without_credentials_or_network(job: Job, tmp_path: pathlib.Path) -> None:
    """From another folder, as another user without a home, with another order of hashes, and with sockets that raise."""
    code = (
        "import socket, sys\n"
        "def refuse(*arguments): raise AssertionError(f'the network was used: {arguments}')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from pipeline.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "HOME": str(tmp_path / "none")}
    command = [sys.executable, "-c", code, "compile", "--target", "vertex", *ARGUMENTS, "--output", "job.json"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "job.json: the pipeline for Vertex AI in my-project, us-central1\n"
    assert ended.stderr == ""
    assert json.loads((tmp_path / "job.json").read_text()) == job


def _normal_word(word: str) -> str:
    """Returns a word of a command without the declared inputs and the code's digest."""
    return "<inputs>" if word.startswith("{\n") else re.sub(r"^[0-9a-f]{64}$", "<digest>", word)


def _normal(value: Any, name: str = "") -> Any:
    """Returns a specification without what changes with code, configuration or libraries, which other tests look at."""
    if name in ("code_digest", "trainer_code_digest", "trainer_digest", "encoder_weights", "trainer", "schema_text"):
        return f"<{name}>"
    if name in ("spec", "config", "settings", "check", "words", "transform"):
        return f"<{name}>"
    if name in ("sdkVersion", "tfx_version", "tfx_py_version"):
        return f"<{name}>"
    if name == "instanceSchema":
        return value.splitlines()[0]
    if isinstance(value, dict):
        if "runtimeValue" in value:  # A parameter of a task: by its own name.
            return _normal(value["runtimeValue"]["constant"], name)
        return {key: _normal(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [_normal_word(one) if isinstance(one, str) else _normal(one) for one in value]
    if isinstance(value, str) and value.startswith("{") and not value.startswith("{{"):
        return _normal(json.loads(value))
    return value


def test_it_is_the_golden_file(job: Job) -> None:
    """To renew it after a change that was meant: VOCSEG_RENEW_GOLDEN=1 pytest tests/test_vertex.py -k golden; read the diff."""
    text = json.dumps(_normal(job), indent=1, sort_keys=True) + "\n"
    if os.environ.get("VOCSEG_RENEW_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


# What is refused.


@pytest.mark.parametrize(
    ("change", "root", "data", "complaint"),
    [
        ({"cloud.project": ""}, BUCKET, None, "cloud.project is missing"),
        ({"cloud.region": ""}, BUCKET, None, "cloud.region is missing"),
        ({"cloud.image": ""}, BUCKET, None, "cloud.image is missing"),
        ({}, "output", None, "--root must be a folder in a bucket"),
        ({"cloud.trainer_image": ""}, BUCKET, None, "cloud.trainer_image is missing"),
        ({"cloud.accelerator_count": "2"}, BUCKET, None, "g2-standard-12 comes with NVIDIA_L4 times 1"),
        ({"data.embedded": "true"}, BUCKET, None, "The embedded data of"),
        ({}, BUCKET, "/data/voc", "--data is on this machine"),
        ({"data.span": "last:2"}, BUCKET, "gs://bucket/data", "needs {SPAN}"),
        ({"data.spec": "no_such"}, BUCKET, "gs://bucket/data", "There is no description 'no_such'"),
    ],
)
def test_settings_are_checked_first(change: dict[str, str], root: str, data: str | None, complaint: str) -> None:
    with mock.patch("google.cloud.aiplatform.PipelineJob", side_effect=AssertionError("contacted")):
        for ask in (vertex.compile_job, vertex_jobs.submit):
            with pytest.raises(VocsegError, match=re.escape(complaint)):
                ask(override(CONFIG, change), root, data)


def test_description_in_a_bucket_that_cannot_be_read_must_be_given() -> None:
    with mock.patch("pipeline.vertex.find_spec", side_effect=PermissionError(13, "denied", "gs://bucket/data/vocseg.toml")):
        with pytest.raises(CloudError, match=r"cannot be read from gs://bucket/data: .*denied.*\n.*--spec FILE\.toml"):
            vertex.compile_job(CONFIG, BUCKET, "gs://bucket/data")


def test_data_in_a_bucket_needs_no_look_where_it_is_described() -> None:
    compiled = vertex.compile_job(override(CONFIG, {"data.spec": "voc2007"}), BUCKET, "gs://other/data/span-{SPAN}")
    parameters = _parameters(compiled, "ExampleGen")
    assert parameters["source"] == "gs://other/data/span-{SPAN}"
    assert parameters["work_dir"] == f"{BUCKET}/data"
    assert "data_digest" not in parameters


def test_output_that_cannot_be_written_is_refused_at_once(capsys: pytest.CaptureFixture) -> None:
    with mock.patch("pipeline.vertex.compile_job", side_effect=AssertionError("compiled")):
        assert cli.main(["compile", "--target", "vertex", *ARGUMENTS, "--output", "/no/such/folder/job.json"]) == 1
    assert "--output: /no/such/folder/job.json cannot be written" in capsys.readouterr().err


# Submitted and scheduled. Vertex AI's client is the boundary.


@dataclasses.dataclass
class _Schedule:
    resource_name: str
    ended: bool = False
    deleted: bool = False

    def done(self) -> bool:
        return self.ended

    def delete(self) -> None:
        self.deleted = True


@pytest.fixture
def client(job: Job) -> Iterator[mock.Mock]:
    """Vertex AI's client; what it was given as a template is kept in `sent`."""
    client = mock.Mock()
    client.PipelineJobSchedule.list.return_value = []

    def make(**arguments: Any) -> mock.Mock:
        client.sent = json.loads(pathlib.Path(arguments["template_path"]).read_text())
        client.arguments = arguments
        client.job.display_name, client.job.resource_name = arguments["display_name"], "projects/1/pipelineJobs/j"
        client.job.create_schedule.return_value.resource_name = "projects/1/schedules/new"
        return client.job

    client.PipelineJob = make
    with mock.patch.object(vertex_jobs, "aiplatform", client), mock.patch.object(vertex_jobs, "compile_job", return_value=job):
        yield client


def test_submit_sends_what_compile_writes(client: mock.Mock, job: Job, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["submit", *ARGUMENTS]) == 0
    assert client.sent == job
    assert (client.arguments["project"], client.arguments["location"]) == ("my-project", "us-central1")
    client.job.submit.assert_called_once_with(service_account=ACCOUNT)
    assert capsys.readouterr().out == "voc2007_gpu.voc2007 was submitted as projects/1/pipelineJobs/j\n"


def test_schedule_is_made_as_asked_for(client: mock.Mock, job: Job, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["schedule", "--cron", "0 3 * * 1", *ARGUMENTS]) == 0
    assert client.sent == job
    client.job.create_schedule.assert_called_once_with(
        cron="0 3 * * 1", display_name=NAME, max_concurrent_run_count=1, service_account=ACCOUNT
    )
    client.job.submit.assert_not_called()
    assert "will run at '0 3 * * 1': projects/1/schedules/new" in capsys.readouterr().out


def test_a_second_schedule_is_made_only_in_place_of_the_first(client: mock.Mock, capsys: pytest.CaptureFixture) -> None:
    old, ended = _Schedule("projects/1/schedules/old"), _Schedule("projects/1/schedules/ended", ended=True)
    client.PipelineJobSchedule.list.return_value = [old, ended]
    assert cli.main(["schedule", "--cron", "0 3 * * 1", *ARGUMENTS]) == 1
    assert "already: projects/1/schedules/old. Give --replace" in capsys.readouterr().err
    client.job.create_schedule.assert_not_called()
    assert cli.main(["schedule", "--cron", "0 3 * * 1", "--replace", *ARGUMENTS]) == 0
    client.job.create_schedule.assert_called_once()
    assert (old.deleted, ended.deleted) == (True, False)
    client.PipelineJobSchedule.list.assert_called_with(
        filter=f'display_name="{NAME}"', project="my-project", location="us-central1"
    )


def test_a_schedule_that_was_not_made_leaves_the_earlier_one(client: mock.Mock) -> None:
    old = _Schedule("projects/1/schedules/old")
    client.PipelineJobSchedule.list.return_value = [old]
    client.job.create_schedule.side_effect = google.api_core.exceptions.PermissionDenied("no aiplatform.schedules.create")
    with pytest.raises(CloudError, match=r"my-project in us-central1 refused: no aiplatform\.schedules\.create"):
        vertex_jobs.schedule(CONFIG, BUCKET, None, "0 3 * * 1", replace=True)
    assert not old.deleted


def test_schedule_that_would_start_from_an_earlier_model_is_refused(client: mock.Mock, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["schedule", "--cron", "0 3 * * 1", *ARGUMENTS, "--set", "train.warm_start=true"]) == 1
    assert "A schedule cannot start from an earlier model" in capsys.readouterr().err
    assert cli.main(["submit", *ARGUMENTS, "--set", "train.warm_start=true"]) == 0


def test_what_a_schedule_cannot_have_is_refused_when_it_is_compiled() -> None:
    with pytest.raises(CloudError, match="A schedule cannot start from an earlier model"):
        vertex_jobs.schedule(override(CONFIG, {"train.warm_start": "true"}), BUCKET, None, "0 3 * * 1", replace=False)


def test_names_of_schedules_differ_with_the_root_and_are_not_too_long() -> None:
    names = {vertex_jobs.schedule_name(name * 40, root) for name in ("voc2007", "voc2012") for root in (BUCKET, BUCKET + "2")}
    assert len(names) == 4
    assert {len(name) for name in names} == {128}
    assert vertex_jobs.schedule_name("mini.a", BUCKET + "/") == vertex_jobs.schedule_name("mini.a", BUCKET)


def test_wrong_cron_is_refused_before_anything_is_compiled() -> None:
    with mock.patch.object(vertex_jobs, "compile_job", side_effect=AssertionError("compiled")):
        with pytest.raises(CloudError, match="takes five fields"):
            vertex_jobs.schedule(CONFIG, BUCKET, None, "weekly", replace=False)


def test_missing_credentials_are_told_in_a_sentence(client: mock.Mock, capsys: pytest.CaptureFixture) -> None:
    client.job.submit.side_effect = google.auth.exceptions.DefaultCredentialsError("none found")
    assert cli.main(["submit", *ARGUMENTS]) == 1
    assert "error: There are no credentials for Google Cloud that work: run `gcloud auth" in capsys.readouterr().err
