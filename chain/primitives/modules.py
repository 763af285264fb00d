"""The modules: their reserved addresses, and the functions and events that each answers to (DESIGN §4).

What a call does is decided in `chain.rules`; here stands only its shape, which wallets and providers need too.
"""

from typing import Final

from chain.primitives.abi import Event, Function
from chain.primitives.escrow import ESCROW_EVENTS, ESCROW_FUNCTIONS
from chain.primitives.market import MARKET_EVENTS, MARKET_FUNCTIONS, is_asset_address
from chain.primitives.swaps import SWAP_EVENTS, SWAP_FUNCTIONS
from chain.primitives.types import Address

# The first 19 bytes of every module's address: all 256 addresses under it are reserved, for modules to come.
_RESERVED_PREFIX: Final = bytes.fromhex("0000000000000000000000000000000a17bc00")

TOKEN: Final = Address(_RESERVED_PREFIX + b"\x01")
MINTER: Final = Address(_RESERVED_PREFIX + b"\x02")
GOVERNANCE: Final = Address(_RESERVED_PREFIX + b"\x03")
REGISTRY: Final = Address(_RESERVED_PREFIX + b"\x04")
ESCROW: Final = Address(_RESERVED_PREFIX + b"\x05")
MARKET: Final = Address(_RESERVED_PREFIX + b"\x06")
HTLC: Final = Address(_RESERVED_PREFIX + b"\x07")

MODULES: Final[dict[str, Address]] = {
    "token": TOKEN,
    "minter": MINTER,
    "governance": GOVERNANCE,
    "registry": REGISTRY,
    "escrow": ESCROW,
    "market": MARKET,
    "htlc": HTLC,
}

TREASURY: Final = Address(_RESERVED_PREFIX + b"\x08")
"""Holds the market's fees until governance spends them; it answers to no call."""


def is_reserved(address: Address) -> bool:
    """Whether the address belongs to a module or an asset, present or to come: no key can be known for it."""
    return address[:19] == _RESERVED_PREFIX or is_asset_address(address)


# token: AIT as an ERC-20 (EIP-20)
TOKEN_NAME: Final = Function("name() view returns (string)")
TOKEN_SYMBOL: Final = Function("symbol() view returns (string)")
TOKEN_DECIMALS: Final = Function("decimals() view returns (uint8)")
TOKEN_TOTAL_SUPPLY: Final = Function("totalSupply() view returns (uint256)")
TOKEN_BALANCE_OF: Final = Function("balanceOf(address account) view returns (uint256)")
TOKEN_ALLOWANCE: Final = Function("allowance(address owner, address spender) view returns (uint256)")
TOKEN_TRANSFER: Final = Function("transfer(address to, uint256 value) returns (bool)")
TOKEN_APPROVE: Final = Function("approve(address spender, uint256 value) returns (bool)")
TOKEN_TRANSFER_FROM: Final = Function("transferFrom(address from, address to, uint256 value) returns (bool)")
TRANSFER_EVENT: Final = Event("Transfer(address indexed from, address indexed to, uint256 value)")
APPROVAL_EVENT: Final = Event("Approval(address indexed owner, address indexed spender, uint256 value)")

