"""Where Beam's work is done: exact options, the checks of added ones, the translation for Dataflow, and what the cache sees."""

import dataclasses
import pathlib
import re
from typing import Any
from unittest import mock

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.prism_runner import PrismRunner
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2

from components.errors import CloudError, VocsegError
from pipeline import beam_options, beam_steps, dataflow_jobs, dataflow_plan, dry_run, targets
from pipeline.locations import Locations
from pipeline_config import CloudConfig, override, preset

IMAGE = "us-docker.pkg.dev/pictures-1/vocseg/vocseg:1"
CLOUD = CloudConfig(project="pictures-1", region="us-central1", image=IMAGE, beam_machine="e2-highmem-8", beam_workers=7)
CONFIG = dataclasses.replace(preset("mini"), cloud=CLOUD)
ARGS = targets.dataflow_args(CLOUD, "gs://pictures/vocseg", "vocseg-mini-1")


def _locations(tmp_path: pathlib.Path) -> Locations:
    return Locations(root="gs://pictures/vocseg", pipeline_name="mini.June", data="", local=str(tmp_path))


# Options.


def test_options_of_dataflow_are_exactly_these(tmp_path: pathlib.Path) -> None:
    target = targets.dataflow(CONFIG, _locations(tmp_path), "20260102T030405Z")
    [name] = [arg for arg in target.beam_args if arg.startswith("--job_name=")]
    assert re.fullmatch(r"--job_name=vocseg-mini-june-20260102t030405z-[0-9a-f]{6}", name)
    assert target.beam_args == (
        "--runner=DataflowRunner",
        "--project=pictures-1",
        "--region=us-central1",
        name,
        "--staging_location=gs://pictures/vocseg/dataflow/staging",
        "--temp_location=gs://pictures/vocseg/dataflow/temp",
        f"--sdk_container_image={IMAGE}",
        "--sdk_location=container",
        "--no_save_main_session",
        "--experiments=use_runner_v2",
        "--machine_type=e2-highmem-8",
        "--disk_size_gb=50",
        "--autoscaling_algorithm=THROUGHPUT_BASED",
        "--max_num_workers=7",
    )
    assert target.metadata.sqlite.filename_uri == str(tmp_path / "metadata.sqlite")


def test_account_and_network_are_said_where_they_are_set() -> None:
    network = "regions/us-central1/subnetworks/a"
    more = dataclasses.replace(CLOUD, service_account="a@p.iam.gserviceaccount.com", network=network)
    added = targets.dataflow_args(more, "gs://pictures/vocseg", "vocseg-mini-1")[len(ARGS) :]
    assert added == ("--service_account_email=a@p.iam.gserviceaccount.com", f"--subnetwork={network}")


@pytest.mark.parametrize(
    ("pipeline", "run"),
    [("mini.embedded", "20260102T030405Z"), ("voc2007_gpu.x" * 20, "20260102T030405Z-12"), ("Ä.Ö", "-"), ("...", "a" * 99)],
)
def test_name_of_a_job_is_one_that_dataflow_takes_and_differs_with_the_run(pipeline: str, run: str) -> None:
    name = dataflow_jobs.job_name(pipeline, run)
    first, second = dataflow_jobs.of_try(name), dataflow_jobs.of_try(name)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", one) and one.startswith(f"{name}-") for one in (first, second))
    assert first != second
    assert name != dataflow_jobs.job_name(pipeline, f"{run}b")
    assert name != dataflow_jobs.job_name(f"{pipeline}b", run)


def test_portable_needs_a_job_server_and_takes_the_image_if_there_is_one(tmp_path: pathlib.Path) -> None:
    with pytest.raises(VocsegError, match="--beam job_endpoint=HOST:PORT"):
        targets.check_beam_args("portable", CONFIG, ())
    added = ("--job_endpoint=localhost:8099", "--environment_type=DOCKER")
    target = targets.of_runner("portable", CONFIG, _locations(tmp_path), "1", added)
    assert target.beam_args == (
        "--runner=PortableRunner",
        "--no_save_main_session",
        f"--sdk_container_image={IMAGE}",
        *added,
    )


def test_local_options_can_be_replaced(tmp_path: pathlib.Path) -> None:
    added = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    assert targets.of_runner("local", CONFIG, _locations(tmp_path), "1", added).beam_args == (
        "--runner=DirectRunner",
        "--allow_unsafe_triggers",
        "--sdk_container_image=unused",
        *added,
    )
    assert targets.of_runner("local", CONFIG, _locations(tmp_path), "1").beam_args == targets.LOCAL_BEAM_ARGS


