"""The market's shapes: assets' addresses, the words of orders and markets, and the declarations of its module.

A market trades a base asset in lots against a quote asset. A price is quote atoms per lot, a multiple of the market's
tick; a quantity is whole lots; so a trade's value, price × lots, is exact. What a call does is decided in
`chain.rules.market` and `chain.rules.assets`.
"""

from enum import IntEnum, IntFlag
from typing import Final

from chain.primitives.abi import Event, Function
from chain.primitives.types import Address

# The first 16 bytes of every asset's address; its number follows. Reserved as the modules are: no key can be known.
_ASSET_PREFIX: Final = bytes.fromhex("000000000000000000000000a17bca55")

MAX_LOTS: Final = 2**48 - 1
"""Of one order."""
MAX_PRICE_TICKS: Final = 2**32 - 1
"""The highest price of every market, in ticks; the lowest is 1."""
MAX_FEE_BASIS_POINTS: Final = 1_000


def asset_address(number: int) -> Address:
    """The id of the asset with this number, from 1; AIT's is the token module's address."""
    return Address(_ASSET_PREFIX + number.to_bytes(4, "big"))


def is_asset_address(address: Address) -> bool:
    """Whether the address is an asset's, issued or to come."""
    return address[:16] == _ASSET_PREFIX


def asset_number(address: Address) -> int:
    """The inverse of `asset_address`; the caller has asked `is_asset_address`."""
    return int.from_bytes(address[16:], "big")


ANY_ASSET: Final = asset_address(0)
"""Stands for all assets' addresses in tables and indexes; no asset has this number."""


class AssetFlag(IntFlag):
    """What an issuer may do to holders; fixed at first issue, except to give powers up."""

    AUTHORIZATION_REQUIRED = 1
    """Only holders whom the issuer has authorised receive and trade it."""
    FREEZABLE = 2
    """The issuer may freeze a holder's balance."""
    CLAWBACK = 4
    """The issuer may take a balance back."""


class Side(IntEnum):
    """Of an order, as seen by who places it."""

    BUY = 0
    SELL = 1


class OrderKind(IntEnum):
    """How long an order lasts, and whether it may take or rest."""

    GOOD_TILL_CANCELLED = 0
    GOOD_TILL_HEIGHT = 1
    """Rests up to and including a height."""
    IMMEDIATE_OR_CANCEL = 2
    FILL_OR_KILL = 3
    """All at once, or nothing."""
    POST_ONLY = 4
    """Refused where it would trade at once."""
    MARKET = 5
    """Takes at once whatever is not worse than its price, which need not be a multiple of the tick."""


class MarketStatus(IntEnum):
    """Whether a market takes orders; cancelling works in each."""

    OPEN = 0
    CANCEL_ONLY = 1
    """It closes for good."""
    HALTED = 2
    """For a while."""


class CloseReason(IntEnum):
    """Why an order, or what was left of it, is no longer in the book."""

    FILLED = 0
    CANCELLED = 1
    EXPIRED = 2
    REST_CANCELLED = 3
    """What an order that takes only could not take."""
    FILL_BOUND = 4
    """It met the bound on fills of one transaction."""
    SELF_TRADE = 5
    """Its owner's newer order met it."""
    NOT_ELIGIBLE = 6
    """Its owner no longer may hold, receive or trade what it offers or wants."""
    ISSUER = 7
    """The asset's issuer cancelled the order of a holder that it froze."""


# assets: issuers' calls
ISSUE_ASSET: Final = Function(
    "issueAsset(string name, string symbol, uint8 decimals, uint256 cap, uint8 flags, bytes32 reserveHash) "
    "returns (address)"
)
MINT_ASSET: Final = Function("mintAsset(address asset, address to, uint256 value)")
BURN_ASSET: Final = Function("burnAsset(address asset, uint256 value)")
SET_RESERVE: Final = Function("setReserve(address asset, bytes32 reserveHash)")
WEAKEN_FLAGS: Final = Function("weakenFlags(address asset, uint8 flags)")
SET_AUTHORIZED: Final = Function("setAuthorized(address asset, address holder, bool authorized)")
SET_FROZEN: Final = Function("setFrozen(address asset, address holder, bool frozen)")
CLAW_BACK: Final = Function("clawBack(address asset, address holder, uint256 value)")
ASSET: Final = Function(
    "asset(address id) view returns (address issuer, string name, string symbol, uint8 decimals, uint256 cap, "
    "uint8 flags, bytes32 reserveHash, uint256 supply)"
)
ASSET_COUNT: Final = Function("assetCount() view returns (uint256)")
HOLDER: Final = Function("holder(address asset, address account) view returns (bool authorized, bool frozen)")
ASSET_ISSUED_EVENT: Final = Event("AssetIssued(address indexed asset, address indexed issuer, string symbol)")
RESERVE_CHANGED_EVENT: Final = Event("ReserveChanged(address indexed asset, bytes32 reserveHash)")
FLAGS_WEAKENED_EVENT: Final = Event("FlagsWeakened(address indexed asset, uint8 flags)")
AUTHORIZED_EVENT: Final = Event("Authorized(address indexed asset, address indexed holder, bool authorized)")
FROZEN_EVENT: Final = Event("Frozen(address indexed asset, address indexed holder, bool frozen)")

