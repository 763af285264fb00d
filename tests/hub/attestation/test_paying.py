"""Paid jobs: what a deposit covers, a settlement by two attesters, and books that follow the chain event by event."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.escrow import DEPOSIT, NOTICE_S, REQUEST_WITHDRAWAL
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import ESCROW
from chain.primitives.settlement import settlement_of
from chain.primitives.types import ATOMS_PER_AIT, Address
from hub.attestation.deposits import DepositDesk, PromiseSweep, until_s
from hub.attestation.following import NAME, EscrowFollower
from hub.attestation.forms import FEE_FACT, Fee
from hub.ledger import books
from hub.ledger.accounts import HUB_FEE, client_deposit, provider_earnings
from hub.store import followed, promises
from hub.store.jobs import JobState
from hub.store.promises import Promise, PromiseState, Underfunded
from hub.store.store import now_ms
from tests.hub.attestation.evidences import SPLIT
from tests.hub.attestation.hubs import PATIENCE_S, Hub, TwoAttesterChain, serving

RECIPIENT = Address(b"\x0f" * 20)
DEPOSITED = 3 * 10**17


def follower_of(hub: Hub) -> EscrowFollower:
    return EscrowFollower(store=hub.store, node=hub.node, logs=hub.logs, hub_id=hub.name, metrics=hub.metrics)


async def follow(hub: Hub) -> None:
    follower = follower_of(hub)
    while await follower.follow():
        pass


def balance(hub: Hub, account: str) -> int:
    return hub.store.read_now(lambda c: books.balance(c, account))


def reserve(hub: Hub, job_id: str, amount: int, secured: Any, client: str, expiry: int) -> None:
    wanted = Promise(
        job_id=job_id, client=client, request_hash="0x" + "00" * 32, amount=amount, until_s=until_s(expiry)
    )
    hub.store.write_now(
        lambda t: promises.reserve(
            t, wanted, secured_atoms=secured.atoms(wanted.until_s), height=secured.height, now_ms=now_ms()
        )
    )


async def test_a_paid_job_from_deposit_to_books(network: TwoAttesterChain, tmp_path: Path) -> None:
    client = PrivateKey.generate()
    name = to_checksum_address(client.address)
    network.fund(client, ATOMS_PER_AIT)
    network.send(client, ESCROW, DEPOSIT.encode("east", DEPOSITED, int(time.time()) + 30 * 86_400))
    job = SPLIT.but(
        job_id=f"job-{secrets.token_hex(6)}",
        client=client,
        is_paid=True,
        max_price=2 * 10**17,
        finished_at=int(time.time()),
    )
    fee = Fee(RECIPIENT, job.evidence().receipt.amount * 500 // 10_000)
    evidence = job.but(fee=fee).evidence()
    async with serving("east", tmp_path, network) as east, serving("west", tmp_path, network) as west:
        desk = DepositDesk(east.node, "east")
        secured = await desk.read(name)
        expiry = evidence.request.expiry
        assert secured.atoms(until_s(expiry)) == DEPOSITED
        job_id = evidence.receipt.job_id
        reserve(east, job_id, job.max_price, secured, name, expiry)
        with pytest.raises(Underfunded):
            reserve(east, "another", job.max_price, secured, name, expiry)

        east.bring(evidence)
        attesting = east.attesting([west], fee_recipient=RECIPIENT, fee_basis_points=500)
        async with asyncio.timeout(PATIENCE_S):
            while east.job(job_id).ended_at_ms is None:  # noqa: ASYNC110 - the database says when
                await asyncio.sleep(min(0.3, await attesting.attest_due()))
        assert east.job(job_id).state == JobState.DONE
        assert Fee.from_object(east.job(job_id).facts[FEE_FACT]) == fee

        receipt = east.receipt(job_id)
        assert receipt.attestation is not None
        settlement = settlement_of(evidence.receipt, evidence.request, fee_recipient=fee.recipient, fee=fee.amount)
        network.send(client, ESCROW, settlement.call_data(bytes.fromhex(receipt.attestation[2:])))
        async with asyncio.timeout(PATIENCE_S):
            while not await east.watch().look(receipt):  # noqa: ASYNC110 - the chain says when
                await asyncio.sleep(0.1)
        kept = east.store.read_now(lambda c: promises.get(c, job_id))
        assert kept is not None and kept.state == PromiseState.SETTLED
        # The view from before the settlement must not pay twice, the one from after it is what is left.
        with pytest.raises(Underfunded):
            reserve(east, "another", job.max_price, secured, name, expiry)
        newer = await desk.read(name)
        reserve(east, "another", DEPOSITED - settlement.total, newer, name, expiry)

        for _ in range(2):  # The second time, there is nothing new.
            await follow(east)
            assert balance(east, client_deposit(name)) == DEPOSITED - settlement.total
            assert balance(east, HUB_FEE) == fee.amount
            for who, amount in evidence.receipt.payouts():
                assert balance(east, provider_earnings(to_checksum_address(who))) == amount
            assert east.store.read_now(books.trial_balance) == 0
        await follow(west)
        assert balance(west, client_deposit(name)) == 0  # Another hub's deposits are none of its business.


async def test_what_a_deposit_does_not_cover(network: TwoAttesterChain, tmp_path: Path) -> None:
    client = PrivateKey.generate()
    name = to_checksum_address(client.address)
    network.fund(client, ATOMS_PER_AIT)
    async with serving("east", tmp_path, network) as east:
        desk = DepositDesk(east.node, "east")
        nothing = await desk.read(name)
        assert nothing.atoms(until_s(int(time.time()))) == 0
        now_s = int(time.time())
        network.send(client, ESCROW, DEPOSIT.encode("east", 1_000, now_s + 4 * 86_400))
        network.send(client, ESCROW, DEPOSIT.encode("elsewhere", 5_000, now_s + 4 * 86_400))
        secured = await desk.read(name)
        assert secured.atoms(until_s(now_s + 3_600)) == 1_000
        assert secured.atoms(until_s(now_s + 3 * 86_400)) == 0  # Its deadline is before that.
        network.send(client, ESCROW, REQUEST_WITHDRAWAL.encode("east", 400))
        asked = await desk.read(name)
        assert asked.atoms(until_s(now_s + 3_600)) == 1_000  # Within the notice: it can still be settled.
        assert asked.atoms(now_s + NOTICE_S + 60) == 600


async def test_promises_that_lapse_and_a_crash_while_following(network: TwoAttesterChain, tmp_path: Path) -> None:
    client = PrivateKey.generate()
    name = to_checksum_address(client.address)
    network.fund(client, ATOMS_PER_AIT)
    network.send(client, ESCROW, DEPOSIT.encode("east", 1_000, int(time.time()) + 4 * 86_400))
    async with serving("east", tmp_path, network) as east:
        secured = await DepositDesk(east.node, "east").read(name)
        long_ago = int(time.time()) - 5 * 86_400
        reserve(east, "old", 1_000, secured, name, long_ago)
        assert await PromiseSweep(east.store, east.node).sweep() == 1
        reserve(east, "new", 1_000, secured, name, int(time.time()))
        # Two followers at once: each stretch is booked by one of them.
        followers = [follower_of(east) for _ in range(3)]
        await asyncio.gather(*(follower.follow() for follower in followers))
        await follow(east)
        assert balance(east, client_deposit(name)) == 1_000
        height = east.store.read_now(lambda c: followed.height(c, NAME))
        assert height is not None and height > 0
