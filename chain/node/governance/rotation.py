"""Replacing a validator's key: a new key beside the old one, a proposal, and in the end the switch of the files.

validator.key           the key that the node uses
validator.next.key      its successor, from the first step until the switch
validator.key.0x…       a former key, kept for its owner to destroy: its vote journal is set aside as well

The node is stopped only for the switch. It must not come before the change is final, and need not come at once: between
the two the validator is silent, which the others bear as long as no more than f are.
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from chain.answers import ValidatorsView
from chain.governance_answers import ProposalView
from chain.node.folder import NodeFolder
from chain.node.governance.governing import Operator, is_carried
from chain.node.key_file import SetupError, read_key_file, write_key_file
from chain.node.ledger import Ledger
from chain.primitives.consent import sign_consent
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import GOVERNANCE, ROTATE_VALIDATOR
from chain.primitives.types import Address
from chain.rules.state import State
from chain.storage.journal_file import sync_folder


class RotationStep(StrEnum):
    """How far it has come."""

    WAITS = "waits"
    """Proposed; more approvals are needed."""
    DONE = "done"
    """The chain counts the new key: the files can be switched."""


class Rotation(msgspec.Struct, frozen=True):
    """Where a rotation stands. The proposal is None once the chain counts the new key."""

    step: RotationStep
    new_address: Address
    proposal: ProposalView | None = None


def next_key_file(folder: NodeFolder) -> Path:
    """Where the successor waits."""
    return folder.path / "validator.next.key"


def prepare_next_key(folder: NodeFolder) -> PrivateKey:
    """The successor, drawn at the first call. Raises SetupError."""
    path = next_key_file(folder)
    if not path.exists():
        write_key_file(path, PrivateKey.generate())
    return read_key_file(path)


def advance_rotation(operator: Operator, successor: PrivateKey, *, expires_at_ms: int) -> Rotation:
    """Takes the next step towards the successor in the place of the operator's key; to be called again until DONE.

    Raises SetupError and NodeError.
    """
    validators = _addresses(operator.client.validators())
    if successor.address in validators:
        return Rotation(RotationStep.DONE, successor.address)
    if operator.key.address not in validators:
        raise SetupError(f"{to_checksum_address(operator.key.address)} is no validator: there is nothing to rotate")
    proposal = _find_open(operator, successor)
    if proposal is None:
        consent = sign_consent(successor, chain_id=operator.chain_id, expires_at_ms=expires_at_ms)
        values = (operator.key.address, consent.public_key, consent.expires_at_ms, consent.signature)
        proposal = operator.propose(ROTATE_VALIDATOR.encode(*values))
    if not is_carried(proposal):
        return Rotation(RotationStep.WAITS, successor.address, proposal)
    operator.execute(proposal.number)
    return Rotation(RotationStep.DONE, successor.address)


def _addresses(shown: ValidatorsView) -> list[Address]:
    return [parse_address(validator.address) for validator in shown.validators]


def _find_open(operator: Operator, successor: PrivateKey) -> ProposalView | None:
    """The newest open proposal of exactly this rotation, if one of the newest proposals is one."""
    for proposal in operator.client.proposals(limit=200).items:
        call_data = parse_hex(proposal.call_data)
        if (
            proposal.status == "open"
            and parse_address(proposal.target) == GOVERNANCE
            and call_data[:4] == ROTATE_VALIDATOR.selector
            and ROTATE_VALIDATOR.decode(call_data)[:2] == (operator.key.address, successor.public_key)
        ):
            return proposal
    return None


def switch_key(folder: NodeFolder, *, is_early: bool = False) -> Address:
    """Makes the successor the folder's key, once the folder's chain counts it. The node must be stopped.

    `is_early`: before that too. The node then follows until the change; the former key cannot vote again.
    A crash in between leaves a folder without a key, whose node follows; switching again ends it. Raises SetupError,
    and StorageError where the node still runs.
    """
    if not next_key_file(folder).exists():
        raise SetupError(f"there is no {next_key_file(folder)}: `aitbc node keys rotate` makes one")
    successor = read_key_file(next_key_file(folder))
    with Ledger.open(folder.chain, folder.read_network()) as ledger:
        if not is_early and successor.address not in State(ledger.view()).validators():
            raise SetupError(
                f"the chain in this folder does not count {to_checksum_address(successor.address)} as a validator "
                f"at height {ledger.head.height}: wait until the change is final and this node has caught up with it"
            )
        _switch_files(folder)
    return successor.address


def _switch_files(folder: NodeFolder) -> None:
    try:
        if folder.key_file.exists():
            former = read_key_file(folder.key_file).address
            folder.key_file.rename(folder.path / f"validator.key.{to_checksum_address(former)}")
            sync_folder(folder.path)
        next_key_file(folder).rename(folder.key_file)
        sync_folder(folder.path)
    except OSError as error:
        raise SetupError(f"cannot switch the key files in {folder.path}: {error.strerror or error}") from None
