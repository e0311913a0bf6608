"""Errors that a user can mend: the command line prints their message, without a traceback."""


class VocsegError(Exception):
    """Base of the errors whose message says what was expected, what arrived and what to do."""


class DataError(VocsegError):
    """The input data cannot be used."""


class TrainingError(VocsegError):
    """The training cannot go on."""


class ModelError(VocsegError):
    """A model folder, or a file of weights, cannot be used."""


class CloudError(VocsegError):
    """A cloud's settings are missing or cannot be, or the cloud cannot be reached."""
