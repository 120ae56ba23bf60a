"""Errors that a person can mend: the command line prints them without a traceback and exits with 2."""


class UserError(ValueError):
    """Wrong input; the message names the thing, the place and the remedy."""


class LakeMismatch(UserError):
    """A partition that was made from other inputs or parameters than the study asks for."""
