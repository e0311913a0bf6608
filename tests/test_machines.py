"""Machines and accelerators that go together, and that do not."""

import pytest

from pipeline.machines import accelerator_problem


@pytest.mark.parametrize(
    ("machine", "accelerator", "count"),
    [
        ("g2-standard-12", "NVIDIA_L4", 1),
        ("g2-standard-24", "NVIDIA_L4", 2),
        ("g2-standard-32", "NVIDIA_L4", 1),
        ("g2-standard-96", "NVIDIA_L4", 8),
        ("a2-highgpu-4g", "NVIDIA_TESLA_A100", 4),
        ("a2-megagpu-16g", "NVIDIA_TESLA_A100", 16),
        ("a2-ultragpu-1g", "NVIDIA_A100_80GB", 1),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 8),
        ("a3-megagpu-8g", "NVIDIA_H100_MEGA_80GB", 8),
        ("n1-standard-8", "NVIDIA_TESLA_T4", 4),
        ("n1-highmem-16", "NVIDIA_TESLA_V100", 8),
        ("n1-standard-8", "", 0),
        ("e2-standard-8", "", 0),
        ("g9-standard-1", "NVIDIA_X", 3),  # Of what is not known nothing is said.
    ],
)
def test_pair_that_can_be_passes(machine: str, accelerator: str, count: int) -> None:
    assert accelerator_problem(machine, accelerator, count) == ""


@pytest.mark.parametrize(
    ("machine", "accelerator", "count", "words"),
    [
        ("g2-standard-12", "NVIDIA_L4", 2, "comes with NVIDIA_L4 times 1"),
        ("g2-standard-12", "", 0, "comes with NVIDIA_L4 times 1"),
        ("g2-standard-12", "NVIDIA_TESLA_T4", 1, "comes with NVIDIA_L4"),
        ("a2-highgpu-8g", "NVIDIA_A100_80GB", 8, "comes with NVIDIA_TESLA_A100 times 8"),
        ("a3-highgpu-8g", "NVIDIA_H100_80GB", 1, "NVIDIA_H100_80GB times 8"),
        ("n1-standard-8", "NVIDIA_L4", 1, "n1 machines cannot have it: NVIDIA_TESLA_P100, NVIDIA_TESLA_P4, NVIDIA_TESLA_T4"),
        ("n1-standard-8", "NVIDIA_TESLA_T5", 1, "n1 machines cannot have it: NVIDIA_TESLA_P100"),
        ("n1-standard-8", "L4", 1, "n1 machines cannot have it: NVIDIA_TESLA_P100"),
        ("n1-standard-8", "TPU_V2", 8, "uses GPUs, and no TPUs"),
        ("ct5lp-hightpu-4t", "TPU_V5_LITEPOD", 4, "uses GPUs, and no TPUs"),
        ("n1-standard-8", "NVIDIA_TESLA_T4", 3, "1, 2 or 4"),
        ("n1-standard-8", "NVIDIA_TESLA_T4", 8, "1, 2 or 4"),
        ("n1-standard-8", "NVIDIA_TESLA_V100", 16, "1, 2, 4 or 8"),
        ("e2-standard-8", "NVIDIA_TESLA_T4", 1, "e2 machines have no accelerators"),
    ],
)
def test_pair_that_cannot_be_is_refused_with_what_can(machine: str, accelerator: str, count: int, words: str) -> None:
    assert words in accelerator_problem(machine, accelerator, count)