# token: transfers that their owner signs and anybody submits (ERC-3009); the signature in one piece, or as v, r and s
_AUTHORIZED: Final = "address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce"
_PARTS: Final = "uint8 v, bytes32 r, bytes32 s"
TRANSFER_WITH_AUTHORIZATION: Final = Function(f"transferWithAuthorization({_AUTHORIZED}, bytes signature)")
TRANSFER_WITH_AUTHORIZATION_VRS: Final = Function(f"transferWithAuthorization({_AUTHORIZED}, {_PARTS})")
RECEIVE_WITH_AUTHORIZATION: Final = Function(f"receiveWithAuthorization({_AUTHORIZED}, bytes signature)")
RECEIVE_WITH_AUTHORIZATION_VRS: Final = Function(f"receiveWithAuthorization({_AUTHORIZED}, {_PARTS})")
CANCEL_AUTHORIZATION: Final = Function("cancelAuthorization(address authorizer, bytes32 nonce, bytes signature)")
CANCEL_AUTHORIZATION_VRS: Final = Function(f"cancelAuthorization(address authorizer, bytes32 nonce, {_PARTS})")
AUTHORIZATION_STATE: Final = Function("authorizationState(address authorizer, bytes32 nonce) view returns (bool)")
TRANSFER_WITH_AUTHORIZATION_TYPEHASH: Final = Function("TRANSFER_WITH_AUTHORIZATION_TYPEHASH() view returns (bytes32)")
RECEIVE_WITH_AUTHORIZATION_TYPEHASH: Final = Function("RECEIVE_WITH_AUTHORIZATION_TYPEHASH() view returns (bytes32)")
CANCEL_AUTHORIZATION_TYPEHASH: Final = Function("CANCEL_AUTHORIZATION_TYPEHASH() view returns (bytes32)")
DOMAIN_SEPARATOR: Final = Function("DOMAIN_SEPARATOR() view returns (bytes32)")
DOMAIN_VERSION: Final = Function("version() view returns (string)")  # As USDC has it: older clients know no EIP-5267.
EIP712_DOMAIN: Final = Function(  # EIP-5267
    "eip712Domain() view returns (bytes1 fields, string name, string version, uint256 chainId, "
    "address verifyingContract, bytes32 salt, uint256[] extensions)"
)
AUTHORIZATION_USED_EVENT: Final = Event("AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)")
AUTHORIZATION_CANCELED_EVENT: Final = Event("AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce)")

# minter: the interface of the plan's AITokenMinter, and the split form
MINT_WITH_RECEIPT: Final = Function(
    "mintWithReceipt(address provider, uint256 units, bytes32 receiptHash, bytes attesterSig)"
)
MINT_SPLIT: Final = Function("mintSplit(address[] providers, uint256[] units, bytes32 receiptHash, bytes attesterSigs)")
SET_ATTESTER: Final = Function("setAttester(address attester)")
USED_RECEIPT: Final = Function("usedReceipt(bytes32 receiptHash) view returns (bool)")
ATTESTER: Final = Function("attester() view returns (address)")
IS_ATTESTER: Final = Function("isAttester(address account) view returns (bool)")
MINTER_TOKEN: Final = Function("token() view returns (address)")
MINTED_EVENT: Final = Event("Minted(address indexed provider, uint256 units, bytes32 receiptHash)")
ATTESTER_CHANGED_EVENT: Final = Event("AttesterChanged(address indexed oldA, address indexed newA)")

# registry: providers and their offers
REGISTER: Final = Function(
    "register(string endpoint, string[] models, uint256 pricePerUnit, string unitType, uint32 vramMib, address payout)"
)
UPDATE: Final = Function(
    "update(string endpoint, string[] models, uint256 pricePerUnit, string unitType, uint32 vramMib)"
)
SET_PAYOUT: Final = Function("setPayout(address provider, address payout)")
WITHDRAW: Final = Function("withdraw()")
PROVIDER: Final = Function(
    "provider(address account) view returns (bool active, string endpoint, string[] models, uint256 pricePerUnit, "
    "string unitType, uint32 vramMib, address payout)"
)
PROVIDER_REGISTERED_EVENT: Final = Event("ProviderRegistered(address indexed provider, string endpoint)")
PROVIDER_UPDATED_EVENT: Final = Event("ProviderUpdated(address indexed provider, string endpoint)")
PROVIDER_WITHDRAWN_EVENT: Final = Event("ProviderWithdrawn(address indexed provider)")
PAYOUT_CHANGED_EVENT: Final = Event(
    "PayoutChanged(address indexed provider, address indexed oldPayout, address indexed newPayout)"
)

# registry: promises of service, and what attesters saw of it
PUBLISH_SLA: Final = Function("publishSla(bytes32 slaHash)")
RECORD_OUTCOME: Final = Function(
    "recordOutcome(address provider, uint64 failures, uint64 disputes, bytes32 evidenceHash)"
)
RECORD_BREACH: Final = Function("recordBreach(address provider, bytes32 slaHash, bytes32 evidenceHash)")
REPUTATION: Final = Function(
    "reputation(address account) view returns (uint64 receipts, uint256 units, uint64 failures, uint64 disputes, "
    "uint64 breaches, bytes32 slaHash)"
)
SLA_PUBLISHED_EVENT: Final = Event("SlaPublished(address indexed provider, bytes32 slaHash)")
OUTCOME_RECORDED_EVENT: Final = Event(
    "OutcomeRecorded(address indexed provider, address indexed attester, uint64 failures, uint64 disputes, "
    "bytes32 evidenceHash)"
)
BREACH_RECORDED_EVENT: Final = Event(
    "BreachRecorded(address indexed provider, address indexed attester, bytes32 slaHash, bytes32 evidenceHash)"
)

