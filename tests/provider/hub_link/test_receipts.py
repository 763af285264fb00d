"""Receipts of split jobs on a real chain: signed by their provider, attested, minted once for all, in proportion."""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from chain.client import AsyncNodeClient, NodeClient
from chain.primitives.hexadecimal import to_hex
from chain.primitives.hub_messages import Attested
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import Receipt, attestation_digest, combined_artifact_sha256, mint_split_digest
from chain.primitives.shards import Shard
from chain.primitives.types import Amount, Hash32
from chain.primitives.units import compute_amount
from chain.primitives.worker_messages import raw_json
from hub.workers.desk import HubIdentity
from hub.workers.errors import WorkerRefused
from provider.minting.chain_account import ChainAccount
from provider.minting.minter import Minter
from provider.monitoring.metrics import ProviderMetrics
from provider.storage.rows import ReceiptState
from tests.hub.workers.rig import RunningHub, grant_to, key_of, run_of, serving, until
from tests.provider.hub_link.rig import LinkedProvider, linked
from tests.provider.minting.conftest import ATTESTER, CHAIN_ID, RealNode

PRICE = 10**15


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNode]:
    running = RealNode(tmp_path_factory.mktemp("node") / "node", Parameters())
    running.start()
    yield running
    running.kill()


def identity_at(node: RealNode) -> HubIdentity:
    with NodeClient(node.url) as client:
        return HubIdentity("main-hub", CHAIN_ID, client.status().genesis_hash)


@asynccontextmanager
async def two_providers(folder: Path, node: RealNode, numbers: tuple[int, int]) -> Any:
    """A hub, and two providers that have served two pictures and one of the same job."""
    identity = identity_at(node)
    options: dict[str, Any] = {"hub": identity, "node_url": node.url, "price_per_unit": PRICE}
    async with (
        serving(folder, hub=identity) as hub,
        linked(folder / "one", hub.url, key=key_of(numbers[0]), **options) as one,
        linked(folder / "two", hub.url, key=key_of(numbers[1]), **options) as two,
    ):
        for number, lease_id, run in (
            (numbers[0], "lease-1", run_of(2)),
            (numbers[1], "lease-2", run_of(1, seed=9)),
        ):
            hub.desk.waiting.append(grant_to(number, lease_id, run=run, price_per_unit=str(PRICE)))
        await until(lambda: len(hub.desk.deliveries) == 2)
        yield hub, one, two


def composed(hub: RunningHub, nonce: str = "whole-1", **changes: Any) -> Receipt:
    """The receipt of the whole job, from those of its parts."""
    parts = [hub.desk.deliveries[lease_id].receipt for lease_id in ("lease-1", "lease-2")]
    units = sum(part.micro_units for part in parts)
    whole = replace(
        parts[0],
        micro_units=units,
        amount=compute_amount(units, parts[0].price_per_unit),
        nonce=nonce,
        started_at=min(part.started_at for part in parts),
        finished_at=max(part.finished_at for part in parts),
        artifact_sha256=combined_artifact_sha256([bytes.fromhex(part.artifact_sha256) for part in parts]),
        shards=tuple(
            Shard(
                provider=part.provider,
                micro_units=part.micro_units,
                artifact_sha256=part.artifact_sha256,
                receipt_hash=part.hash,
            )
            for part in parts
        ),
    )
    return replace(whole, **changes)


def attested(receipt: Receipt, signature: bytes, **changes: Any) -> Attested:
    providers, amounts = zip(*receipt.payouts(), strict=True)
    digest = mint_split_digest(receipt.chain_id, providers, amounts, receipt.hash)
    fields: dict[str, Any] = {
        "receipt_hash": to_hex(receipt.hash),
        "form": "split",
        "signatures": to_hex(ATTESTER.sign(digest)),
        "receipt": raw_json(receipt.to_object()),
        "receipt_signature": to_hex(signature),
    }
    return Attested(**(fields | changes))


