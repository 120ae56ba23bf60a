"""The errors of this room."""


class LakeError(ValueError):
    """A lake, a file in it or a statement that cannot be used; says what, where, and what to do."""


class StorageSilent(LakeError):
    """The storage under a lake failed a query; at the next try it may answer."""
