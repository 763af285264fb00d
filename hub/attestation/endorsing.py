"""Signing others' receipts: own checks, own look at the chain, own challenge window, and then this hub's signature."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import SignerUnavailable
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from hub.attestation.chain import AttestationChain
from hub.attestation.errors import NotEndorsed, NotYet, PicturesWanted
from hub.attestation.evidence import DRAWN, Evidence, decode_evidence
from hub.attestation.examining import Bounds, check_claims, check_pictures, check_registered, parts_of
from hub.attestation.forms import digest_of
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.peers import Peer
from hub.attestation.signing import SigningThreads
from hub.reputation.rules import OFFENCE_REASONS
from hub.store import audit, endorsements, providers
from hub.store.endorsements import Endorsement, EndorsementState, NewEndorsement
from hub.store.errors import AlreadyUsed
from hub.store.store import Store, now_ms
from hub.store.transaction import Transaction
from hub.verification.sampling import SamplingKey
from wallet.attestation_log import AttestationLogError
from wallet.attester import AttesterSigner

_SIGNER_RETRY_S: Final = 5.0
_USED_SENTENCES: Final = {
    "receipt_hash": "this receipt was asked for in another form",
    "job_id": "another receipt of this job was signed before, or too many were brought",
    "request_hash": "another receipt for this signed request was brought before",
}

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.attestation")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsingSettings:
    """How this attester treats others' receipts."""

    bounds: Bounds = field(default_factory=Bounds)
    window_s: int = 0
    """How long a receipt waits here, from when it was first brought and found true."""
    concurrent: int = 2
    """Receipts that are looked at together: their pictures are decoded."""
    waiting: int = 32


