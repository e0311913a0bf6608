"""Which accelerators a training machine of Vertex AI can have, as far as it is certain; of other machines nothing is said.

Sources: Google's pages "GPU machine types" of Compute Engine and "Configure compute resources for training" of Vertex AI.
"""

import re

_BUILT_IN = {
    r"a2-(?:highgpu|megagpu)-(\d+)g": "NVIDIA_TESLA_A100",
    r"a2-ultragpu-(\d+)g": "NVIDIA_A100_80GB",
    r"a3-highgpu-(\d+)g": "NVIDIA_H100_80GB",
    r"a3-megagpu-(\d+)g": "NVIDIA_H100_MEGA_80GB",
    r"a3-ultragpu-(\d+)g": "NVIDIA_H200_141GB",
}
"""Machines that come with accelerators, whose number is in their name."""

_G2 = {"4": 1, "8": 1, "12": 1, "16": 1, "24": 2, "32": 1, "48": 4, "96": 8}
"""Accelerators of a g2-standard, by its CPUs."""

_ATTACHABLE = {
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_P4": (1, 2, 4),
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
}
"""What an n1 machine can be given, and how many of it."""

_BARE = ("c2", "c2d", "c3", "e2", "m1", "n2", "n2d")
"""Families that can have no accelerator."""


def accelerator_problem(machine: str, accelerator: str, count: int) -> str:
    """Returns why a machine cannot have these accelerators, with what it can have, or "".

    Args:
        machine: type of the machine, as `g2-standard-12`.
        accelerator: type, as Vertex AI names it; empty: none.
        count: how many of it.
    """
    if accelerator.startswith("TPU"):
        return "the Trainer uses GPUs, and no TPUs"
    if has := _built_in(machine):
        return "" if (accelerator, count) == has else f"{machine} comes with {has[0]} times {has[1]}, neither more nor others"
    if not accelerator:
        return ""
    family = machine.partition("-")[0]
    if family in _BARE:
        return f"{family} machines have no accelerators: take an n1, g2, a2 or a3 machine"
    if family != "n1":
        return ""
    if accelerator not in _ATTACHABLE:
        return f"n1 machines cannot have it: {', '.join(_ATTACHABLE)} can be attached"
    counts = _ATTACHABLE[accelerator]
    return "" if count in counts else f"of {accelerator} there can be {', '.join(map(str, counts[:-1]))} or {counts[-1]}"


def _built_in(machine: str) -> tuple[str, int] | None:
    """Returns what a machine comes with, or None where that is not known."""
    if (g2 := re.fullmatch(r"g2-standard-(\d+)", machine)) and g2[1] in _G2:
        return "NVIDIA_L4", _G2[g2[1]]
    for pattern, accelerator in _BUILT_IN.items():
        if found := re.fullmatch(pattern, machine):
            return accelerator, int(found[1])
    return None
