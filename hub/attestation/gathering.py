"""The signatures that the chain asks for: those of others, each of which looks for itself, and last this hub's own.

Own last: once this hub's attester has signed a receipt, its job can have no other. So whatever others have to say
against a part of it is heard before.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import SignerUnavailable
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from hub.attestation.chain import Attesters
from hub.attestation.errors import NeverAttested, NotEndorsed, NotYet, PartsRefused, PicturesWanted
from hub.attestation.forms import NO_FEE, Fee, digest_of, is_signed_by
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.peers import PeerAttester
from hub.attestation.showing import Show
from hub.attestation.signing import SigningThreads
from hub.store.receipts import Form
from wallet.attestation_log import AttestationLogError
from wallet.attester import AttesterSigner

_RETRY_S: Final = 2.0
_PART: Final = re.compile(r"(parts|pictures)\[\d{1,3}\].*")
_OF_PARTS: Final = frozenset(
    {
        "banned",
        "distrusted",
        "not_registered",
        "wrong_model",
        "wrong_price",
        "bad_picture",
        "wrong_size",
        "blank_picture",
    }
)
"""For what a part can be refused, so that with others in its place the whole would be signed."""

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
"""Writes another's signature down as soon as it is there; the same again is fine."""


@dataclass(slots=True)
class _Heard:
    """What others have answered."""

    signatures: dict[Address, bytes] = field(default_factory=dict)
    later: list[NotYet] = field(default_factory=list)
    refusals: list[NotEndorsed] = field(default_factory=list)


