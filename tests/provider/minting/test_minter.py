"""From attested receipts to minted AIT, against a real validator process: retries, restarts, outages, refusals."""

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from chain.client import NodeError
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.receipt import Receipt
from chain.primitives.transaction import sign_transaction
from provider.minting.minter import MAX_IN_FLIGHT
from provider.minting.registration import Registrar, RegistryEntry
from provider.storage.rows import ReceiptState

STRANGER = PrivateKey(b"\x63" * 32)
PRICE = 10**18
CHAIN_ID = 777_001
TIMEOUT_S = 60.0
ENTRY = RegistryEntry("http://127.0.0.1:8000", ("aitbc/tiny-sd",), PRICE, "gpu_seconds", 0)

WithEarner = Callable[..., None]


def test_a_receipt_is_minted_to_the_atom(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Any) -> None:
        receipt = earner.attested(1, seconds=1.234567)
        await earner.mint_until((receipt, ReceiptState.FINAL))
        stored = earner.stored(receipt)
        assert stored.height is not None
        assert stored.transaction_hash is not None
        used = await earner.client.receipt(receipt.hash)
        assert (used.provider, int(used.units)) == (to_checksum_address(key.address), receipt.amount)

    with_earner(scenario)
    assert node.balance(key.address) == 1_234_567_000_000_000_000


def test_many_receipts_go_in_order_and_free_ones_too(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Any) -> None:
        paid = [earner.attested(number) for number in range(2 * MAX_IN_FLIGHT + 3)]
        free = earner.attested(100, price=0)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in [*paid, free]))
        assert int((await earner.client.receipt(free.hash)).units) == 0
        assert (await earner.account.view()).nonce == 2 * MAX_IN_FLIGHT + 4

    with_earner(scenario)
    assert node.balance(key.address) == (2 * MAX_IN_FLIGHT + 3) * PRICE


@pytest.mark.parametrize("is_delivered", [False, True])
def test_a_restart_sends_the_same_transaction_again(
    node: Any, with_earner: WithEarner, key: PrivateKey, is_delivered: bool
) -> None:
    """The process died after it wrote the transaction down: before it sent it, or after."""
    receipts: list[Receipt] = []

    async def dies(earner: Any) -> None:
        receipt = earner.attested(1)
        receipts.append(receipt)
        call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, earner.attest(receipt))
        signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=0, to=MINTER, data=call)
        earner.outbox.mark_submitted(receipt.hash, nonce=0, raw=signed.raw, transaction_hash=signed.hash)
        if is_delivered:
            await earner.client.send_transaction(signed.raw)

    async def resumes(earner: Any) -> None:
        await earner.mint_until((receipts[0], ReceiptState.FINAL))
        assert (await earner.account.view()).nonce == 1

    with_earner(dies)
    with_earner(resumes)
    assert node.balance(key.address) == PRICE


def test_a_node_that_is_killed_and_comes_back(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    """A killed node has forgotten its mempool; whatever was not final is sent again."""

    async def scenario(earner: Any) -> None:
        receipts = [earner.attested(number) for number in range(5)]
        with contextlib.suppress(NodeError):
            await earner.minter.step()
        await asyncio.to_thread(node.kill)
        with pytest.raises(NodeError):
            await earner.minter.step()
        await asyncio.to_thread(node.start)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in receipts))

    with_earner(scenario)
    assert node.balance(key.address) == 5 * PRICE


def test_a_nonce_that_another_transaction_took(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    """Somebody used the same key elsewhere: our transaction can never be, so another is signed."""

    async def scenario(earner: Any) -> None:
        first, second = earner.attested(1), earner.attested(2)
        for receipt, nonce in ((first, 0), (second, 1)):
            call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, earner.attest(receipt))
            signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=MINTER, data=call)
            earner.outbox.mark_submitted(receipt.hash, nonce=nonce, raw=signed.raw, transaction_hash=signed.hash)
        await Registrar(earner.account).register(ENTRY)
        await earner.mint_until((first, ReceiptState.FINAL), (second, ReceiptState.FINAL))
        assert (await earner.account.view()).nonce == 3

    with_earner(scenario)
    assert node.balance(key.address) == 2 * PRICE


def test_a_lost_earlier_transaction_holds_nobody_up(with_earner: WithEarner, key: PrivateKey) -> None:
    """A nonce in the middle is missing: the later transaction is signed anew for the gap."""

    async def scenario(earner: Any) -> None:
        receipt = earner.attested(1)
        call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, earner.attest(receipt))
        signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=5, to=MINTER, data=call)
        earner.outbox.mark_submitted(receipt.hash, nonce=5, raw=signed.raw, transaction_hash=signed.hash)
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert (await earner.account.view()).nonce == 1

    with_earner(scenario)


def test_somebody_else_sent_the_mint(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    """Whoever has the attestation may send it; the tokens are the provider's all the same."""

    async def scenario(earner: Any) -> None:
        receipt = earner.sign_receipt(1)
        call = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, earner.attest(receipt))
        friend = PrivateKey(b"\x71" * 32)
        nonce = (await earner.client.account(friend.address)).pending_nonce
        signed = sign_transaction(friend, chain_id=CHAIN_ID, nonce=nonce, to=MINTER, data=call)
        await earner.client.send_transaction(signed.raw)
        await earner.client.wait_for_transaction(signed.hash)
        earner.outbox.accept_attestation(receipt.hash, earner.attest(receipt))
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert earner.stored(receipt).transaction_hash == signed.hash

    with_earner(scenario)
    assert node.balance(key.address) == PRICE


