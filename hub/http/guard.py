"""Who asks: by an API key, by the signature of a request, or by the token of a job that was ordered so."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Header

from chain.web.problems import Problem
from hub.http.links import Links
from hub.jobs.accepting import Client
from hub.orders.request import JobRequest
from hub.orders.signers import SHORTEST_IDEMPOTENCY_KEY, SignedOrders
from hub.secret_files import ClientKeys
from hub.store.jobs import Job

Authorization = Annotated[str | None, Header()]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose jobs may be opened: all of an API key's, or the one of a token."""

    owner: str | None = None
    job_id: str | None = None

    def may_open(self, job: Job) -> bool:
        """Whether this job is among them."""
        return self.job_id == job.job_id if self.owner is None else self.owner == job.owner


def at_once(check: Callable[[str | None], Value]) -> Callable[[str | None], Awaitable[Value]]:
    """Of an Authorization header, as a dependency on the event loop: FastAPI calls a plain function in a thread, which
    takes longer than this does."""

    async def dependency(authorization: Authorization = None) -> Value:
        return check(authorization)

    return dependency


class Guard:
    """Knows the clients' keys by their digests."""

    def __init__(self, keys: ClientKeys, signed_orders: SignedOrders, links: Links) -> None:
        self._keys = keys
        self.signed_orders = signed_orders
        self._links = links

    def client_of(self, authorization: str | None) -> Client:
        """For routes that need an API key; raises Problem (401)."""
        client = self._find(_bearer(authorization))
        if client is None:
            raise _unauthorised("an API key of this hub", authorization)
        return client

    def sender_of(self, authorization: str | None) -> Client | None:
        """None where no API key came along: then `signer_of` has to know who it is. Raises Problem (401)."""
        return None if authorization is None else self.client_of(authorization)

    def reader_of(self, authorization: str | None) -> Reader:
        """For routes that open a job; raises Problem (401)."""
        reader = self.find_reader(_bearer(authorization))
        if reader is None:
            raise _unauthorised("an API key of this hub, or the job's token", authorization)
        return reader

    def find_reader(self, text: str) -> Reader | None:
        """Of an API key or a job's token."""
        job_id = self._links.job_of(text)
        if job_id is not None:
            return Reader(job_id=job_id)
        client = self._find(text)
        return None if client is None else Reader(owner=client.owner)

    def signer_of(self, request: JobRequest, idempotency_key: str | None) -> Client:
        """Whoever says to have signed it: whether it is so, `Acceptance` finds out. Raises Problem (401, 402, 422)."""
        if self.signed_orders == SignedOrders.NONE or request.client is None:
            also = "" if self.signed_orders == SignedOrders.NONE else ", or sign the request (client_request)"
            raise _unauthorised(f"an API key of this hub{also}", None)
        if self.signed_orders == SignedOrders.PAID and request.payment != "escrow":
            detail = 'without an API key, this hub only takes jobs that a deposit pays for: "payment": "escrow"'
            raise Problem(402, "payment_required", detail, field="payment")
        if idempotency_key is not None and len(idempotency_key) < SHORTEST_IDEMPOTENCY_KEY:
            detail = f"without an API key it must be random, and have {SHORTEST_IDEMPOTENCY_KEY} characters or more"
            raise Problem(422, "idempotency_key_too_short", detail, field="Idempotency-Key")
        limits = self._keys.signers
        return Client(request.client, limits.each, limits.together)

    def _find(self, key: str) -> Client | None:
        name = self._keys.name_of(key) if key else None
        return None if name is None else Client(name, self._keys.limits_of(name))


def _bearer(authorization: str | None) -> str:
    """Empty where there is none."""
    scheme, _, text = (authorization or "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def _unauthorised(wanted: str, authorization: str | None) -> Problem:
    """Says whether nothing came along or something that is not known, for what is to be done differs."""
    sent = f"send Authorization: Bearer and {wanted}"
    detail = f"this hub does not know the key that was sent: it is not {wanted}" if _bearer(authorization) else sent
    headers = {"WWW-Authenticate": "Bearer"}
    return Problem(401, "invalid_api_key", detail, field="Authorization", headers=headers)
