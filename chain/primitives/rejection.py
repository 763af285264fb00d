"""Why something was refused: one enum for the whole project, a sentence under each member.

`Rejected` always speaks about what came from outside (a transaction, a block, a receipt, a file), never about
a mistake of ours: those are assertions.
"""

from enum import StrEnum


class RejectionReason(StrEnum):
    """Stable names of every refusal; they travel over HTTP as `reason`."""

    # Encodings
    MALFORMED = "malformed"
    """Not decodable at all, or a field has the wrong type or length."""
    NON_CANONICAL = "non_canonical"
    """Decodable, but not the one accepted encoding of what it says."""
    TOO_LARGE = "too_large"
    """Above a bound on bytes, counts or depth."""
    OUT_OF_RANGE = "out_of_range"
    """A number outside its permitted range."""
    DUPLICATE_KEY = "duplicate_key"
    """A JSON object names a key twice."""
    UNKNOWN_FIELD = "unknown_field"
    """A field that this version does not define."""
    MISSING_FIELD = "missing_field"
    """A required field is absent."""

    # Signatures
    BAD_SIGNATURE = "bad_signature"
    """The signature is malformed, recovers to nobody, or to somebody else than it must."""
    HIGH_S = "high_s"
    """The signature's s is in the upper half of the curve order (EIP-2); its twin is the accepted one."""

    # Transaction envelopes
    UNSUPPORTED_TRANSACTION_TYPE = "unsupported_transaction_type"
    """Only legacy (EIP-155) and type 2 (EIP-1559) envelopes exist on this chain."""
    UNPROTECTED_TRANSACTION = "unprotected_transaction"
    """A legacy transaction without a chain id (pre-EIP-155) could be replayed elsewhere."""
    WRONG_CHAIN_ID = "wrong_chain_id"
    """Signed for another network."""
    CONTRACT_CREATION = "contract_creation"
    """There is no EVM: a transaction needs a recipient."""
    ACCESS_LIST = "access_list"
    """A non-empty access list has no meaning without an EVM."""
    INVALID_RECIPIENT = "invalid_recipient"
    """Value cannot go to the zero address or to a reserved module address."""
    DATA_TOO_LARGE = "data_too_large"
    """A plain transfer carries more data than a short note."""
    NONCE_TOO_LOW = "nonce_too_low"
    """The account has used this nonce already."""
    NONCE_TOO_HIGH = "nonce_too_high"
    """An earlier transaction of this account is missing."""
    INSUFFICIENT_FUNDS = "insufficient_funds"
    """The balance does not cover value and fee."""
    FEE_TOO_LOW = "fee_too_low"
    """The offered gas or fee does not cover the base fee."""

    # Module calls
    UNKNOWN_CALL = "unknown_call"
    """The module does not define this selector."""
    VALUE_TO_MODULE = "value_to_module"
    """Module calls take no value."""
    NEWCOMER_CALL = "newcomer_call"
    """An account below the minimum holding may only mint, settle or register, or take out what is put aside for it."""
    ACCOUNT_QUOTA = "account_quota"
    """The account has used up its transactions for this block."""
    BLOCK_FULL = "block_full"
    """The block has no room left for this transaction's bytes, count or recoveries."""
    REGISTRATION_QUOTA = "registration_quota"
    """The network's registrations by newcomers for this period are used up."""

    # Token
    INSUFFICIENT_ALLOWANCE = "insufficient_allowance"
    """The owner has not approved this much for the spender."""
    AUTHORIZATION_NOT_YET_VALID = "authorization_not_yet_valid"
    """The block's time is not after the one from which the authorization holds."""
    AUTHORIZATION_EXPIRED = "authorization_expired"
    """The block's time is not before the one up to which the authorization holds."""
    AUTHORIZATION_USED = "authorization_used"
    """The owner has used this nonce up: for another transfer, or by canceling it."""
    NOT_THE_PAYEE = "not_the_payee"
    """Only the recipient itself may submit this authorization."""

    # Minting
    MINTING_PAUSED = "minting_paused"
    """Governance has paused minting."""
    RECEIPT_USED = "receipt_used"
    """This receipt hash has been minted or settled before."""
    SIGNATURE_COUNT = "signature_count"
    """Exactly m attester signatures of 65 bytes each are needed."""
    SIGNATURE_ORDER = "signature_order"
    """Attester signatures must be strictly ascending by address."""
    NOT_AN_ATTESTER = "not_an_attester"
    """A signature over exactly these values by a registered attester is missing."""
    RECEIPT_CEILING = "receipt_ceiling"
    """More than one receipt may mint."""
    ATTESTER_ALLOWANCE = "attester_allowance"
    """The attester's allowance for this period is used up."""
    PROVIDER_CAP = "provider_cap"
    """The provider's cap for this period is reached."""
    PERIOD_CAP = "period_cap"
    """The network's total for this period is reached."""
    INVALID_SPLIT = "invalid_split"
    """A receipt's shares are equally many providers and amounts, none twice."""

    # Registry
    ALREADY_REGISTERED = "already_registered"
    """The provider is registered; update or withdraw instead."""
    NOT_REGISTERED = "not_registered"
    """The provider is not registered."""
    NOT_PAYOUT_ADDRESS = "not_payout_address"
    """Only the present payout address may name another."""
    INVALID_REGISTRATION = "invalid_registration"
    """An endpoint, model list, unit type or size is not acceptable."""

    UNKNOWN_SLA = "unknown_sla"
    """The provider never published this statement of its service level."""
    EVIDENCE_USED = "evidence_used"
    """This evidence about the provider has been counted before."""

    # Swaps with other chains
    SWAP_EXISTS = "swap_exists"
    """A swap with exactly these terms was locked before."""
    UNKNOWN_SWAP = "unknown_swap"
    """No swap has this id."""
    SWAP_CLOSED = "swap_closed"
    """The swap was claimed or refunded before."""
    WRONG_SECRET = "wrong_secret"
    """The secret's SHA-256 is not the swap's hash."""
    INVALID_DEADLINE = "invalid_deadline"
    """The deadline of a swap or a deposit is over already, too far away, or before the one that it had."""
    DEADLINE_PASSED = "deadline_passed"
    """From its deadline on, a swap or a deposit can only be refunded."""
    DEADLINE_AHEAD = "deadline_ahead"
    """Before its deadline, a swap can only be claimed, and a deposit not be refunded."""

    # Escrow
    UNKNOWN_DEPOSIT = "unknown_deposit"
    """The client holds no deposit for this audience."""
    INSUFFICIENT_DEPOSIT = "insufficient_deposit"
    """The client's deposit for this audience does not cover the amount; nothing is paid."""
    TOO_MANY_DEPOSITS = "too_many_deposits"
    """The client has deposits for as many audiences as it can have."""
    REQUEST_SETTLED = "request_settled"
    """This client's request has been paid for before."""
    NO_WITHDRAWAL = "no_withdrawal"
    """The client has not asked to take anything out of this deposit."""
    NOTICE_PERIOD = "notice_period"
    """What was asked for can be taken out later: jobs that run must stay paid."""

    # Governance
    NOT_A_VALIDATOR = "not_a_validator"
    """Only validators propose, approve and execute."""
    NOT_GOVERNANCE = "not_governance"
    """This call only takes effect as an executed proposal."""
    UNKNOWN_PROPOSAL = "unknown_proposal"
    """No proposal has this number."""
    PROPOSAL_CLOSED = "proposal_closed"
    """The proposal has been executed or has lapsed."""
    ALREADY_APPROVED = "already_approved"
    """This validator has approved the proposal before."""
    QUORUM_MISSING = "quorum_missing"
    """Too few validators have approved."""
    TOO_MANY_PROPOSALS = "too_many_proposals"
    """The validator has too many open proposals."""
    UNKNOWN_PARAMETER = "unknown_parameter"
    """No parameter has this name."""
    INVALID_CHANGE = "invalid_change"
    """The change would leave the network in an impossible state."""
    BAD_CONSENT = "bad_consent"
    """The new validator's key has not signed that it joins, or no longer says so."""
    NOT_APPROVED = "not_approved"
    """There is no approval of this validator's to take back."""

    # Assets
    UNKNOWN_ASSET = "unknown_asset"
    """No asset has this address."""
    NOT_AN_ISSUER = "not_an_issuer"
    """Governance has not made this account an issuer, or has removed it."""
    NOT_THE_ISSUER = "not_the_issuer"
    """Only the asset's own issuer may do this."""
    INVALID_ASSET = "invalid_asset"
    """A name, symbol, number of decimals, cap or set of flags is not acceptable."""
    TOO_MANY_ASSETS = "too_many_assets"
    """The network has as many assets as it can have."""
    ASSET_CAP = "asset_cap"
    """The supply would be above the asset's cap."""
    ASSET_POWER = "asset_power"
    """The asset's flags do not give its issuer this power; flags can only be given up."""
    ASSET_FROZEN = "asset_frozen"
    """The issuer has frozen this holder: it may neither send nor receive nor trade the asset, only cancel orders."""
    NOT_AUTHORIZED = "not_authorized"
    """The asset needs the issuer's authorisation of this holder."""

    # Compliance
    NOT_AN_AUTHORITY = "not_an_authority"
    """Only registered authorities write credentials."""
    INVALID_CREDENTIAL = "invalid_credential"
    """A credential needs an ordinary subject, a country code from 1 to 999 and an expiry ahead."""
    UNKNOWN_CREDENTIAL = "unknown_credential"
    """This authority has said nothing about this subject."""
    INVALID_POLICY = "invalid_policy"
    """A policy names registered authorities and country codes, none twice, and somebody must be able to meet it."""
    UNKNOWN_POLICY = "unknown_policy"
    """No policy has this number."""
    NOT_ELIGIBLE = "not_eligible"
    """The market's policy asks for a credential that this account does not have."""

    # The market
    UNKNOWN_MARKET = "unknown_market"
    """No market has this number."""
    INVALID_MARKET = "invalid_market"
    """A market trades one asset against another one."""
    MARKET_CLOSING = "market_closing"
    """The market takes no more orders, for good; those that rest can be cancelled."""
    MARKET_HALTED = "market_halted"
    """The market takes no orders for a while; those that rest can be cancelled."""
    BELOW_MINIMUM_LOTS = "below_minimum_lots"
    """The order is smaller than the market's smallest."""
    OFF_TICK = "off_tick"
    """The price is not a multiple of the market's tick."""
    EXPIRED_ON_ARRIVAL = "expired_on_arrival"
    """The last height at which the order may trade is over."""
    TOO_MANY_OPEN_ORDERS = "too_many_open_orders"
    """The account has as many open orders in this market as it may have."""
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    """An open order of this account in this market has this client id."""
    WOULD_TAKE = "would_take"
    """A post-only order would trade at once."""
    WOULD_NOT_FILL = "would_not_fill"
    """A fill-or-kill order cannot be filled whole."""
    LEVEL_FULL = "level_full"
    """The orders at this price hold nearly as many lots as can be counted."""
    UNKNOWN_ORDER = "unknown_order"
    """No open order has this id."""
    NOT_YOUR_ORDER = "not_your_order"
    """Only its owner may cancel an order."""

    # Blocks and certificates
    WRONG_PROTOCOL_VERSION = "wrong_protocol_version"
    """The block follows other rules than governance has set for its height."""
    WRONG_PARENT = "wrong_parent"
    """The block does not extend the head."""
    WRONG_HEIGHT = "wrong_height"
    """The height is not the parent's plus one."""
    WRONG_EPOCH = "wrong_epoch"
    """The epoch is not the current one."""
    WRONG_TIME = "wrong_time"
    """The time is not after the parent's, or too far in the future."""
    UNKNOWN_PROPOSER = "unknown_proposer"
    """The proposer is not a validator of this epoch."""
    WRONG_ROOT = "wrong_root"
    """A declared root differs from the recomputed one."""
    BAD_CERTIFICATE = "bad_certificate"
    """The certificate is not signed by a quorum of distinct validators over what it names."""
    BAD_VOTE = "bad_vote"
    """The vote is not signed by the validator that it names, or breaks its form."""
    BAD_PROOF = "bad_proof"
    """A proof's parts do not fit together, or not what they are to prove."""
    STALE_HEAD = "stale_head"
    """The newest final block that was shown is below one seen before, or too old."""
    CONFLICTING_HEADS = "conflicting_heads"
    """Two final blocks of one height: more validators are malicious than the chain can bear."""

    # Mempool
    ALREADY_KNOWN = "already_known"
    """The transaction is waiting in the mempool already."""
    MEMPOOL_FULL = "mempool_full"
    """The mempool, or this sender's share of it, is full; try again later."""
    TOO_MANY_REPLACEMENTS = "too_many_replacements"
    """This sender and nonce have been replaced too often."""
    RECEIPT_PENDING = "receipt_pending"
    """A mint or settlement for this receipt hash is waiting in the mempool already."""

    # Client requests
    REQUEST_EXPIRED = "request_expired"
    """The time by which a signed request had to be accepted, or settled, is over."""
    PRICE_LIMIT = "price_limit"
    """The client's signed maximum does not pay for what it asks, or for what is to be paid."""
    WRONG_REQUEST = "wrong_request"
    """The receipt is not for this request: another network, audience, hash, prompt, nonce or time, or a dearer one."""

    # Network files and receipts
    INVALID_NETWORK = "invalid_network"
    """The network file is not acceptable."""
    INVALID_RECEIPT = "invalid_receipt"
    """The receipt contradicts itself."""


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


class Rejected(Exception):
    """Something from outside was refused; `values` are the facts that the message was made from.

    Message and values may quote foreign text. Lone surrogates in it (JSON's `"\\ud800"`) are escaped, so that the
    refusal itself can always be written as UTF-8.
    """

    def __init__(self, reason: RejectionReason, message: str, **values: object) -> None:
        message = _encodable(message)
        super().__init__(reason, message)  # Both, so that it can be pickled out of a worker process.
        self.reason = reason
        self.message = message
        self.values = {name: _encodable(value) if isinstance(value, str) else value for name, value in values.items()}

    def __str__(self) -> str:
        return self.message
