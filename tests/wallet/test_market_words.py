"""Arguments of market calls in words, whatever numbers they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.market import MARKET_FUNCTIONS, AssetFlag, MarketStatus, asset_address
from chain.primitives.modules import HTLC, MARKET, MINTER, TOKEN
from chain.primitives.types import MAX_UINT256
from wallet.market_words import describe_argument, describe_asset, describe_asset_amount, trades_assets

COIN = asset_address(3)


def test_which_calls_are_about_assets() -> None:
    assert all(map(trades_assets, (MARKET, HTLC, COIN)))
    assert not any(map(trades_assets, (TOKEN, MINTER)))


def test_assets_and_amounts() -> None:
    assert describe_asset(TOKEN) == "AIT"
    assert describe_asset(COIN).lower() == f"asset 0x{COIN.hex()}"
    assert describe_asset_amount(TOKEN, 15 * 10**17) == "1.5 AIT (1500000000000000000 atoms)"
    assert describe_asset_amount(COIN, 15) == "15 atoms of the asset"


@pytest.mark.parametrize("flags", range(8))
def test_every_set_of_flags_is_named(flags: int) -> None:
    words = describe_argument("flags", flags, COIN)
    assert words is not None
    assert words.split(", ") == [(flag.name or "").lower().replace("_", " ") for flag in AssetFlag if flag & flags] or (
        words == "none" and not flags
    )


def test_every_status_is_named() -> None:
    words = [describe_argument("status", int(status), COIN) for status in MarketStatus]
    assert words == ["open", "cancel only", "halted"]


@given(
    name=st.sampled_from(sorted({parameter.name for function in MARKET_FUNCTIONS for parameter in function.inputs})),
    number=st.integers(0, MAX_UINT256),
)
def test_no_number_is_too_strange(name: str, number: int) -> None:
    value = COIN if name in ("asset", "base", "quote") else number
    words = describe_argument(name, value, COIN)
    assert words is None or (words and words.isprintable())