def test_local_job_runs_in_beams_own_runner_and_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(PrismRunner, "run_pipeline", lambda self, *_: tried.append("Prism"))
    with beam.Pipeline(argv=list(targets.LOCAL_BEAM_ARGS)) as job:
        _ = job | beam.Create([1])
    assert (tried, job.result.state) == ([], "DONE")


@pytest.mark.soak
def test_options_reach_worker_processes(tmp_path: pathlib.Path) -> None:
    added = ("--direct_running_mode=multi_processing", "--direct_num_workers=2", "--s3_region_name=eu-1")
    with beam.Pipeline(argv=list(beam_options.merge(targets.LOCAL_BEAM_ARGS, added))) as job:
        region = beam.Map(lambda _: FileSystems._pipeline_options.get_all_options()["s3_region_name"])
        _ = job | beam.Create([1]) | region | beam.io.WriteToText(str(tmp_path / "found"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["eu-1\n"]


def test_option_that_the_configuration_says_is_not_said_again_and_a_list_grows() -> None:
    with pytest.raises(VocsegError, match="configuration says --region=us-central1 already"):
        targets.check_beam_args("dataflow", CONFIG, ("--region=us-east1",))
    with pytest.raises(VocsegError, match="service_account_email follows from the configuration. Set cloud.service_account"):
        targets.check_beam_args("dataflow", CONFIG, ("--service_account_email=a@p.iam.gserviceaccount.com",))
    with pytest.raises(VocsegError, match="configuration says --job_name=job already. It cannot be changed"):
        targets.check_beam_args("dataflow", CONFIG, ("--job_name=mine",))
    for name in ("worker_region", "worker_zone", "zone"):
        with pytest.raises(VocsegError, match=f"{name} follows from the configuration. Set cloud.region instead"):
            targets.check_beam_args("dataflow", CONFIG, (f"--{name}=us-east1-b",))
    with pytest.raises(VocsegError, match="configuration says --machine_type=e2-highmem-8 already. Set cloud.beam_machine"):
        targets.check_beam_args("dataflow", CONFIG, ("--worker_machine_type=n1-standard-1",))
    merged = beam_options.merge(ARGS, ("--experiments=shuffle_mode=service", "--num_workers=2"), {})
    assert merged == (*ARGS, "--experiments=shuffle_mode=service", "--num_workers=2")


# Names of Beam's options.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("num_worker=3", "no option 'num_worker'. Did you mean num_workers"),
        ("num-workers=3", "Did you mean num_workers"),
        ("machine_tpye=x", "Did you mean machine_type"),
        ("job_endpiont=x", "Did you mean job_endpoint"),
        ("qqqq=1", "Give it as NAME=VALUE, without dashes"),
        ("", "no option ''"),
        ("runner=DataflowRunner", "--runner local, dataflow or portable"),
        ("num_workers", "no switch: give --beam num_workers=VALUE"),
        ("use_public_ips=true", "a switch, which takes no value: give --beam use_public_ips"),
        ("use_public_ips=false", "a switch, which takes no value: give --beam no_use_public_ips"),
        ("no_use_public_ips=false", "a switch, which takes no value: give --beam use_public_ips"),
        ("no_auth=false", "a switch, which is off: leave it out"),
        ("s3_verify", "no switch: give --beam s3_verify=VALUE"),
        ("num_workers=many", "num_workers takes another kind of value; got 'num_workers=many'"),
        ("autoscaling_algorithm=FAST", "takes one of NONE, THROUGHPUT_BASED"),
    ],
)
def test_option_that_beam_would_pass_over_is_refused(text: str, words: str) -> None:
    with pytest.raises(VocsegError, match=re.escape(words)):
        beam_options.parse([text])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no_wait_until_finish", "not written yet"),
        ("dry_run=true", "nothing would be done"),
        ("template_location=gs://b/t", "nothing done"),
        ("update", "each job is one of its own"),
        ("streaming", "never end"),
        ("prebuild_sdk_container_engine=cloud_build", "cloud.image"),
        ("requirements_file=r.txt", "cloud.image"),
        ("worker_harness_container_image=gcr.io/p/i", "cloud.image"),
        ("experiments=disable_runner_v2", "Runner v2"),
        ("experiment=shuffle_mode=service,disable_runner_v2_until_2023", "Runner v2"),
    ],
)
def test_option_that_breaks_the_pipeline_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(VocsegError, match=f"--beam: {text.partition('=')[0]}.* cannot be given here: .*{reason}"):
        beam_options.parse([text])


def test_refused_options_are_options_of_beams() -> None:
    assert set(beam_options._REFUSED) <= set(beam_options._known())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--s3_secret_access_key=abc", "--s3_secret_access_key=***"),
        ("--azure_connection_string=AccountKey=abc", "--azure_connection_string=***"),
    ],
)
def test_option_that_is_a_secret_is_not_shown(text: str, shown: str) -> None:
    assert beam_options.mask(text) == shown


