"""What the hub cannot start with. Other errors stand in the package whose they are."""


class HubConfigurationError(OSError):
    """A setting, file or network that the hub cannot start with.

    An OSError, because the command line explains those in one line.
    """