def test_what_can_never_be_minted_is_refused_with_the_reason(with_earner: WithEarner) -> None:
    async def scenario(earner: Any) -> None:
        good = earner.attested(1)
        forged = earner.sign_receipt(2)
        earner.outbox.accept_attestation(forged.hash, earner.attest(forged, STRANGER))
        too_much = earner.attested(3, seconds=21)
        last = earner.attested(4)
        await earner.mint_until(
            (good, ReceiptState.FINAL),
            (forged, ReceiptState.REFUSED),
            (too_much, ReceiptState.REFUSED),
            (last, ReceiptState.FINAL),
        )
        for receipt, reason in ((forged, "not_an_attester"), (too_much, "receipt_ceiling")):
            assert earner.stored(receipt).reason.startswith(reason)
        # A proper attestation makes up for the forged one.
        await earner.attestations.accept(forged.hash, earner.attest(forged))
        await earner.mint_until((forged, ReceiptState.FINAL))

    with_earner(scenario)


def test_a_node_of_another_network_costs_no_receipt(with_earner: WithEarner) -> None:
    async def scenario(earner: Any) -> None:
        receipt = earner.attested(1)
        earner.chain.chain_id = CHAIN_ID + 1  # To this node, what follows is of another network: and the reverse.
        await earner.minter.step()
        assert earner.state(receipt) is ReceiptState.ATTESTED
        earner.chain.chain_id = CHAIN_ID
        await earner.mint_until((receipt, ReceiptState.FINAL))

    with_earner(scenario)


def test_a_cap_of_the_period_is_waited_out(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Any) -> None:
        within = [earner.attested(number, seconds=20) for number in range(2)]
        above = earner.attested(10, seconds=20)
        below = earner.attested(11, seconds=10)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in [*within, below]))
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            stored = earner.stored(above)
            if stored.state is ReceiptState.ATTESTED and stored.attempts >= 2:
                break
            assert time.monotonic() < deadline, stored
            await earner.minter.step()
            await asyncio.sleep(0.1)
        assert stored.reason == "provider_cap"
        assert stored.next_attempt_ms > stored.updated_ms

    with_earner(scenario)
    assert node.balance(key.address) == 50 * PRICE


def test_a_chain_that_is_down_for_long_costs_no_receipt(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    """Receipts go on being signed and attested while it is down, the provider restarts, and each is minted once."""
    receipts: list[Receipt] = []

    async def before(earner: Any) -> None:
        receipts.extend(earner.attested(number) for number in range(3))
        await earner.minter.step()
        assert {earner.state(receipt) for receipt in receipts} == {ReceiptState.SUBMITTED}
        await asyncio.to_thread(node.kill)

    async def during(earner: Any) -> None:
        assert earner.chain.chain_id == CHAIN_ID  # It knows its chain from before.
        with structlog.testing.capture_logs() as logs:
            minting = asyncio.create_task(earner.minter.run())
            for number in range(3, 20):
                receipts.append(earner.attested(number))
                earner.minter.wake()
                await asyncio.sleep(0.02)
            minting.cancel()
            await asyncio.gather(minting, return_exceptions=True)
        assert {log["event"] for log in logs} == {"node_unreachable"}
        assert [earner.state(receipt) for receipt in receipts[:3]] == [ReceiptState.SUBMITTED] * 3
        assert {earner.stored(receipt).attempts for receipt in receipts} == {0}

    async def after(earner: Any) -> None:
        await asyncio.to_thread(node.start)
        await earner.mint_until(*((receipt, ReceiptState.FINAL) for receipt in receipts))
        assert (await earner.account.view()).nonce == len(receipts)
        assert earner.registry.get_sample_value("aitbc_provider_minted_ait_total") == len(receipts)

    with_earner(before)
    for _ in range(2):
        with_earner(during, learns=False)
    with_earner(after, learns=False)
    assert node.balance(key.address) == 37 * PRICE


def test_a_full_disk_holds_minting_up_but_does_not_end_it(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Any) -> None:
        receipt = earner.attested(1)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        with structlog.testing.capture_logs() as logs:
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
                minting = asyncio.create_task(earner.minter.run())
                deadline = time.monotonic() + TIMEOUT_S
                while not logs:
                    assert time.monotonic() < deadline
                    assert not minting.done()
                    await asyncio.sleep(0.02)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert logs[0]["event"] == "minting_postponed"
        assert earner.state(receipt) is ReceiptState.ATTESTED
        earner.minter.wake()
        while earner.state(receipt) is not ReceiptState.FINAL:
            assert time.monotonic() < deadline + TIMEOUT_S
            assert not minting.done()
            await asyncio.sleep(0.05)
        minting.cancel()
        await asyncio.gather(minting, return_exceptions=True)

    with_earner(scenario)
    assert node.balance(key.address) == PRICE
