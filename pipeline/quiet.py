"""What libraries say by themselves, left out."""

import logging
import os
import warnings


def quiet_tensorflow() -> None:
    """Before TensorFlow is imported: it is to say nothing of each bad picture, as ours says more, nor of Python's age."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")


def quiet_tfx() -> None:
    """Before TFX is imported: nothing of the above, nor of a package that Beam would like to have beside the one it uses."""
    quiet_tensorflow()
    logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("crcmod package not found"))