async def mint_until_final(provider: LinkedProvider, node: RealNode, receipt_hash: Hash32) -> None:
    client = AsyncNodeClient(node.url)
    try:
        account = ChainAccount(client, provider.key)
        minter = Minter(provider.outbox, account, provider.tools.chain, ProviderMetrics(CollectorRegistry()))
        async with asyncio.timeout(60):
            while True:
                await minter.step()
                stored = provider.outbox.get(receipt_hash)
                assert stored is not None
                if stored.state is ReceiptState.FINAL:
                    return
                await asyncio.sleep(0.05)
    finally:
        await client.close()


async def test_a_split_job_is_minted_once_and_pays_in_proportion(tmp_path: Path, node: RealNode) -> None:
    async with two_providers(tmp_path, node, (1, 2)) as (hub, one, two):
        receipt = composed(hub)
        signature = await hub.workers.orders.sign_receipt(one.key.address, receipt)
        for provider in (one, two):
            assert await hub.workers.orders.attest(provider.key.address, attested(receipt, signature)) == "attested"
        assert (len(one.minted), len(two.minted)) == (1, 1)
        await mint_until_final(one, node, receipt.hash)
        assert [node.balance(each.key.address) for each in (one, two)] == [2 * PRICE, PRICE]
        # The other one was to wait; now its turn has come, and it finds the receipt used for both.
        (waiting,) = [each for each in two.outbox.of_job("main-hub", "job-1") if each.receipt_hash == receipt.hash]
        assert waiting.next_attempt_ms > waiting.updated_ms
        two.outbox.mark_waiting(receipt.hash, reason="its turn", next_attempt_ms=0)
        await mint_until_final(two, node, receipt.hash)
        assert [node.balance(each.key.address) for each in (one, two)] == [2 * PRICE, PRICE]
        for provider in (one, two):
            states = {each.state for each in provider.outbox.of_job("main-hub", "job-1")}
            assert states == {ReceiptState.FINAL}
        again = attested(receipt, signature)
        assert await hub.workers.orders.attest(one.key.address, again) == "final"


async def test_a_job_of_one_part_is_minted_as_ever(tmp_path: Path, node: RealNode) -> None:
    identity = identity_at(node)
    options: dict[str, Any] = {"hub": identity, "node_url": node.url, "price_per_unit": PRICE}
    async with (
        serving(tmp_path, hub=identity) as hub,
        linked(tmp_path / "one", hub.url, key=key_of(3), **options) as one,
    ):
        hub.desk.waiting.append(grant_to(3, price_per_unit=str(PRICE)))
        await until(lambda: hub.desk.deliveries)
        receipt = hub.desk.deliveries["lease-1"].receipt
        signature = ATTESTER.sign(attestation_digest(receipt.provider, receipt.amount, receipt.hash))
        message = Attested(receipt_hash=to_hex(receipt.hash), form="mint", signatures=to_hex(signature))
        assert await hub.workers.orders.attest(one.key.address, message) == "attested"
        await mint_until_final(one, node, receipt.hash)
        assert node.balance(one.key.address) == PRICE


