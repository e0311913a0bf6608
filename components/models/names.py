"""Where an architecture stands: `components/models/<name>.py`, whose name `pipeline_config.MODELS` has."""

from pipeline_config import MODELS


def module_of(name: str) -> str:
    """Returns the module that holds the architecture.

    Raises:
        ValueError: no such architecture.
    """
    if name not in MODELS:
        raise ValueError(f"There is no model {name!r}; there are {', '.join(MODELS)}.")
    return f"components.models.{name}"