# governance: validators propose a call, approve it, and execute it
PROPOSE: Final = Function("propose(address target, bytes callData) returns (uint256)")
APPROVE_PROPOSAL: Final = Function("approve(uint256 proposalId)")
REVOKE: Final = Function("revoke(uint256 proposalId)")
EXECUTE: Final = Function("execute(uint256 proposalId)")
SET_PARAMETER: Final = Function("setParameter(string name, uint256 value)")
SET_ATTESTER_ALLOWANCE: Final = Function(
    "setAttesterAllowance(address attester, uint256 atomsPerPeriod, uint256 receiptsPerPeriod)"
)
REMOVE_ATTESTER: Final = Function("removeAttester(address attester)")
PAUSE: Final = Function("pause()")
UNPAUSE: Final = Function("unpause()")
ADD_ISSUER: Final = Function("addIssuer(address issuer)")
REMOVE_ISSUER: Final = Function("removeIssuer(address issuer)")
SCHEDULE_UPGRADE: Final = Function("scheduleUpgrade(uint256 protocolVersion, uint256 height)")
ADD_VALIDATOR: Final = Function("addValidator(bytes publicKey, uint256 expiresAtMs, bytes consent)")
REMOVE_VALIDATOR: Final = Function("removeValidator(address validator)")
ROTATE_VALIDATOR: Final = Function(
    "rotateValidator(address validator, bytes publicKey, uint256 expiresAtMs, bytes consent)"
)
FORCE_EPOCH: Final = Function("forceEpoch()")
PAUSED: Final = Function("paused() view returns (bool)")
PARAMETER: Final = Function("parameter(string name) view returns (uint256)")
IS_ISSUER: Final = Function("isIssuer(address account) view returns (bool)")
PROPOSAL: Final = Function(
    "proposal(uint256 proposalId) view returns (address proposer, address target, bytes callData, "
    "uint256 createdAtMs, address[] approvals, bool executed)"
)
VALIDATORS: Final = Function("validators() view returns (uint256 epoch, address[] validators)")
PROPOSED_EVENT: Final = Event(
    "Proposed(uint256 indexed proposalId, address indexed proposer, address target, bytes callData)"
)
APPROVED_EVENT: Final = Event("Approved(uint256 indexed proposalId, address indexed validator)")
REVOKED_EVENT: Final = Event("Revoked(uint256 indexed proposalId, address indexed validator)")
EXECUTED_EVENT: Final = Event("Executed(uint256 indexed proposalId)")
PARAMETER_CHANGED_EVENT: Final = Event("ParameterChanged(string name, uint256 value)")
ATTESTER_ALLOWANCE_EVENT: Final = Event(
    "AttesterAllowance(address indexed attester, uint256 atomsPerPeriod, uint256 receiptsPerPeriod)"
)
PAUSED_EVENT: Final = Event("Paused()")
UNPAUSED_EVENT: Final = Event("Unpaused()")
ISSUER_ADDED_EVENT: Final = Event("IssuerAdded(address indexed issuer)")
ISSUER_REMOVED_EVENT: Final = Event("IssuerRemoved(address indexed issuer)")
UPGRADE_SCHEDULED_EVENT: Final = Event("UpgradeScheduled(uint256 protocolVersion, uint256 height)")
VALIDATOR_ADDED_EVENT: Final = Event("ValidatorAdded(address indexed validator, bytes publicKey)")
VALIDATOR_REMOVED_EVENT: Final = Event("ValidatorRemoved(address indexed validator)")
EPOCH_ENDED_EVENT: Final = Event("EpochEnded(uint256 indexed nextEpoch, address[] validators)")

