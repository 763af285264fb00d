"""What can be asked of assets at the market's address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.market import (
    ASSET,
    ASSET_COUNT,
    HOLDER,
    SET_AUTHORIZED,
    SET_FROZEN,
    WEAKEN_FLAGS,
    AssetFlag,
    asset_address,
)
from chain.primitives.modules import MARKET, MINTER, TOKEN, TOKEN_NAME
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS

if TYPE_CHECKING:
    from chain.primitives.abi import Function
    from tests.chain.rules.assets.conftest import Issuance, MakeIssuance


def ask(issued: Issuance, function: Function, *arguments: Any) -> tuple[Any, ...]:
    encoded = function.encode(*issued.named(arguments))
    return function.decode_output(issued.chain.raw_view(MARKET, encoded))


def test_assets_are_counted_and_described(issued: Issuance) -> None:
    assert ask(issued, ASSET_COUNT) == (1,)
    issued.mint(alice=5)
    issuer = issued.chain.address("issuer")
    assert ask(issued, ASSET, issued.coin) == (issuer, "Play Money", "PLAY", 6, 0, 0, b"\x07" * 32, 5)


def test_ait_is_described_like_the_others(issued: Issuance) -> None:
    name = issued.chain.view(TOKEN, TOKEN_NAME)
    assert ask(issued, ASSET, TOKEN) == (MINTER, name, "AIT", 18, 0, 0, bytes(32), 300 * 10**18)
    assert ask(issued, HOLDER, TOKEN, "stranger") == (True, False)


@pytest.mark.parametrize("address", [ZERO_ADDRESS, MARKET, asset_address(0), asset_address(2)])
def test_what_is_no_asset(issued: Issuance, address: bytes) -> None:
    for function, *more in ((ASSET,), (HOLDER, "alice")):
        with pytest.raises(Rejected) as caught:
            ask(issued, function, address, *more)
        assert caught.value.reason is RejectionReason.UNKNOWN_ASSET


def test_holders_as_the_flags_have_it(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.AUTHORIZATION_REQUIRED | AssetFlag.FREEZABLE)
    chain, coin = issued.chain, issued.coin
    chain.add(
        issued.call("issuer", SET_AUTHORIZED, coin, "alice", True),
        issued.call("issuer", SET_FROZEN, coin, "bob", True, later=1),
    )
    holders = ("alice", "bob", "issuer", MARKET)
    assert [ask(issued, HOLDER, coin, each) for each in holders] == [
        (True, False),
        (False, True),
        (True, False),
        (True, False),
    ]
    chain.add(issued.call("issuer", WEAKEN_FLAGS, coin, AssetFlag.AUTHORIZATION_REQUIRED))
    assert ask(issued, HOLDER, coin, "bob") == (False, False)
    chain.add(issued.call("issuer", WEAKEN_FLAGS, coin, 0))
    assert ask(issued, HOLDER, coin, "bob") == (True, False)
