"""How the stages of `components` are joined, where they run, and the command line."""

import importlib
from typing import Any

_ARTIFACTS = {
    "DataBlessing": "components.validation",
    "DataReport": "components.example_gen",
    "ModelCard": "components.card_files",
    "Quarantine": "components.example_gen",
}
"""Our artifact types, and where they are: Vertex AI imports a type by its name, `<package>.<class>`, which allows one dot."""


def __getattr__(name: str) -> Any:
    """Returns one of our artifact types, imported when it is asked for."""
    if name in _ARTIFACTS:
        return getattr(importlib.import_module(_ARTIFACTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
