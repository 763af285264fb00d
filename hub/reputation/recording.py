"""Failures, disputes and breaches on the chain's record: by the attester's key, few calls for many outcomes.

A provider's outcomes are put together to a record whose hash is over their evidence, and that is written down before
it is sent. The chain counts a hash once: whatever was lost on the way, or by a crash, is sent again as it was.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from chain.client import AsyncNodeClient, NodeError, NodeRefused
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_hash, to_hex
from chain.primitives.keys import Signer, SignerUnavailable
from chain.primitives.modules import RECORD_BREACH, RECORD_OUTCOME, REGISTRY
from chain.primitives.rejection import RejectionReason
from chain.primitives.transaction import Transaction as ChainTransaction
from chain.primitives.transaction import sign_transaction
from hub.store import outcomes
from hub.store.errors import StoreError
from hub.store.outcomes import Outcome, OutcomeKind, OutcomeState
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader

MOST_COUNTED: Final = 1_000
"""The chain's bound on one record (`chain.rules.reputation.MAX_RECORDED`)."""
_DAY_MS: Final = 86_400_000
_PROVIDERS: Final = 64
_PAUSE_S: Final = 60.0
_FINAL_S: Final = 60.0
_COUNTED_BEFORE: Final = RejectionReason.EVIDENCE_USED.value
_NEVER: Final = frozenset({RejectionReason.NOT_REGISTERED.value, RejectionReason.UNKNOWN_SLA.value})

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.reputation")


class Recorder:
    """The loop, in one process at a time that an operator sets it going in."""

    def __init__(
        self, *, store: Store, node: AsyncNodeClient, key: Signer, chain_id: int, most_per_day: int = 200
    ) -> None:
        """`most_per_day` bounds how many calls this hub makes: what is beyond it waits."""
        self._store = store
        self._node = node
        self._key = key
        self._chain_id = chain_id
        self._most_per_day = most_per_day

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.record_due()
            except (NodeError, StoreError, SignerUnavailable) as error:
                _log.warning("outcomes_not_recorded", detail=str(error))
            await asyncio.sleep(_PAUSE_S)

    async def record_due(self) -> int:
        """How many records the chain has from now on."""
        done = 0
        for name in await self._store.read(lambda c: outcomes.providers_waiting(c, limit=_PROVIDERS)):
            record = await self._record_of(name)
            if record and await self._send(name, record):
                done += 1
        return done

    async def _record_of(self, name: str) -> Sequence[Outcome]:
        """The record that is under way, or a new one of what waits; none where the day's calls are used up."""

        def look(reader: Reader) -> tuple[list[Outcome], list[Outcome], int]:
            under_way = outcomes.of_provider(reader, name, OutcomeState.RECORDING, limit=MOST_COUNTED)
            waiting = outcomes.of_provider(reader, name, OutcomeState.WAITING, limit=MOST_COUNTED)
            return under_way, waiting, outcomes.records_since(reader, now_ms() - _DAY_MS)

        under_way, waiting, made = await self._store.read(look)
        if under_way:
            return [each for each in under_way if each.record_hash == under_way[0].record_hash]
        if not waiting or made >= self._most_per_day:
            return []
        chosen = _together(waiting)
        record_hash = to_hex(record_hash_of(chosen))
        await self._store.write(lambda t: outcomes.put_together(t, chosen, record_hash))
        return await self._store.read(
            lambda c: outcomes.of_provider(c, name, OutcomeState.RECORDING, limit=MOST_COUNTED)
        )

    async def _send(self, name: str, record: Sequence[Outcome]) -> bool:
        """Whether the chain has counted it, finally."""
        record_hash = record[0].record_hash
        assert record_hash is not None
        data = call_of(name, record)
        account = await self._node.account(self._key.address)
        signed: ChainTransaction = await asyncio.to_thread(
            sign_transaction, self._key, chain_id=self._chain_id, nonce=account.pending_nonce, to=REGISTRY, data=data
        )
        try:
            sent = await self._node.send_transaction(signed.raw)
            view = await self._node.wait_for_transaction(sent.transaction_hash, timeout_s=_FINAL_S)
        except NodeRefused as refused:
            reason: str | None = refused.reason
        else:
            if view.status == "success":
                return await self._close(record_hash, "counted")
            reason = None if view.reason is None else view.reason.partition(":")[0]
        if reason == _COUNTED_BEFORE:
            return await self._close(record_hash, "counted")
        if reason in _NEVER:
            return await self._close(record_hash, str(reason))
        _log.warning("record_failed", provider=name, reason=reason)
        return False

    async def _close(self, record_hash: str, outcome: str) -> bool:
        count = await self._store.write(lambda t: outcomes.recorded(t, record_hash))
        _log.info("outcomes_recorded", record_hash=record_hash, count=count, outcome=outcome)
        return outcome == "counted"


def _together(waiting: Sequence[Outcome]) -> list[Outcome]:
    """One call's worth, the oldest first: a breach stands alone, failures and disputes go together."""
    if waiting[0].kind == OutcomeKind.BREACH:
        return [waiting[0]]
    return [each for each in waiting if each.kind != OutcomeKind.BREACH][:MOST_COUNTED]


def record_hash_of(record: Sequence[Outcome]) -> bytes:
    """Keccak-256 of the outcomes' evidence, a line each: whoever has these lines can show what was counted."""
    return keccak256("\n".join(each.evidence for each in record).encode())


def call_of(name: str, record: Sequence[Outcome]) -> bytes:
    """The registry module's call."""
    provider, evidence_hash = parse_address(name), record_hash_of(record)
    if record[0].kind == OutcomeKind.BREACH:
        sla_hash = parse_hash(msgspec.json.decode(record[0].evidence)["sla_hash"])
        return RECORD_BREACH.encode(provider, sla_hash, evidence_hash)
    failures = sum(each.kind == OutcomeKind.FAILURE for each in record)
    return RECORD_OUTCOME.encode(provider, failures, len(record) - failures, evidence_hash)
