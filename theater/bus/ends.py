"""Why a frame could not be handed over, whatever carries it."""


class Full(Exception):
    """The peer's queue has no room now."""


class Gone(Exception):
    """There is no such peer any more."""
