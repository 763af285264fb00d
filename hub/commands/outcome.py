"""How a failure becomes one line on stderr and exit code 1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


def failed(message: str) -> typer.Exit:
    """To be raised."""
    from wallet.terminal import plain

    print(f"aitbc hub: {plain(message)}", file=sys.stderr)
    return typer.Exit(1)


@contextmanager
def reporting() -> Iterator[None]:
    """What a hub says no to, or an operator has to mend, is one line."""
    from hub.client import HubClientError
    from hub.store.errors import StoreError

    try:
        yield
    except (HubClientError, StoreError) as error:
        raise failed(str(error)) from None
