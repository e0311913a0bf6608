"""What TensorFlow says by itself, left out."""

import os
import warnings


def quiet_tensorflow() -> None:
    """Before TensorFlow is imported: it is to say nothing of each bad picture, as ours says more, nor of Python's age."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
