"""Outcomes on a real chain's record: many in one call, each counted once, whatever was lost on the way."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import update

from chain.client import AsyncNodeClient
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from hub.reputation.noting import note, note_breach
from hub.reputation.recording import Recorder
from hub.reputation.rules import Outcome
from hub.store import outcomes
from hub.store.outcomes import OutcomeState
from hub.store.store import HubIdentity, Store, now_ms
from hub.store.tables.attesting import OUTCOMES
from hub.store.transaction import Transaction
from tests.hub.attestation.evidences import CHAIN_ID
from tests.hub.attestation.hubs import ATTESTERS, TwoAttesterChain


@pytest.fixture
async def store(network: TwoAttesterChain, tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", HubIdentity("east", CHAIN_ID, to_hex(network.genesis_hash)))
    yield opened
    await opened.close()


def registered(network: TwoAttesterChain) -> str:
    key = PrivateKey.generate()
    network.register(key)
    return to_checksum_address(key.address)


def tell(store: Store, name: str, *kinds: Outcome) -> None:
    def all_of_them(transaction: Transaction) -> None:
        for kind in kinds:
            note(transaction, name, kind, now_ms())

    store.write_now(all_of_them)


async def test_many_outcomes_are_one_call_and_count_once(network: TwoAttesterChain, store: Store) -> None:
    name = registered(network)
    tell(store, name, *[Outcome.FAILED] * 3, Outcome.TIMED_OUT, Outcome.LIED, Outcome.SERVED)
    async with AsyncNodeClient(network.url) as node:
        recorder = Recorder(store=store, node=node, key=ATTESTERS["east"], chain_id=CHAIN_ID)
        nonce = (await node.account(ATTESTERS["east"].address)).nonce
        assert await recorder.record_due() == 1
        assert await recorder.record_due() == 0
        seen = (await node.provider(name)).reputation
        assert (seen.failures, seen.disputes, seen.breaches) == (4, 1, 0)
        assert (await node.account(ATTESTERS["east"].address)).nonce == nonce + 1


async def test_a_record_whose_answer_was_lost_is_counted_once(network: TwoAttesterChain, store: Store) -> None:
    name = registered(network)
    tell(store, name, Outcome.FAILED)
    async with AsyncNodeClient(network.url) as node:
        recorder = Recorder(store=store, node=node, key=ATTESTERS["east"], chain_id=CHAIN_ID)
        record = await recorder._record_of(name)
        assert await recorder._send(name, record)
        # As if killed before the answer was written down, with another outcome since.
        hash_ = record[0].record_hash
        assert hash_ is not None
        sent = update(OUTCOMES).where(OUTCOMES.c.record_hash == hash_)
        store.write_now(lambda t: t.execute(sent.values(state=OutcomeState.RECORDING)))
        tell(store, name, Outcome.FAILED)
        assert await recorder.record_due() == 1
        assert await recorder.record_due() == 1
        assert (await node.provider(name)).reputation.failures == 2
        assert store.read_now(lambda c: outcomes.providers_waiting(c, limit=9)) == []


async def test_who_is_not_on_the_chain_and_what_was_never_promised(network: TwoAttesterChain, store: Store) -> None:
    stranger, name = to_checksum_address(PrivateKey.generate().address), registered(network)
    tell(store, stranger, Outcome.FAILED)
    store.write_now(lambda t: note_breach(t, name, "0x" + "05" * 32, {"samples": 200}, now_ms()))
    async with AsyncNodeClient(network.url) as node:
        recorder = Recorder(store=store, node=node, key=ATTESTERS["east"], chain_id=CHAIN_ID)
        assert await recorder.record_due() == 0
        assert store.read_now(lambda c: outcomes.providers_waiting(c, limit=9)) == []


async def test_the_days_calls_are_bounded(network: TwoAttesterChain, store: Store) -> None:
    names = [registered(network) for _ in range(2)]
    for name in names:
        tell(store, name, Outcome.FAILED)
    async with AsyncNodeClient(network.url) as node:
        recorder = Recorder(store=store, node=node, key=ATTESTERS["east"], chain_id=CHAIN_ID, most_per_day=1)
        assert await recorder.record_due() == 1
        assert await recorder.record_due() == 0
        waiting = store.read_now(lambda c: outcomes.of_provider(c, names[1], OutcomeState.WAITING, limit=9))
        assert len(waiting) == 1
