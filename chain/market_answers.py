"""What a node answers about assets, markets, orders and trades: beside `chain.answers`, in the same ways.

Prices are quote atoms per lot; `value` is quote atoms, price × lots, exact. A fee is in atoms of what its payer
receives: a buyer base, a seller quote. Amounts, prices and lots are decimal strings in the JSON.
"""

from typing import Annotated, Final

import msgspec

from chain.answers import AddressText, Answer, Atoms, BigInteger, Count, HashText
from chain.primitives.market import CloseReason, MarketStatus, OrderKind, Side
from chain.primitives.types import BlockHeight

SIDES: Final = {side: side.name.lower() for side in Side}
ORDER_KINDS: Final = {kind: kind.name.lower() for kind in OrderKind}
MARKET_STATUSES: Final = {status: status.name.lower() for status in MarketStatus}
CLOSE_REASONS: Final = {reason: reason.name.lower() for reason in CloseReason}
"""The words for numbers of the chain's."""

SignedText = Annotated[str, msgspec.Meta(pattern="^-?(0|[1-9][0-9]{0,77})$")]
MarketNumber = Annotated[int, msgspec.Meta(ge=1)]
Price = BigInteger
"""Quote atoms per lot."""
Lots = BigInteger


class AssetName(Answer, frozen=True):
    """What is needed to show amounts of an asset; AIT's address is the token module's."""

    asset: AddressText
    symbol: str
    decimals: Count


class AssetView(Answer, frozen=True):
    """An asset. `cap` 0 means none; AIT's issuer is the minter module."""

    asset: AddressText
    issuer: AddressText
    name: str
    symbol: str
    decimals: Count
    cap: Atoms
    authorization_required: bool
    freezable: bool
    clawback: bool
    reserve_hash: HashText
    supply: Atoms
    height: BlockHeight
    finalized: bool


class AssetBalance(Answer, frozen=True):
    """What an account has of one asset, at its disposal and held by its open orders."""

    asset: AddressText
    symbol: str
    decimals: Count
    balance: Atoms
    in_orders: Atoms
    authorized: bool
    frozen: bool


class BalancesView(Answer, frozen=True):
    """AIT first, then every asset of which the account has some."""

    address: AddressText
    balances: list[AssetBalance]
    height: BlockHeight
    finalized: bool


class PolicyView(Answer, frozen=True):
    """Whom markets of this policy let trade: see docs/market.md. `countries` are the only ones, or those denied."""

    policy: Count
    authorities: list[AddressText]
    countries_allowed: bool
    countries: list[int]
    minimum_level: int
    height: BlockHeight
    finalized: bool


class MarketView(Answer, frozen=True):
    """A market: `lot` in base atoms, `tick` in quote atoms per lot, fees in basis points of what is received."""

    market: MarketNumber
    base: AssetName
    quote: AssetName
    lot: Atoms
    tick: Price
    minimum_lots: Lots
    maker_fee: Count
    taker_fee: Count
    policy: Count
    """0: none"""
    status: str
    """`open`, `cancel_only` or `halted`"""
    height: BlockHeight
    finalized: bool


class LevelView(Answer, frozen=True):
    """What rests at one price; orders that have expired are counted until somebody meets or sweeps them."""

    price: Price
    lots: Lots
    order_count: int


class BookView(Answer, frozen=True):
    """Both sides, best price first, after the block of `height`."""

    market: MarketNumber
    bids: list[LevelView]
    asks: list[LevelView]
    height: BlockHeight
    time_ms: int
    finalized: bool


class TradeView(Answer, frozen=True):
    """One trade; `id` is its place in the chain: height, transaction, part."""

    id: str
    market: MarketNumber
    price: Price
    lots: Lots
    value: Atoms
    taker_side: str
    """`buy` or `sell`"""
    maker: AddressText
    taker: AddressText
    maker_order_id: int
    taker_order_id: int
    maker_fee: Atoms
    taker_fee: Atoms
    height: BlockHeight
    time_ms: int
    transaction_hash: HashText
    finalized: bool


class FillView(Answer, frozen=True):
    """A trade as one of the two sees it."""

    id: str
    market: MarketNumber
    order_id: int
    side: str
    role: str
    """`maker` or `taker`"""
    price: Price
    lots: Lots
    value: Atoms
    fee: Atoms
    fee_asset: AddressText
    height: BlockHeight
    time_ms: int
    transaction_hash: HashText
    finalized: bool


class OrderView(Answer, frozen=True):
    """An order and what has become of it. What was left when it was closed is `lots` - `filled_lots`."""

    order_id: int
    client_id: BigInteger
    """0: none"""
    market: MarketNumber
    owner: AddressText
    side: str
    kind: str
    """As `OrderKind`, in lower case"""
    price: Price
    lots: Lots
    open_lots: Lots
    filled_lots: Lots
    filled_value: Atoms
    fee: Atoms
    expiry_height: BigInteger
    """The last height at which it trades; 0: none"""
    status: str
    """`open` or `closed`; one that has expired is open until somebody meets or sweeps it"""
    close_reason: str | None
    """As `CloseReason`, in lower case"""
    height: BlockHeight
    time_ms: int
    transaction_hash: HashText
    closed_height: BlockHeight | None
    closed_time_ms: int | None
    closed_transaction_hash: HashText | None
    finalized: bool


class CandleView(Answer, frozen=True):
    """An interval in which something was traded; `time_ms` is its beginning."""

    time_ms: int
    open: Price
    high: Price
    low: Price
    close: Price
    lots: Lots
    value: Atoms
    trades: BigInteger


class CandlesView(Answer, frozen=True):
    """Oldest first; an interval in which nothing was traded has no candle."""

    market: MarketNumber
    interval: str
    interval_ms: int
    candles: list[CandleView]
    height: BlockHeight
    finalized: bool


class TickerView(Answer, frozen=True):
    """The last price, what stands best, and the last 24 hours, to the minute. None where there was or is nothing."""

    market: MarketNumber
    last: Price | None
    open: Price | None
    high: Price | None
    low: Price | None
    change: SignedText | None
    """Last less open, of the 24 hours."""
    lots: Lots
    value: Atoms
    trades: BigInteger
    bid: Price | None
    bid_lots: Lots
    ask: Price | None
    ask_lots: Lots
    height: BlockHeight
    time_ms: int
    finalized: bool


class OrderPlacedView(Answer, frozen=True):
    """An `order` event of /v1/stream."""

    action: str
    """`placed`"""
    market: MarketNumber
    order_id: int
    owner: AddressText
    side: str
    kind: str
    price: Price
    lots: Lots
    expiry_height: BigInteger
    client_id: BigInteger
    height: BlockHeight
    time_ms: int
    transaction_hash: HashText
    finalized: bool


class OrderClosedView(Answer, frozen=True):
    """An `order` event of /v1/stream: it is not in the book any more."""

    action: str
    """`closed`"""
    market: MarketNumber
    order_id: int
    owner: AddressText
    reason: str
    lots_left: Lots
    height: BlockHeight
    time_ms: int
    transaction_hash: HashText
    finalized: bool


class BlockNews(Answer, frozen=True):
    """A `block` event of /v1/stream: all that it brought has been told."""

    height: BlockHeight
    hash: HashText
    time_ms: int
    transaction_count: int
    finalized: bool


class ResetNews(Answer, frozen=True):
    """A `reset` event of /v1/stream: what happened up to this height is not told; what is known must be asked anew."""

    height: int
