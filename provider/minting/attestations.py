"""Takes attesters' signatures for this provider's receipts, after checking what the chain will check.

A bad attestation is refused here, where the hub still listens, and not by the chain, where nobody would.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from chain.client import AsyncNodeClient, NodeError
from chain.primitives.hexadecimal import parse_address
from chain.primitives.hub_messages import SettlementTerms
from chain.primitives.keys import SIGNATURE_BYTES, recover_address
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32
from chain.web.problems import Problem, not_found
from provider.minting.payment import Payment
from provider.storage.outbox import Outbox
from provider.storage.rows import ReceiptForm, ReceiptState

_MAX_AGE_S: Final = 30.0
"""Governance changes attesters rarely; an unknown signer makes us ask again at once."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.attestations")


@dataclass(frozen=True)
class AttesterSet:
    """Whose signatures mint now, and how many of them it takes."""

    addresses: frozenset[Address]
    threshold: int


def check_attestation(payment: Payment, attestation: bytes, attesters: AttesterSet) -> Sequence[Address]:
    """The signers, in order; raises Rejected with the reason that the chain would give."""
    if len(attestation) != attesters.threshold * SIGNATURE_BYTES:
        message = f"exactly {attesters.threshold} attester signatures of {SIGNATURE_BYTES} bytes are needed"
        raise Rejected(RejectionReason.SIGNATURE_COUNT, message, field="attestation")
    digest = payment.digest
    signers: list[Address] = []
    for start in range(0, len(attestation), SIGNATURE_BYTES):
        signer = recover_address(digest, attestation[start : start + SIGNATURE_BYTES])
        if signer not in attesters.addresses:
            message = "not signed by an attester of this chain over this receipt's hash and what it pays to whom"
            raise Rejected(RejectionReason.NOT_AN_ATTESTER, message, field="attestation")
        if signers and signer <= signers[-1]:
            message = "attester signatures must ascend by address, none twice"
            raise Rejected(RejectionReason.SIGNATURE_ORDER, message, field="attestation")
        signers.append(signer)
    return signers


class Attestations:
    """Checks attestations against the chain's present attesters and keeps the good ones in the outbox."""

    def __init__(self, outbox: Outbox, client: AsyncNodeClient, on_accepted: Callable[[], None]) -> None:
        """`on_accepted` is called on the event loop whenever a receipt is ready to be minted."""
        self._outbox = outbox
        self._client = client
        self._on_accepted = on_accepted
        self._attesters: AttesterSet | None = None
        self._read_at = 0.0

    async def accept(
        self,
        receipt_hash: Hash32,
        attestation: bytes,
        *,
        form: ReceiptForm = ReceiptForm.MINT,
        terms: SettlementTerms | None = None,
        delay_ms: int = 0,
    ) -> ReceiptState:
        """The receipt's state afterwards; the same attestation may come any number of times. Raises Problem.

        `delay_ms` leaves it for so long to another provider of the same receipt to bring it to the chain.
        """
        stored = await asyncio.to_thread(self._outbox.get, receipt_hash)
        if stored is None:
            raise not_found("no receipt of this provider has this hash", "receipt_hash")
        if stored.state in (ReceiptState.ATTESTED, ReceiptState.SUBMITTED, ReceiptState.FINAL):
            return stored.state
        try:
            payment = Payment.of(Receipt.from_json(stored.receipt_json), form, terms)
        except Rejected as rejected:
            raise _problem(rejected) from None
        await self._check(payment, attestation)
        state = await asyncio.to_thread(
            self._outbox.accept_attestation,
            receipt_hash,
            attestation,
            form=form,
            settlement_json=None if terms is None else msgspec.json.encode(terms).decode(),
            not_before_ms=time.time_ns() // 1_000_000 + delay_ms if delay_ms else 0,
        )
        self._on_accepted()
        _log.info("receipt_attested", job_id=stored.job_id, hub_id=stored.hub_id, state=state)
        return state

    async def _check(self, payment: Payment, attestation: bytes) -> None:
        attesters = await self._present_attesters(_MAX_AGE_S)
        try:
            check_attestation(payment, attestation, attesters)
            return
        except Rejected as rejected:
            if rejected.reason not in (RejectionReason.NOT_AN_ATTESTER, RejectionReason.SIGNATURE_COUNT):
                raise _problem(rejected) from None
        # Governance may have changed the attesters since we asked.
        attesters = await self._present_attesters(1.0)
        try:
            check_attestation(payment, attestation, attesters)
        except Rejected as rejected:
            raise _problem(rejected) from None

    async def _present_attesters(self, max_age_s: float) -> AttesterSet:
        """The chain's attesters, asked for at most that long ago."""
        if self._attesters is not None and time.monotonic() - self._read_at < max_age_s:
            return self._attesters
        try:
            answer = await self._client.attesters()
        except NodeError as error:
            detail = f"the chain's attesters cannot be read now: {error}"
            raise Problem(503, "node_unreachable", detail, headers={"Retry-After": "5"}) from None
        addresses = frozenset(parse_address(entry.address) for entry in answer.attesters)
        self._attesters = AttesterSet(addresses, answer.threshold)
        self._read_at = time.monotonic()
        return self._attesters


def _problem(rejected: Rejected) -> Problem:
    return Problem(422, rejected.reason.value, rejected.message, field="attestation")