# compliance: credentials by registered authorities, policies by governance
GRANT_CREDENTIAL: Final = Function(
    "grantCredential(address subject, uint16 country, uint8 level, uint64 expiresAt, bytes32 evidenceHash)"
)
REVOKE_CREDENTIAL: Final = Function("revokeCredential(address subject)")
ADD_AUTHORITY: Final = Function("addAuthority(address authority)")
REMOVE_AUTHORITY: Final = Function("removeAuthority(address authority)")
DEFINE_POLICY: Final = Function(
    "definePolicy(address[] authorities, bool countriesAllowed, uint16[] countries, uint8 minimumLevel) "
    "returns (uint32)"
)
CREDENTIAL: Final = Function(
    "credential(address authority, address subject) view returns (uint16 country, uint8 level, uint64 expiresAt, "
    "bytes32 evidenceHash)"
)
POLICY: Final = Function(
    "policy(uint32 id) view returns (address[] authorities, bool countriesAllowed, uint16[] countries, "
    "uint8 minimumLevel)"
)
POLICY_COUNT: Final = Function("policyCount() view returns (uint256)")
IS_AUTHORITY: Final = Function("isAuthority(address account) view returns (bool)")
IS_ELIGIBLE: Final = Function("isEligible(uint32 market, address account) view returns (bool)")
CREDENTIAL_GRANTED_EVENT: Final = Event(
    "CredentialGranted(address indexed authority, address indexed subject, uint16 country, uint8 level, "
    "uint64 expiresAt, bytes32 evidenceHash)"
)
CREDENTIAL_REVOKED_EVENT: Final = Event("CredentialRevoked(address indexed authority, address indexed subject)")
AUTHORITY_ADDED_EVENT: Final = Event("AuthorityAdded(address indexed authority)")
AUTHORITY_REMOVED_EVENT: Final = Event("AuthorityRemoved(address indexed authority)")
POLICY_DEFINED_EVENT: Final = Event("PolicyDefined(uint32 indexed policy)")

# markets: what governance sets
CREATE_MARKET: Final = Function(
    "createMarket(address base, address quote, uint256 lot, uint256 tick, uint64 minimumLots, uint16 makerFee, "
    "uint16 takerFee, uint32 policy) returns (uint32)"
)
SET_MARKET_STATUS: Final = Function("setMarketStatus(uint32 market, uint8 status)")
SET_MARKET_FEES: Final = Function("setMarketFees(uint32 market, uint16 makerFee, uint16 takerFee)")
SET_MARKET_POLICY: Final = Function("setMarketPolicy(uint32 market, uint32 policy)")
SPEND_TREASURY: Final = Function("spendTreasury(address asset, address to, uint256 value)")
MARKET_INFORMATION: Final = Function(
    "market(uint32 id) view returns (address base, address quote, uint256 lot, uint256 tick, uint64 minimumLots, "
    "uint16 makerFee, uint16 takerFee, uint32 policy, uint8 status)"
)
MARKET_COUNT: Final = Function("marketCount() view returns (uint256)")
MARKET_CREATED_EVENT: Final = Event(
    "MarketCreated(uint32 indexed market, address indexed base, address indexed quote, uint256 lot, uint256 tick)"
)
MARKET_CHANGED_EVENT: Final = Event(
    "MarketChanged(uint32 indexed market, uint8 status, uint16 makerFee, uint16 takerFee, uint32 policy)"
)

# orders
PLACE_ORDER: Final = Function(
    "placeOrder(uint32 market, uint8 side, uint8 kind, uint256 price, uint64 lots, uint64 expiryHeight, "
    "uint64 clientId) returns (uint64)"
)
CANCEL_ORDER: Final = Function("cancelOrder(uint64 orderId)")
CANCEL_BY_CLIENT_ID: Final = Function("cancelByClientId(uint32 market, uint64 clientId)")
CANCEL_ALL: Final = Function("cancelAll(uint32 market, uint16 limit) returns (uint16)")
SWEEP_EXPIRED: Final = Function("sweepExpired(uint64[] orderIds) returns (uint16)")
CANCEL_FROZEN: Final = Function("cancelFrozen(address asset, uint64[] orderIds) returns (uint16)")
ORDER: Final = Function(
    "order(uint64 id) view returns (address owner, uint32 market, uint8 side, uint8 kind, uint256 price, uint64 lots, "
    "uint64 openLots, uint64 expiryHeight, uint64 clientId)"
)
OPEN_ORDERS: Final = Function("openOrders(uint32 market, address owner) view returns (uint64[])")
BEST_PRICES: Final = Function(
    "bestPrices(uint32 market) view returns (uint256 bid, uint64 bidLots, uint256 ask, uint64 askLots)"
)
ORDER_PLACED_EVENT: Final = Event(
    "OrderPlaced(uint32 indexed market, uint64 indexed orderId, address indexed owner, uint8 side, uint8 kind, "
    "uint256 price, uint64 lots, uint64 expiryHeight, uint64 clientId)"
)
TRADE_EVENT: Final = Event(
    "Trade(uint32 indexed market, address indexed maker, address indexed taker, uint64 makerOrderId, "
    "uint64 takerOrderId, uint8 takerSide, uint256 price, uint64 lots, uint256 makerFee, uint256 takerFee)"
)
ORDER_CLOSED_EVENT: Final = Event(
    "OrderClosed(uint32 indexed market, uint64 indexed orderId, address indexed owner, uint8 reason, uint64 lotsLeft)"
)

MARKET_FUNCTIONS: Final[tuple[Function, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Function)
)
MARKET_EVENTS: Final[tuple[Event, ...]] = tuple(value for value in list(globals().values()) if isinstance(value, Event))
