"""What a client wants, whichever API it spoke."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chain.primitives.client_request import ClientClaim
from chain.primitives.types import Hash32
from provider.api_keys import Caller
from provider.generation import MAX_CHOSEN_SEED, ImageRequest


class WayIn(StrEnum):
    """Which API the order came in by."""

    PLAN = "plan"
    OPENAI = "openai"
    AUTOMATIC1111 = "automatic1111"
    LIVE = "live"
    HUB = "hub"
    """By a connection that this provider opened to a hub."""


@dataclass(frozen=True)
class HubJobOrigin:
    """What a hub says about a job of which it has given this provider a part; it goes into the receipt."""

    hub_id: str
    job_id: str
    client: str
    request_hash: Hash32
    client_signature: bytes | None
    nonce: str
    prompt_salt: bytes
    """The salt under which the client signed its prompt's hash."""
    lease: "LeaseTerms"


@dataclass(frozen=True)
class LeaseTerms:
    """What a hub and this provider agree on for a part of a job."""

    lease_id: str
    unit_type: str
    price_per_unit: int
    """Atoms; at least what this provider asks."""
    max_amount: int | None
    """The most atoms that the part may come to."""


@dataclass(frozen=True)
class JobOrder:
    """One job that a known caller wants; the request is within the API's bounds."""

    request: ImageRequest
    caller: Caller
    way_in: WayIn
    asked: bytes
    """`asked_bytes` of the HTTP request: recognises a repeated one."""
    seed_asked: int | None = None
    """None where the client left the seed to us; the request holds the one that is used."""
    model_asked: str | None = None
    source_sha256: str | None = None
    """Of the source picture's bytes as they were sent, 64 hex digits."""
    idempotency_key: str | None = None
    hub_job: HubJobOrigin | None = None
    client_request: ClientClaim | None = None
    preview_every: int = 0
    """A preview after every so many steps; 0 for none."""

    @property
    def lease(self) -> LeaseTerms | None:
        """Of a hub's job."""
        return None if self.hub_job is None else self.hub_job.lease

    @property
    def is_named(self) -> bool:
        """Whether the client can ask for the same job again and would mean the same."""
        return self.idempotency_key is not None or self.hub_job is not None

    @property
    def outlives_its_client(self) -> bool:
        """Whether the job goes on when the client hangs up, because it can come back for the answer."""
        return self.idempotency_key is not None


def asked_bytes(route: str, body: Mapping[str, Any]) -> bytes:
    """Route and parsed body, without the API key, in a form that is the same for the same request."""
    named = {name: value for name, value in body.items() if name != "api_key"}
    return f"{route}\n{json.dumps(named, sort_keys=True, separators=(',', ':'))}".encode()


def chosen_seed(seed: int | None) -> int:
    """The client's seed, or one of ours that every JSON reader holds exactly."""
    return secrets.randbelow(MAX_CHOSEN_SEED + 1) if seed is None else seed