FUNCTIONS: Final[dict[Address, tuple[Function, ...]]] = {
    TOKEN: (
        TOKEN_NAME,
        TOKEN_SYMBOL,
        TOKEN_DECIMALS,
        TOKEN_TOTAL_SUPPLY,
        TOKEN_BALANCE_OF,
        TOKEN_ALLOWANCE,
        TOKEN_TRANSFER,
        TOKEN_APPROVE,
        TOKEN_TRANSFER_FROM,
        TRANSFER_WITH_AUTHORIZATION,
        TRANSFER_WITH_AUTHORIZATION_VRS,
        RECEIVE_WITH_AUTHORIZATION,
        RECEIVE_WITH_AUTHORIZATION_VRS,
        CANCEL_AUTHORIZATION,
        CANCEL_AUTHORIZATION_VRS,
        AUTHORIZATION_STATE,
        TRANSFER_WITH_AUTHORIZATION_TYPEHASH,
        RECEIVE_WITH_AUTHORIZATION_TYPEHASH,
        CANCEL_AUTHORIZATION_TYPEHASH,
        DOMAIN_SEPARATOR,
        DOMAIN_VERSION,
        EIP712_DOMAIN,
    ),
    MINTER: (MINT_WITH_RECEIPT, MINT_SPLIT, SET_ATTESTER, USED_RECEIPT, ATTESTER, IS_ATTESTER, MINTER_TOKEN),
    REGISTRY: (
        REGISTER,
        UPDATE,
        SET_PAYOUT,
        WITHDRAW,
        PROVIDER,
        PUBLISH_SLA,
        RECORD_OUTCOME,
        RECORD_BREACH,
        REPUTATION,
    ),
    GOVERNANCE: (
        PROPOSE,
        APPROVE_PROPOSAL,
        REVOKE,
        EXECUTE,
        SET_PARAMETER,
        SET_ATTESTER_ALLOWANCE,
        REMOVE_ATTESTER,
        PAUSE,
        UNPAUSE,
        ADD_ISSUER,
        REMOVE_ISSUER,
        SCHEDULE_UPGRADE,
        ADD_VALIDATOR,
        REMOVE_VALIDATOR,
        ROTATE_VALIDATOR,
        FORCE_EPOCH,
        PAUSED,
        PARAMETER,
        IS_ISSUER,
        PROPOSAL,
        VALIDATORS,
    ),
    ESCROW: ESCROW_FUNCTIONS,
    MARKET: MARKET_FUNCTIONS,
    HTLC: SWAP_FUNCTIONS,
}
"""What each module defines; a module that is not here defines nothing yet."""

EVENTS: Final[dict[Address, tuple[Event, ...]]] = {
    TOKEN: (TRANSFER_EVENT, APPROVAL_EVENT, AUTHORIZATION_USED_EVENT, AUTHORIZATION_CANCELED_EVENT),
    MINTER: (MINTED_EVENT, ATTESTER_CHANGED_EVENT),
    REGISTRY: (
        PROVIDER_REGISTERED_EVENT,
        PROVIDER_UPDATED_EVENT,
        PROVIDER_WITHDRAWN_EVENT,
        PAYOUT_CHANGED_EVENT,
        SLA_PUBLISHED_EVENT,
        OUTCOME_RECORDED_EVENT,
        BREACH_RECORDED_EVENT,
    ),
    GOVERNANCE: (
        PROPOSED_EVENT,
        APPROVED_EVENT,
        REVOKED_EVENT,
        EXECUTED_EVENT,
        PARAMETER_CHANGED_EVENT,
        ATTESTER_ALLOWANCE_EVENT,
        PAUSED_EVENT,
        UNPAUSED_EVENT,
        ISSUER_ADDED_EVENT,
        ISSUER_REMOVED_EVENT,
        UPGRADE_SCHEDULED_EVENT,
        VALIDATOR_ADDED_EVENT,
        VALIDATOR_REMOVED_EVENT,
        EPOCH_ENDED_EVENT,
    ),
    ESCROW: ESCROW_EVENTS,
    MARKET: MARKET_EVENTS,
    HTLC: SWAP_EVENTS,
}

ASSET_FUNCTIONS: Final = (
    TOKEN_NAME,
    TOKEN_SYMBOL,
    TOKEN_DECIMALS,
    TOKEN_TOTAL_SUPPLY,
    TOKEN_BALANCE_OF,
    TOKEN_ALLOWANCE,
    TOKEN_TRANSFER,
    TOKEN_APPROVE,
    TOKEN_TRANSFER_FROM,
)
"""What an issued asset answers at its own address (EIP-20)."""

ASSET_EVENTS: Final = (TRANSFER_EVENT, APPROVAL_EVENT)


def functions_of(address: Address) -> tuple[Function, ...]:
    """What a module or an asset defines; empty for any other address."""
    return ASSET_FUNCTIONS if is_asset_address(address) else FUNCTIONS.get(address, ())
