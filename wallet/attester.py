"""An attester's key: serves one network only, and never vouches twice for a job (DESIGN §5).

The digest that an attester signs names no chain. So its keystore names the network (chain id and genesis hash, in the
extra field `aitbc_network` beside those of the format), and signing refuses any other network, any receipt of another
chain, and any second receipt or form for a job: what was signed for minting is never signed for settling, nor the other
way round. Whether the receipt is true is for the hub to check before it asks.
"""

from pathlib import Path
from typing import Final

import msgspec

from chain.primitives.client_request import ClientRequest
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.keys import PrivateKey, Signer
from chain.primitives.receipt import Receipt, attestation_preimage, mint_split_preimage
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.settlement import settlement_of
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from wallet.attestation_log import Attestation, AttestationForm, AttestationLog
from wallet.keystore import STANDARD_SCRYPT_N, Keystore, KeystoreError, add_field, read_keystore, save_key

_NETWORK_FIELD: Final = "aitbc_network"


class AttesterNetwork(msgspec.Struct, frozen=True):
    """The one network that an attester key serves."""

    chain_id: int
    genesis_hash: Hash32


def save_attester_key(
    path: Path | str,
    key: PrivateKey,
    password: str,
    network: AttesterNetwork,
    *,
    scrypt_n: int = STANDARD_SCRYPT_N,
) -> None:
    """Writes a keystore that names its network; raises KeystoreError like `save_key`."""
    save_key(path, key, password, scrypt_n=scrypt_n, extra=network_field(network))


def bind_to_network(keystore: Keystore, password: str, network: AttesterNetwork) -> None:
    """Makes an ordinary key an attester's, for good; raises KeystoreError where it serves another network already.

    For the keys of a new network: its genesis hash covers the attesters' addresses, so they exist before it.
    """
    named = attester_network(keystore)
    if named is not None and named != network:
        raise _other_network(keystore, named, network)
    keystore.unlock(password)
    if named is None:
        add_field(keystore, network_field(network))


def network_field(network: AttesterNetwork) -> dict[str, object]:
    """The keystore's extra field."""
    return {_NETWORK_FIELD: {"chain_id": network.chain_id, "genesis_hash": to_hex(network.genesis_hash)}}


def _other_network(keystore: Keystore, named: AttesterNetwork, network: AttesterNetwork) -> KeystoreError:
    return KeystoreError(
        f"{keystore.path} belongs to an attester of chain {named.chain_id} (genesis {to_hex(named.genesis_hash)}); "
        f"it does not sign for chain {network.chain_id} (genesis {to_hex(network.genesis_hash)})"
    )


def attester_network(keystore: Keystore) -> AttesterNetwork | None:
    """The network that a keystore names; None for an ordinary key. Raises KeystoreError where the field is damaged."""
    fields = keystore.fields.get(_NETWORK_FIELD)
    if fields is None:
        return None
    chain_id = fields.get("chain_id") if isinstance(fields, dict) else None
    if type(chain_id) is not int:
        raise KeystoreError(f"{keystore.path}: the field {_NETWORK_FIELD} is damaged")
    try:
        return AttesterNetwork(chain_id, parse_hash(fields.get("genesis_hash"), "genesis_hash"))
    except Rejected as error:
        raise KeystoreError(f"{keystore.path}: the field {_NETWORK_FIELD} is damaged: {error.message}") from None


