"""Beam's job service, with as many workers as a job asks for: Beam's own always takes one. `job_service.py PORT_FILE`."""

import logging
import os
import sys
import threading

from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer


class Job(BeamJob):
    """A job; the runner reads `--direct_num_workers` only where a driver calls it."""

    def _invoke_runner(self) -> RunnerResult:
        self.set_state(beam_job_api_pb2.JobState.RUNNING)
        options = self.pipeline_options()
        runner = FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = int(options.view_as(DirectOptions).direct_num_workers or 1)
        return runner.run_via_runner_api(self._pipeline_proto, options)


def main() -> None:
    """Serves until it is killed."""
    port = LocalJobServicer(beam_job_type=Job).start_grpc_server()
    partial = sys.argv[1] + ".partial"
    with open(partial, "w") as file:
        file.write(str(port))
    os.rename(partial, sys.argv[1])
    threading.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, force=True)  # Imports have set it up already.
    main()