@pytest.mark.parametrize(
    "value",
    [
        "postgres://me:pass@host/x",
        "https://u:p/w@h",
        "https://h/x?sig=ab%2F&se=1",
        '{"password": "ab", "a": 1}',
        '{"password": "ab,cd;ef"}',
        '{"env": "{\\"password\\": \\"ab\\"}"}',
        "password=&ab",
        "API_KEY=ab",
        '{"apiKey": "ab"}',
        "passwd: ab",
        "AccountName=a;AccountKey=ab==;EndpointSuffix=h",
        "SharedAccessSignature=ab",
        "AWS_SECRET_ACCESS_KEY=ab",
        "client_secret_2=ab",
        "authtoken=ab",
        "X-Api-Key: ab",
    ],
)
def test_value_with_a_secret_in_it_is_shown_nothing_of(value: str) -> None:
    assert beam_options.mask(f"--environment_config={value}") == "--environment_config=***"


@pytest.mark.parametrize(
    "text",
    [
        "--labels=design=3",
        "--labels=signal=a",
        "--labels=tokenizer=bpe",
        "--labels=monkey=1",
        "--labels=team=secret-squad",
        "--environment_config=http://host:8099/a@b",
        "--staging_location=gs://bucket/x:y@z",
        "--no_save_main_session",
    ],
)
def test_option_without_a_secret_is_shown_and_taken(text: str) -> None:
    assert beam_options.mask(text) == text
    beam_options.refuse_secrets([text])


def test_secret_is_refused_where_a_jobs_description_would_show_it() -> None:
    with pytest.raises(VocsegError, match="--beam: s3_session_token has a secret") as error:
        targets.check_beam_args("dataflow", CONFIG, ("--s3_session_token=abc",))
    assert "abc" not in str(error.value)
    targets.check_beam_args("local", CONFIG, ("--s3_session_token=abc",))


def test_options_of_every_runner_are_known() -> None:
    texts = ["num_workers=3", "no_use_public_ips", "job_endpoint=a:1", "environment_type=EXTERNAL", "flink_master=x"]
    texts += ["direct_num_workers=2", "labels=a=b", "experiments=a,b", "s3_region_name=x", "parallelism=2"]
    assert beam_options.parse(texts) == tuple(f"--{text}" for text in texts)


# What Dataflow would be sent.


def _graph() -> beam.Pipeline:
    graph = beam.Pipeline(options=PipelineOptions([]))
    _ = graph | "Make" >> beam.Create([1, 2]) | "Pair" >> beam.Map(lambda n: (n, 1)) | "Sum" >> beam.CombinePerKey(sum)
    return graph


@pytest.fixture(scope="module")
def job() -> dataflow_plan.Job:
    with mock.patch("google.auth.default", side_effect=AssertionError("Credentials were asked for.")):
        return dataflow_plan.translate("Transform", _graph(), ARGS)


def test_translation_has_stages_container_and_machine_as_configured(job: dataflow_plan.Job) -> None:
    assert job.stages == ("Make", "Pair", "Sum")
    assert job.images == (IMAGE,)
    assert job.workers["machineType"] == "e2-highmem-8"
    assert job.workers["diskSizeGb"] == 50
    assert job.workers["autoscalingSettings"] == {"algorithm": "AUTOSCALING_ALGORITHM_BASIC", "maxNumWorkers": 7}
    assert job.workers["workerHarnessContainerImage"] == IMAGE
    assert job.description["name"] == "vocseg-mini-1"
    sent = job.description["environment"]["sdkPipelineOptions"]["options"]
    assert (sent["project"], sent["region"], sent["save_main_session"]) == ("pictures-1", "us-central1", False)


def test_plan_is_told_as_a_table_with_the_stages_below(job: dataflow_plan.Job) -> None:
    lines = dry_run.describe([job]).splitlines()
    assert lines[0].split() == ["step", "stages", "transforms", "machine", "disk", "workers", "container"]
    assert lines[1].split() == ["Transform", "3", str(job.primitives), "e2-highmem-8", "50", "GB", "to", "7", IMAGE]
    assert lines[3:7] == ["Transform:", "  Make", "  Pair", "  Sum"]
    assert "Nothing was submitted" in lines[-1]


def test_options_that_beam_refuses_are_told_before_any_work() -> None:
    beam_options.check_dataflow(ARGS)
    with pytest.raises(CloudError, match="(?s)Beam refuses the options.*job_name"):
        beam_options.check_dataflow([*ARGS, "--job_name=-"])


