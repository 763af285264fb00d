"""Whose key it is."""

from typing import Annotated

from fastapi import Header

from chain.web.problems import Problem
from hub.jobs.accepting import Client
from hub.secret_files import ClientKeys


class Guard:
    """Knows the clients' keys by their digests."""

    def __init__(self, keys: ClientKeys) -> None:
        self._keys = keys

    def client_of(self, authorization: Annotated[str | None, Header()] = None) -> Client:
        """A dependency of routes; raises Problem (401)."""
        scheme, _, key = (authorization or "").partition(" ")
        client = self.find(key.strip()) if scheme.lower() == "bearer" and key else None
        if client is None:
            raise Problem(
                401,
                "invalid_api_key",
                "send Authorization: Bearer and an API key of this hub",
                field="Authorization",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return client

    def find(self, key: str) -> Client | None:
        """The client of a key."""
        name = self._keys.name_of(key)
        return None if name is None else Client(name, self._keys.limits_of(name))