async def test_a_whole_in_which_the_parts_are_not_as_they_were_is_not_signed(tmp_path: Path, node: RealNode) -> None:
    async with two_providers(tmp_path, node, (4, 5)) as (hub, one, _two):
        right = composed(hub)
        assert right.shards is not None
        mine, other = right.shards
        tampered = {
            "fewer units": replace(
                right, shards=(replace(mine, micro_units=10**6), replace(other, micro_units=2 * 10**6))
            ),
            "other pictures": replace(
                right,
                shards=(replace(mine, artifact_sha256="00" * 32), other),
                artifact_sha256=combined_artifact_sha256([bytes(32), bytes.fromhex(other.artifact_sha256)]),
            ),
            "an unknown receipt": replace(right, shards=(replace(mine, receipt_hash=Hash32(bytes(32))), other)),
            "no receipt": replace(right, shards=(replace(mine, receipt_hash=None), other)),
            "a lower price": replace(
                right, price_per_unit=Amount(PRICE // 2), amount=compute_amount(right.micro_units, PRICE // 2)
            ),
            "another client": replace(right, client="mallory"),
            "another job": replace(right, job_id="job-2"),
            "another hub": replace(right, hub_id="other-hub"),
            "an earlier end": replace(right, started_at=1, finished_at=1),
        }
        for case, receipt in tampered.items():
            with pytest.raises(WorkerRefused) as caught:
                await hub.workers.orders.sign_receipt(one.key.address, receipt.checked())
            assert caught.value.reason in ("wrong_shards", "wrong_hub"), case
        with pytest.raises(WorkerRefused, match="another provider"):
            await hub.workers.orders.sign_receipt(one.key.address, replace(right, provider=other.provider))
        with pytest.raises(WorkerRefused):
            await hub.workers.orders.sign_receipt(one.key.address, hub.desk.deliveries["lease-1"].receipt)
        assert len(one.outbox.of_job("main-hub", "job-1")) == 1


async def test_one_whole_is_paid_for(tmp_path: Path, node: RealNode) -> None:
    """Composed anew before anybody has attested the first, say by a hub that was killed; never afterwards."""
    async with two_providers(tmp_path, node, (6, 7)) as (hub, one, two):
        first, second = composed(hub), composed(hub, "whole-2")
        signature = await hub.workers.orders.sign_receipt(one.key.address, first)
        assert await hub.workers.orders.sign_receipt(one.key.address, first) == signature
        signature = await hub.workers.orders.sign_receipt(one.key.address, second)
        await hub.workers.orders.attest(one.key.address, attested(second, signature))
        with pytest.raises(WorkerRefused) as caught:
            await hub.workers.orders.sign_receipt(one.key.address, composed(hub, "whole-3"))
        assert caught.value.reason == "already_attested"
        assert len(two.outbox.of_job("main-hub", "job-1")) == 1


async def test_attestations_that_the_chain_would_refuse_are_refused(tmp_path: Path, node: RealNode) -> None:
    async with two_providers(tmp_path, node, (8, 9)) as (hub, one, _two):
        receipt = composed(hub)
        signature = await hub.workers.orders.sign_receipt(one.key.address, receipt)
        part = hub.desk.deliveries["lease-1"].receipt
        wrong = {
            "not_an_attester": attested(receipt, signature, signatures=to_hex(key_of(99).sign(receipt.hash))),
            "signature_count": attested(receipt, signature, signatures="0x" + "cd" * 130),
            "invalid_split": attested(receipt, signature, form="mint"),
            "bad_receipt": attested(receipt, b"\x01" * 64 + b"\x1b"),
            "not_found": Attested(receipt_hash="0x" + "00" * 32, form="mint", signatures="0x" + "cd" * 65),
        }
        for reason, message in wrong.items():
            with pytest.raises(WorkerRefused) as caught:
                await hub.workers.orders.attest(one.key.address, message)
            assert caught.value.reason in (reason, "bad_signature"), reason
        stored = one.outbox.get(part.hash)
        assert stored is not None
        assert stored.state is ReceiptState.SIGNED


async def test_an_attestation_waits_for_a_chain_that_is_down(tmp_path: Path, node: RealNode) -> None:
    identity = identity_at(node)
    async with serving(tmp_path, hub=identity) as hub, linked(tmp_path / "one", hub.url, hub=identity) as one:
        hub.desk.waiting.append(grant_to(1))
        await until(lambda: hub.desk.deliveries)
        receipt = hub.desk.deliveries["lease-1"].receipt
        message = Attested(receipt_hash=to_hex(receipt.hash), form="mint", signatures="0x" + "cd" * 65)
        with pytest.raises(WorkerRefused) as caught:
            await hub.workers.orders.attest(one.key.address, message)
        assert (caught.value.reason, caught.value.retry_after_s) == ("node_unreachable", 10.0)
