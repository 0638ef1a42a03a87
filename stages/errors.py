"""Errors that a user can mend: each is shown as one line, without a traceback."""


class UserError(Exception):
    """Something the user can change; the message says what."""


class InvalidParams(UserError):
    """A value of params.yaml is not acceptable; the message names the key, the value and what is accepted."""


class TrainingDiverged(UserError):
    """A loss is not finite; the message names the method, the step and the seed."""


class DataUnavailable(UserError):
    """No source gave the data; the message says what each of them answered."""
