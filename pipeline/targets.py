"""Targets: what differs between the places where a pipeline runs. The graph is one and the same."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from tfx.components import Trainer
from tfx.orchestration.metadata import ConnectionConfigType


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A place where a pipeline runs.

    Attributes:
        beam_args: options of the steps that run on Beam.
        metadata: connection to ML Metadata; None where the runner has its own.
        trainer: TFX's Trainer, or one that trains on other machines.
        trainer_settings: what that one wants to know, in `custom_config`.
        stock_resolvers: the runner knows TFX's own resolver strategies only.
    """

    beam_args: tuple[str, ...] = ()
    metadata: ConnectionConfigType | None = None
    trainer: type[Trainer] = Trainer
    trainer_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stock_resolvers: bool = False


PLAIN = Target()

LOCAL_BEAM_ARGS = ("--runner=DirectRunner", "--direct_running_mode=in_memory")
"""Named, since newer Beam would fetch a runner's binary; in memory, since starting workers costs more than they bring here."""
