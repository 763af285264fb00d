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
    """An account below the minimum holding may only mint or register."""
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
    """A split mint needs equally many providers and amounts, none twice."""

    # Registry
    ALREADY_REGISTERED = "already_registered"
    """The provider is registered; update or withdraw instead."""
    NOT_REGISTERED = "not_registered"
    """The provider is not registered."""
    NOT_PAYOUT_ADDRESS = "not_payout_address"
    """Only the present payout address may name another."""
    INVALID_REGISTRATION = "invalid_registration"
    """An endpoint, model list, unit type or size is not acceptable."""

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
    """A mint for this receipt hash is waiting in the mempool already."""

    # Client requests
    REQUEST_EXPIRED = "request_expired"
    """The time by which a signed request had to be accepted is over."""
    PRICE_LIMIT = "price_limit"
    """The client's signed maximum does not pay for what it asks."""
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