class AttesterSigner:
    """Signs attestations for one network, each after its entry in the log is on disk. Safe to share between threads."""

    def __init__(self, key: Signer, network: AttesterNetwork, log: AttestationLog) -> None:
        """`open_attester` is the usual way: it makes sure that key and network belong together."""
        self._key = key
        self._log = log
        self.network = network

    @property
    def address(self) -> Address:
        """Whose signatures these are."""
        return self._key.address

    def sign_mint(self, receipt: Receipt) -> bytes:
        """65 bytes that `mintWithReceipt` takes; the same receipt gives the same digest, also after a restart.

        And the same bytes, unless a remote signer has a vault or HSM behind it that draws its nonces.
        Raises Rejected (wrong_chain_id) for a receipt of another network, (invalid_split) for one of several providers,
        ConflictingAttestationError where the job was attested with another receipt or in another form,
        AttestationLogError where the entry cannot be written, SignerUnavailable where the key is elsewhere and gives no
        signature: the entry stays, and the same receipt can be signed later.
        """
        receipt_hash = self._checked_hash(receipt)
        if len(receipt.payouts()) > 1:
            raise Rejected(
                RejectionReason.INVALID_SPLIT,
                "several providers made this: it is minted in the split form",
                field="shards",
            )
        preimage = attestation_preimage(receipt.provider, receipt.amount, receipt_hash)
        return self._sign(receipt, AttestationForm.MINT, preimage)

    def sign_mint_split(self, receipt: Receipt) -> bytes:
        """65 bytes that `mintSplit` takes with the receipt's payouts, in their order; raises as `sign_mint`."""
        receipt_hash, payouts = self._checked_hash(receipt), receipt.payouts()
        providers, amounts = [provider for provider, _ in payouts], [amount for _, amount in payouts]
        preimage = mint_split_preimage(receipt.chain_id, providers, amounts, receipt_hash)
        return self._sign(receipt, AttestationForm.MINT_SPLIT, preimage)

    def sign_settlement(
        self, receipt: Receipt, request: ClientRequest, *, fee_recipient: Address = ZERO_ADDRESS, fee: int = 0
    ) -> bytes:
        """65 bytes that the escrow's `settle` takes with `settlement_of` the same arguments.

        Raises as `sign_mint`, and as `settlement_of`. Another fee for the same receipt is another settlement, which
        conflicts: so the hub decides it once.
        """
        self._checked_hash(receipt)
        settlement = settlement_of(receipt, request, fee_recipient=fee_recipient, fee=fee)
        return self._sign(receipt, AttestationForm.SETTLE, settlement.preimage)

    def _checked_hash(self, receipt: Receipt) -> Hash32:
        if receipt.chain_id != self.network.chain_id:
            raise Rejected(
                RejectionReason.WRONG_CHAIN_ID,
                f"the receipt is of chain {receipt.chain_id}; this attester signs for {self.network.chain_id} only",
                field="chain_id",
            )
        return receipt.checked().hash

    def _sign(self, receipt: Receipt, form: AttestationForm, preimage: bytes) -> bytes:
        """Once the entry is on disk."""
        digest = keccak256(preimage)
        self._log.record(Attestation(receipt.hub_id, receipt.job_id, form, receipt.hash, digest, self.address))
        return self._key.sign_keccak(preimage)

    def remember(self, attestation: Attestation) -> bool:
        """Enters what is known from elsewhere to be signed; False where the log knew. Raises as `sign_mint`."""
        return self._log.record(attestation)

    def close(self) -> None:
        """Closes the log."""
        self._log.close()


def open_remote_attester(
    key: Signer, genesis_hash: Hash32, network: AttesterNetwork, log_path: Path | str
) -> AttesterSigner:
    """The signer for `network` where a service holds the key; `genesis_hash` is what a keystore would name.

    Raises KeystoreError where that is another network, AttestationLogError where the log is another's.
    """
    if genesis_hash != network.genesis_hash:
        raise KeystoreError(
            f"the attester's key serves the network with the genesis hash {to_hex(genesis_hash)}; it does not sign for "
            f"chain {network.chain_id} (genesis {to_hex(network.genesis_hash)})"
        )
    return AttesterSigner(key, network, AttestationLog(log_path, network.genesis_hash))


def open_attester(
    path: Path | str, password: str, network: AttesterNetwork, log_path: Path | str, *, allow_shared: bool = False
) -> AttesterSigner:
    """The signer for `network`, which is what the caller's node says of itself.

    Raises KeystoreError where the keystore names another network or none, AttestationLogError where the log does.
    """
    keystore = read_keystore(path, allow_shared=allow_shared)
    named = attester_network(keystore)
    if named is None:
        raise KeystoreError(
            f"{keystore.path} names no network, so it is not an attester's key: an attestation names no chain, "
            "and a key used on two networks could mint twice. Make it one with: aitbc wallet bind"
        )
    if named != network:
        raise _other_network(keystore, named, network)
    key = keystore.unlock(password)
    return AttesterSigner(key, network, AttestationLog(log_path, network.genesis_hash))
