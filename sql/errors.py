"""The error of this room."""


class LakeError(ValueError):
    """A lake, a file in it or a statement that cannot be used; says what, where, and what to do."""