def test_job_is_submitted_by_the_options_of_the_target(tmp_path: pathlib.Path) -> None:
    """Up to the request: the client that would send it is a mock."""
    target = targets.dataflow(CONFIG, _locations(tmp_path), "1")
    with (
        mock.patch("apache_beam.runners.dataflow.internal.apiclient.DataflowApplicationClient") as client,
        mock.patch("apache_beam.io.gcp.gcsio.GcsIO") as storage,
    ):
        storage.return_value.is_soft_delete_enabled.return_value = False
        options = PipelineOptions(list(target.beam_args))
        DataflowRunner().run_pipeline(_graph(), options)
    [call] = client.return_value.create_job.call_args_list
    [sent] = call.args
    assert sent.proto.name == dataflow_jobs.job_name("mini.June", "1")
    assert sent.google_cloud_options.region == "us-central1"
    docker = [e.payload for e in sent.proto_pipeline.components.environments.values()]
    assert all(IMAGE.encode() in payload for payload in docker) and docker


# What TFX's cache sees.


def test_cache_does_not_see_beams_options_and_the_step_does() -> None:
    spec = executable_spec_pb2.BeamExecutableSpec()
    spec.python_executor_spec.class_path = "tfx.components.statistics_gen.executor.Executor"
    spec.beam_pipeline_args_placeholders.add().value.string_value = "--runner=DirectRunner"
    bare, operators = beam_steps.split_options(spec)
    assert bare.python_executor_spec == spec.python_executor_spec
    assert not bare.beam_pipeline_args_placeholders
    [make] = operators.values()
    operator = make(executor_spec=bare, platform_config=None)
    assert isinstance(operator, BeamExecutorOperator)
    assert [arg.value.string_value for arg in operator.beam_pipeline_args] == ["--runner=DirectRunner"]


def test_each_try_of_a_step_names_its_job_anew_for_dataflow_alone() -> None:
    """A second job of a name is refused while that of a lost try runs on, which would hide the first error."""

    def tries(runner: str) -> set[str]:
        spec = executable_spec_pb2.BeamExecutableSpec()
        spec.python_executor_spec.class_path = "tfx.components.statistics_gen.executor.Executor"
        for text in (f"--runner={runner}", "--job_name=vocseg-mini-1"):
            spec.beam_pipeline_args_placeholders.add().value.string_value = text
        _, operators = beam_steps.split_options(spec)
        [make] = operators.values()
        return {make(executor_spec=spec, platform_config=None).beam_pipeline_args[1].value.string_value for _ in range(2)}

    assert tries("PortableRunner") == {"--job_name=vocseg-mini-1"}
    first, second = tries("DataflowRunner")
    assert all(re.fullmatch(r"--job_name=vocseg-mini-1-[0-9a-f]{6}", name) for name in (first, second))


@pytest.mark.parametrize("spec", [None, executable_spec_pb2.PythonClassExecutableSpec(class_path="a.B")])
def test_step_without_beam_stays_as_it_is(spec: Any) -> None:
    assert beam_steps.split_options(spec) == (spec, {})


# All four steps' graphs.


def test_graphs_are_those_of_the_runs_configuration() -> None:
    asked = override(
        preset("voc2007"),
        {"transform.resize_method": "bicubic", "evaluate.min_iou": "dog=0.3", "data.max_quarantined_fraction": "0.1"},
    )
    sample = dataflow_plan.sample_config(asked)
    assert sample.transform == dataclasses.replace(preset("mini").transform, resize_method="bicubic")
    assert sample.evaluate == asked.evaluate
    assert (sample.data.max_quarantined_fraction, sample.data.embedded) == (0.1, True)
    assert (sample.model, sample.train.epochs) == (preset("mini").model, 1)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:MessageFactory class is deprecated")  # TFX's use of it.
def test_plan_has_the_jobs_of_all_steps_on_beam_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.default", mock.Mock(side_effect=AssertionError("Credentials were asked for.")))
    monkeypatch.setattr("sys.argv", ["vocseg"])
    jobs = dataflow_plan.plan(ARGS, override(preset("voc2007_gpu"), {"evaluate.min_iou": "zebra=0.3"}))
    assert [job.step for job in jobs] == ["ExampleGen", "StatisticsGen", "Transform", "Evaluator"]
    assert all(job.images == (IMAGE,) and job.workers["machineType"] == "e2-highmem-8" for job in jobs)
    assert {"Write", "Find leaks"} <= set(jobs[0].stages)
    assert "GenerateStatistics[train]" in jobs[1].stages
    assert "Analyze" in jobs[2].stages
    assert jobs[3].stages[-1] == "ExtractEvaluateAndWriteResults"
