"""What the hub reads of the chain: offers of a real registry, and the standing of its attester."""

from typing import Any

from chain.answers import AttestersView, AttesterView, BigInteger
from chain.client import AsyncNodeClient
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import REGISTRY, WITHDRAW
from chain.primitives.types import BlockHeight
from hub.chain_view import ChainView, attester_fault


def attesters(*addresses: bytes, threshold: int = 1) -> AttestersView:
    allowance = BigInteger(10**20)
    listed = [
        AttesterView(
            address=to_checksum_address(address),  # type: ignore[arg-type]
            atoms_per_period=allowance,
            receipts_per_period=allowance,
            used_atoms=BigInteger(0),
            used_receipts=BigInteger(0),
        )
        for address in addresses
    ]
    return AttestersView(threshold=threshold, height=BlockHeight(1), finalized=True, attesters=listed)


def test_attester_that_counts(client_key: PrivateKey) -> None:
    assert attester_fault(attesters(b"\x01" * 20, client_key.address), client_key.address) is None


def test_attester_that_is_not_listed(client_key: PrivateKey) -> None:
    assert "not on the chain's list" in str(attester_fault(attesters(b"\x01" * 20), client_key.address))
    assert "not on the chain's list" in str(attester_fault(attesters(), client_key.address))


def test_attester_that_is_not_enough(client_key: PrivateKey) -> None:
    listed = attesters(b"\x01" * 20, client_key.address, threshold=2)
    assert "asks for 2 attesters" in str(attester_fault(listed, client_key.address))


async def test_offers_follow_the_registry(chain: Any, good: Any, make_provider: Any) -> None:
    provider = make_provider(PrivateKey.generate())
    unknown = PrivateKey.generate().address
    async with AsyncNodeClient(chain.url) as node:
        addresses = (good.key.address, provider.key.address, unknown)
        view = ChainView(node, attester=chain.attester.address, providers=addresses, refresh_s=1, grace_s=60)
        assert view.snapshot is None
        before = await view.refresh()
        assert [offer.address for offer in before.offers] == [good.key.address]
        assert before.offers[0].endpoint == good.url
        assert before.offers[0].models == ("good/model", "aitbc/tiny-sd")
        assert before.attester_fault is None
        assert not before.is_minting_paused
        assert before.receipt_ceiling_atoms == 1_000 * 10**18

        chain.register(provider)
        assert {offer.address for offer in (await view.refresh()).offers} == set(addresses[:2])
        chain.send(provider.key, REGISTRY, WITHDRAW.encode())
        assert [offer.address for offer in (await view.refresh()).offers] == [good.key.address]
        assert view.snapshot is not None


async def test_old_news_is_no_news(chain: Any) -> None:
    async with AsyncNodeClient(chain.url) as node:
        view = ChainView(node, attester=chain.attester.address, providers=(), refresh_s=0, grace_s=0)
        await view.refresh()
        assert view.snapshot is None