class Gatherer:
    """Own attester and peers."""

    def __init__(
        self,
        attester: AttesterSigner,
        peers: Sequence[PeerAttester],
        metrics: AttestationMetrics,
        *,
        slow_s: float = 5.0,
    ) -> None:
        """One more is asked where nobody has answered for `slow_s`."""
        self._own = SigningThreads(attester)
        self._peers = tuple(peers)
        self._metrics = metrics
        self._slow_s = slow_s

    async def gather(
        self,
        wanted: Wanted,
        known: Mapping[Address, bytes],
        attesters: Attesters,
        *,
        show: Show,
        keep: Keep,
        begin_signing: Callable[[], Awaitable[None]],
    ) -> dict[Address, bytes]:
        """Exactly as many signatures as the chain asks for, of attesters on its list.

        `known` are those that were gathered before; `show` makes the evidence, and is called only where others are
        needed; `begin_signing` says that own signing begins, and raises NotYet where it may not. Raises NotYet;
        PartsRefused and NeverAttested where too few are left who may still sign.
        """
        digest = digest_of(wanted.form, wanted.receipt, wanted.request, wanted.fee)
        signatures = {
            attester: signature
            for attester, signature in known.items()
            if attester in attesters.by_address and is_signed_by(attester, digest, signature)
        }
        own = self._own.address
        is_own_missing = own in attesters.by_address and own not in signatures
        missing = attesters.threshold - len(signatures) - is_own_missing
        if missing > 0:
            signatures |= await self._ask_others(wanted, digest, signatures, attesters, missing, show, keep)
        if is_own_missing and len(signatures) < attesters.threshold:
            await begin_signing()
            signatures[own] = await self._sign(wanted)
        return dict(
            sorted(signatures.items(), key=lambda item: _usefulness(item[0], wanted, attesters, own))[
                : attesters.threshold
            ]
        )

    async def _sign(self, wanted: Wanted) -> bytes:
        try:
            return await self._own.sign(wanted.form, wanted.receipt, wanted.request, wanted.fee)
        except Rejected as rejected:
            raise NeverAttested("attestation_refused", rejected.message) from None
        except (AttestationLogError, SignerUnavailable) as error:
            # Nothing may be signed without the log; an entry in it stays, and the same is signed when they are back.
            _log.error("signer_away", job_id=wanted.receipt.job_id, detail=str(error))
            raise NotYet("signer_away", "the hub's attester cannot sign now", _RETRY_S) from None

    async def _ask_others(
        self,
        wanted: Wanted,
        digest: Hash32,
        signatures: Mapping[Address, bytes],
        attesters: Attesters,
        missing: int,
        show: Show,
        keep: Keep,
    ) -> dict[Address, bytes]:
        """As many at a time as are missing, and one more where nobody answers for a while: so nobody waits for the
        slowest, and few are asked whose signature is not needed."""
        queue = [
            peer
            for peer in self._peers
            if peer.peer.address in attesters.by_address
            and peer.peer.address not in signatures
            and peer.peer.address != self._own.address
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
        heard, asked, extra = _Heard(), dict[asyncio.Task[bytes], PeerAttester](), 0
        try:
            while len(heard.signatures) < missing and (queue or asked):
                while queue and len(asked) < missing - len(heard.signatures) + extra:
                    peer = queue.pop(0)
                    asked[asyncio.create_task(_ask(peer, digest, show))] = peer
                done, _ = await asyncio.wait(asked, timeout=self._slow_s, return_when=asyncio.FIRST_COMPLETED)
                extra += not done
                for task in done:
                    await self._hear(heard, asked.pop(task), task, wanted, keep)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if len(heard.signatures) < missing:
            raise _too_few(heard, missing - len(heard.signatures))
        return heard.signatures

    async def _hear(
        self, heard: _Heard, peer: PeerAttester, task: "asyncio.Task[bytes]", wanted: Wanted, keep: Keep
    ) -> None:
        name, job_id = to_checksum_address(peer.peer.address), wanted.receipt.job_id
        try:
            signature = task.result()
        except NotYet as later:
            self._metrics.peers_asked.labels("later").inc()
            _log.info("attester_later", attester=name, job_id=job_id, reason=later.reason)
            heard.later.append(later)
        except NotEndorsed as refusal:
            self._metrics.peers_asked.labels("refused").inc()
            _log.warning("attester_refused", attester=name, job_id=job_id, reason=refusal.reason, field=refusal.field)
            heard.refusals.append(refusal)
        else:
            self._metrics.peers_asked.labels("signed").inc()
            heard.signatures[peer.peer.address] = signature
            await keep(peer.peer.address, signature)


async def _ask(peer: PeerAttester, digest: Hash32, show: Show) -> bytes:
    """Twice where it has to say first which of many pictures it wants to see."""
    try:
        async with show(peer.peer.address, None) as body:
            return await peer.ask(body, digest)
    except PicturesWanted as wanted:
        numbers = wanted.numbers
    try:
        async with show(peer.peer.address, numbers) as body:
            return await peer.ask(body, digest)
    except PicturesWanted:
        raise NotYet("attester_unclear", "an attester wants what it has been shown", _RETRY_S) from None


def _too_few(heard: _Heard, missing: int) -> NotYet | PartsRefused | NeverAttested:
    missing -= len(heard.later)
    if missing <= 0:
        soonest = min(heard.later, key=lambda each: each.retry_after_s)
        return NotYet(soonest.reason, soonest.detail, soonest.retry_after_s)
    detail = "; ".join(refusal.detail for refusal in heard.refusals)[:500]
    of_parts = [
        refusal.field
        for refusal in heard.refusals
        if refusal.reason in _OF_PARTS and refusal.field is not None and _PART.fullmatch(refusal.field)
    ]
    if len(of_parts) < missing:
        return NeverAttested("attesters_refuse", detail)
    return PartsRefused("attesters_refuse", detail, frozenset(of_parts))


def _usefulness(attester: Address, wanted: Wanted, attesters: Attesters, own: Address) -> tuple[bool, bool, Address]:
    """Those with an allowance left first, then the hub's own: the chain charges each that signs."""
    return (not attesters.has_allowance(attester, wanted.minted_atoms), attester != own, attester)
