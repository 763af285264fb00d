"""An order that has passed every check that can be made before the work: whose, at what price, under which salt."""

import secrets
from dataclasses import dataclass

from chain.primitives.prompts import prompt_text
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from provider.jobs.errors import OrderRefused
from provider.jobs.order import JobOrder
from provider.receipts.client_requests import (
    VerifiedRequest,
    check_price,
    compute_budget_microseconds,
    request_parameters,
    signed_origin,
    verify_client_request,
)
from provider.receipts.issuing import SALT_BYTES, JobOrigin, Offer, check_origin, direct_origin
from provider.storage.rows import ClientNonce


@dataclass(frozen=True)
class Commission:
    """What is fixed about a job before it is computed."""

    order: JobOrder
    offer: Offer
    provider: Address
    salt: bytes
    """Of the prompt's hash."""
    verified: VerifiedRequest | None
    received_ns: int
    """When the order arrived, on the monotonic clock."""

    @property
    def prompt_hash(self) -> str:
        """Salted; what receipt and log hold in place of the prompt."""
        return salted_prompt_hash(self.salt, prompt_text(self.order.request.every_prompt))

    @property
    def max_price(self) -> int | None:
        """The most atoms that the client signed for, or that the hub has for this part."""
        if self.order.lease is not None:
            return self.order.lease.max_amount
        return None if self.verified is None else self.verified.max_price

    @property
    def budget_microseconds(self) -> int | None:
        """The device time that the maximum price pays for, where that is what is paid for."""
        return None if self.max_price is None else compute_budget_microseconds(self.offer, self.max_price)

    @property
    def client_nonce(self) -> ClientNonce | None:
        """What makes a signed request good for one job only."""
        verified = self.verified
        if verified is None:
            return None
        return ClientNonce(verified.client, verified.nonce, verified.expiry)

    def origin(self, job_id: str) -> JobOrigin:
        """What the receipt says of whose job it is: the hub's word, the client's signature, or the API key's name."""
        order, hub_job = self.order, self.order.hub_job
        if hub_job is not None:
            return JobOrigin(
                hub_id=hub_job.hub_id,
                job_id=hub_job.job_id,
                client=hub_job.client,
                request_hash=hub_job.request_hash,
                client_signature=hub_job.client_signature,
                nonce=hub_job.nonce,
            )
        if self.verified is not None:
            return signed_origin(job_id, self.verified)
        return direct_origin(
            job_id,
            order.caller.name,
            provider=self.provider,
            chain_id=self.offer.chain_id,
            prompt_hash=self.prompt_hash,
            parameters=request_parameters(
                order.request,
                salt=self.salt,
                seed_asked=order.seed_asked,
                model_asked=order.model_asked,
                source_sha256=order.source_sha256,
            ),
        )


def check_order(order: JobOrder, offer: Offer, provider: Address, *, received_ns: int, now_s: int) -> Commission:
    """Refuses an order that no receipt could hold, above all a wrong signature; raises OrderRefused."""
    try:
        verified = _verify(order, offer, provider, now_s)
        commission = Commission(order, offer, provider, _salt(order, verified), verified, received_ns)
        if order.hub_job is not None:
            check_origin(provider, offer, commission.origin(order.hub_job.job_id))
            if commission.max_price is not None:
                check_price(offer, order.request.count, commission.max_price)
    except Rejected as rejected:
        field = str(rejected.values.get("field") or "") or None
        default = "client_request" if order.hub_job is None else "client_signature"
        raise OrderRefused(rejected.message, reason=rejected.reason.value, field=field or default) from None
    return commission


def _verify(order: JobOrder, offer: Offer, provider: Address, now_s: int) -> VerifiedRequest | None:
    claim = order.client_request
    if claim is None:
        return None
    parameters = request_parameters(
        order.request,
        salt=claim.salt,
        seed_asked=order.seed_asked,
        model_asked=order.model_asked,
        source_sha256=order.source_sha256,
    )
    verified = verify_client_request(
        claim,
        prompt=order.request.prompt,
        parameters=parameters,
        provider=provider,
        chain_id=offer.chain_id,
        now_s=now_s,
    )
    check_price(offer, order.request.count, verified.max_price)
    return verified


def _salt(order: JobOrder, verified: VerifiedRequest | None) -> bytes:
    """The one that client or hub chose, so that the receipt's hash is the one that was signed; or a drawn one."""
    if verified is not None:
        return verified.salt
    if order.hub_job is not None:
        return order.hub_job.prompt_salt
    return secrets.token_bytes(SALT_BYTES)