class Endorser:
    """Behind `POST /v1/attestations`."""

    def __init__(
        self,
        settings: EndorsingSettings,
        *,
        store: Store,
        chain: AttestationChain,
        attester: AttesterSigner,
        peers: Collection[Peer],
        key: SamplingKey,
        metrics: AttestationMetrics,
    ) -> None:
        """`key` draws which pictures of a large job are to be shown."""
        self.attester = attester
        self._signing = SigningThreads(attester)
        self._settings = settings
        self._store = store
        self._chain = chain
        self._peers: Mapping[Address, Peer] = {peer.key: peer for peer in peers}
        self._key = key
        self._metrics = metrics
        self._turns = asyncio.Semaphore(settings.concurrent)
        self._waiting = 0

    def knows(self, caller: Address) -> bool:
        """Whether it is one of the operator's peers: nobody else is answered."""
        return caller in self._peers

    async def endorse(self, caller: Address, body: bytes) -> bytes:
        """The signature over the receipt in its form; the same call gives the same.

        Raises Rejected for what cannot be read, NotEndorsed for what does not hold, NotYet where it may hold later,
        PicturesWanted where more is to be shown, and what the store raises.
        """
        if self._waiting >= self._settings.waiting:
            raise NotYet("busy", "too many receipts are being looked at", 5.0)
        self._waiting += 1
        try:
            async with self._turns:
                signature = await self._endorse(caller, body)
        except (NotEndorsed, Rejected) as refusal:
            reason = refusal.reason
            self._metrics.endorsements.labels("refused").inc()
            _log.warning("endorsement_refused", caller=to_checksum_address(caller), reason=str(reason))
            raise
        except (NotYet, PicturesWanted):
            self._metrics.endorsements.labels("postponed").inc()
            raise
        finally:
            self._waiting -= 1
        self._metrics.endorsements.labels("signed").inc()
        return signature

    async def _endorse(self, caller: Address, body: bytes) -> bytes:
        evidence = await asyncio.to_thread(decode_evidence, body)
        self._check_caller(caller, evidence)
        wanted = self._wanted(caller, evidence)
        known = await self._store.read(lambda c: endorsements.get(c, wanted.receipt_hash))
        if known is None or known.state in (EndorsementState.WAITING, EndorsementState.SIGNING):
            # Its age counts when it is brought: this attester's own window makes nothing too old.
            brought_at_ms = now_ms() if known is None else known.asked_at_ms
            await self._examine(evidence, wanted, brought_at_ms // 1_000)
        kept = await self._begin(wanted)
        if kept.state == EndorsementState.SIGNED:
            assert kept.signature is not None
            return bytes.fromhex(kept.signature[2:])
        if kept.state == EndorsementState.DISPUTED:
            raise NotEndorsed("disputed", "something spoke against this receipt while its window was open")
        left_ms = kept.window_until_ms - now_ms()
        if left_ms > 0:
            raise NotYet("challenge_window", "this attester signs after its challenge window", left_ms / 1_000)
        return await self._sign(evidence, wanted)

    def _check_caller(self, caller: Address, evidence: Evidence) -> None:
        receipt = evidence.receipt
        peer = self._peers.get(caller)
        if peer is None:
            raise NotEndorsed("unknown_caller", "this attester answers the hubs that its operator knows")
        if receipt.hub_id != peer.hub_id:
            raise NotEndorsed("wrong_hub", "a hub asks for its own jobs' receipts only", "receipt.hub_id")

    def _wanted(self, caller: Address, evidence: Evidence) -> NewEndorsement:
        receipt = evidence.receipt
        try:
            digest = digest_of(evidence.form, receipt, evidence.request, evidence.fee)
        except Rejected as rejected:
            raise NotEndorsed(rejected.reason.value, rejected.message, "form") from None
        return NewEndorsement(
            receipt_hash=to_hex(receipt.hash),
            hub_id=receipt.hub_id,
            job_id=receipt.job_id,
            asked_by=to_checksum_address(caller),
            form=evidence.form,
            digest=to_hex(digest),
            client=receipt.client,
            request_hash=to_hex(receipt.request_hash),
            is_signed_request=receipt.client_signature is not None,
            window_until_ms=now_ms() + self._settings.window_s * 1_000,
        )

    async def _examine(self, evidence: Evidence, wanted: NewEndorsement, brought_at_s: int) -> None:
        """Everything that this attester can see for itself."""
        bounds = self._settings.bounds
        attesters = await self._chain.attesters()
        await asyncio.to_thread(  # Up to 65 signatures.
            check_claims,
            evidence,
            chain_id=self.attester.network.chain_id,
            ceiling_atoms=attesters.ceiling_atoms,
            bounds=bounds,
            now_s=brought_at_s,
        )
        who = [part.receipt.provider for part in parts_of(evidence)]
        check_registered(evidence, await self._chain.providers(who), bounds)
        await self._check_standing(who)
        if await self._chain.use_of(evidence.receipt.hash) is not None:
            raise NotEndorsed("receipt_used", "this receipt is used up on the chain", "receipt")
        await self._draw(evidence, wanted)
        await asyncio.to_thread(check_pictures, evidence)

    async def _draw(self, evidence: Evidence, wanted: NewEndorsement) -> None:
        """Which pictures of a large job are to be shown, nobody knows before this attester is bound to the receipt:
        so nobody can try receipt after receipt until it draws those that are in order."""
        numbers = range(len(evidence.pictures))
        if len(numbers) > DRAWN:
            await self._begin(wanted)
            numbers_drawn = self._key.draws(evidence.receipt.hash).choose("endorsement", numbers, DRAWN)
        else:
            numbers_drawn = list(numbers)
        if not all(evidence.pictures[number] for number in numbers_drawn):
            raise PicturesWanted(tuple(sorted(numbers_drawn)))

    async def _check_standing(self, who: Sequence[Address]) -> None:
        """What this hub has itself seen of them: whom it caught lying, it vouches for nowhere."""
        names, now = [to_checksum_address(address) for address in who], now_ms()
        found = await self._store.read(lambda c: {name: providers.get(c, name) for name in set(names)})
        for index, name in enumerate(names):
            provider, field = found[name], f"parts[{index}].receipt.provider"
            if provider is None:
                continue
            if provider.is_banned:
                raise NotEndorsed("banned", f"this hub takes no work of {name}", field)
            if provider.suspended_reason in OFFENCE_REASONS and (provider.suspended_until_ms or 0) > now:
                raise NotEndorsed("distrusted", f"this hub has caught {name} lying", field)

    async def _begin(self, wanted: NewEndorsement) -> Endorsement:
        """Once more where another process was quicker: the same receipt is kept then, or a rival."""
        for is_last in (False, True):
            try:
                return await self._store.write(lambda t: endorsements.begin(t, wanted, now_ms()))
            except AlreadyUsed as used:
                if is_last or used.what in _USED_SENTENCES:
                    sentence = _USED_SENTENCES.get(used.what, "another receipt was brought before")
                    raise NotEndorsed("attested_otherwise", sentence, "receipt") from None
        raise AssertionError("unreachable")

    async def _sign(self, evidence: Evidence, wanted: NewEndorsement) -> bytes:
        if not await self._store.write(lambda t: endorsements.begin_signing(t, wanted.receipt_hash)):
            sentence = "disputed, or replaced by another receipt of its job, while it was looked at"
            raise NotEndorsed("attested_otherwise", sentence, "receipt")
        try:
            signature = await self._signing.sign(evidence.form, evidence.receipt, evidence.request, evidence.fee)
        except Rejected as rejected:  # Also where the log has another receipt, or another form, for this job.
            raise NotEndorsed("attested_otherwise", rejected.message, "receipt") from None
        except (AttestationLogError, SignerUnavailable) as error:
            _log.error("endorsement_not_signed", receipt_hash=wanted.receipt_hash, detail=str(error))
            raise NotYet("signer_away", "this attester cannot sign now", _SIGNER_RETRY_S) from None
        text = to_hex(signature)

        def unit(transaction: Transaction) -> Endorsement | None:
            if endorsements.sign(transaction, wanted.receipt_hash, text):
                facts = {
                    "hub_id": wanted.hub_id,
                    "job_id": wanted.job_id,
                    "form": wanted.form.value,
                    "asked_by": wanted.asked_by,
                    "digest": wanted.digest,
                    "amount": str(evidence.receipt.amount),
                }
                audit.append(transaction, "endorsed", wanted.receipt_hash, facts, now_ms())
            return endorsements.get(transaction, wanted.receipt_hash)

        kept = await self._store.write(unit)
        if kept is None or kept.signature is None:
            raise NotEndorsed("disputed", "something spoke against this receipt while its window was open")
        _log.info("endorsed", receipt_hash=wanted.receipt_hash, hub_id=wanted.hub_id, form=wanted.form.value)
        return bytes.fromhex(kept.signature[2:])
