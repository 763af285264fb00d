"""The signatures that the chain asks for: this hub's own, and those of others, each of which looks for itself."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import SignerUnavailable
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from hub.attestation.chain import Attesters
from hub.attestation.errors import NeverAttested, NotEndorsed, NotYet
from hub.attestation.forms import NO_FEE, Fee, digest_of, is_signed_by, sign
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.peers import PeerAttester
from hub.store.receipts import Form
from wallet.attestation_log import AttestationLogError
from wallet.attester import AttesterSigner

_RETRY_S: Final = 2.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.attestation")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be signed."""

    form: Form
    receipt: Receipt
    request: ClientRequest
    fee: Fee = NO_FEE

    @property
    def minted_atoms(self) -> int:
        """What it takes of attesters' allowances."""
        return 0 if self.form == Form.SETTLE else self.receipt.amount


Keep = Callable[[Address, bytes], Awaitable[None]]
"""Writes a signature down as soon as it is there, where others are waited for; the same again is fine."""


class Gatherer:
    """Own attester and peers."""

    def __init__(self, attester: AttesterSigner, peers: Sequence[PeerAttester], metrics: AttestationMetrics) -> None:
        self._attester = attester
        self._peers = tuple(peers)
        self._metrics = metrics

    async def gather(
        self,
        wanted: Wanted,
        known: Mapping[Address, bytes],
        attesters: Attesters,
        *,
        body: Callable[[], Awaitable[bytes]],
        keep: Keep,
    ) -> dict[Address, bytes]:
        """Exactly as many signatures as the chain asks for, of attesters on its list.

        `known` are those that were gathered before; `body` makes the evidence, and is called only where others are
        needed. Raises NotYet; NeverAttested where too few are left who may still sign.
        """
        digest = digest_of(wanted.form, wanted.receipt, wanted.request, wanted.fee)
        signatures = {
            attester: signature
            for attester, signature in known.items()
            if attester in attesters.by_address and is_signed_by(attester, digest, signature)
        }
        own = self._attester.address
        if own in attesters.by_address and own not in signatures:
            signatures[own] = await self._sign(wanted)
        missing = attesters.threshold - len(signatures)
        if missing > 0:
            if own in signatures:
                await keep(own, signatures[own])
            signatures |= await self._ask_others(wanted, signatures, attesters, missing, body, keep)
        return dict(
            sorted(signatures.items(), key=lambda item: _usefulness(item[0], wanted, attesters, own))[
                : attesters.threshold
            ]
        )

    async def _sign(self, wanted: Wanted) -> bytes:
        try:
            return await asyncio.to_thread(
                sign, self._attester, wanted.form, wanted.receipt, wanted.request, wanted.fee
            )
        except Rejected as rejected:
            raise NeverAttested("attestation_refused", rejected.message) from None
        except (AttestationLogError, SignerUnavailable) as error:
            # Nothing may be signed without the log; an entry in it stays, and the same is signed when they are back.
            _log.error("signer_away", job_id=wanted.receipt.job_id, detail=str(error))
            raise NotYet("signer_away", "the hub's attester cannot sign now", _RETRY_S) from None

    async def _ask_others(
        self,
        wanted: Wanted,
        signatures: Mapping[Address, bytes],
        attesters: Attesters,
        missing: int,
        body: Callable[[], Awaitable[bytes]],
        keep: Keep,
    ) -> dict[Address, bytes]:
        """As many at a time as are missing: nobody is asked whose signature is not needed."""
        queue = [
            peer
            for peer in self._peers
            if peer.peer.address in attesters.by_address and peer.peer.address not in signatures
        ]
        # Whoever is silent costs a minute or two: it is asked last, and when the others are not enough.
        queue.sort(
            key=lambda peer: (
                not attesters.has_allowance(peer.peer.address, wanted.minted_atoms),
                peer.is_troubled,
            )
        )
        if len(queue) < missing:
            raise NotYet("too_few_attesters", f"the chain asks for {attesters.threshold} attesters", 30.0)
        digest = digest_of(wanted.form, wanted.receipt, wanted.request, wanted.fee)
        evidence = await body()
        gathered: dict[Address, bytes] = {}
        later: list[NotYet] = []
        refusals: list[str] = []
        while queue and len(gathered) < missing:
            turn, queue = queue[: missing - len(gathered)], queue[missing - len(gathered) :]
            answers = await asyncio.gather(*(peer.ask(evidence, digest) for peer in turn), return_exceptions=True)
            for peer, answer in zip(turn, answers, strict=True):
                name = to_checksum_address(peer.peer.address)
                if isinstance(answer, bytes):
                    self._metrics.peers_asked.labels("signed").inc()
                    gathered[peer.peer.address] = answer
                    await keep(peer.peer.address, answer)
                elif isinstance(answer, NotYet):
                    self._metrics.peers_asked.labels("later").inc()
                    _log.info("attester_later", attester=name, job_id=wanted.receipt.job_id, reason=answer.reason)
                    later.append(answer)
                elif isinstance(answer, NotEndorsed):
                    self._metrics.peers_asked.labels("refused").inc()
                    _log.warning("attester_refused", attester=name, job_id=wanted.receipt.job_id, reason=answer.reason)
                    refusals.append(f"{answer.detail}")
                else:
                    raise answer
        if len(gathered) >= missing:
            return gathered
        if len(gathered) + len(later) < missing:
            raise NeverAttested("attesters_refuse", "; ".join(refusals)[:500])
        soonest = min(later, key=lambda each: each.retry_after_s)
        raise NotYet(soonest.reason, soonest.detail, soonest.retry_after_s)


def _usefulness(attester: Address, wanted: Wanted, attesters: Attesters, own: Address) -> tuple[bool, bool, Address]:
    """Those with an allowance left first, then the hub's own: the chain charges each that signs."""
    return (not attesters.has_allowance(attester, wanted.minted_atoms), attester != own, attester)
