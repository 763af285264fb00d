"""What goes into the blocks: numbers on the light chain, signed mints, transfers and governance on the real one."""

from collections.abc import Sequence
from typing import Final, Protocol

from chain.primitives import message_pack
from chain.primitives.certificate import quorum
from chain.primitives.consent import sign_consent
from chain.primitives.hashing import keccak256
from chain.primitives.modules import (
    ADD_VALIDATOR,
    APPROVE_PROPOSAL,
    EXECUTE,
    FORCE_EPOCH,
    GOVERNANCE,
    MINT_WITH_RECEIPT,
    MINTER,
    PROPOSE,
    REMOVE_VALIDATOR,
    ROTATE_VALIDATOR,
    SET_PARAMETER,
)
from chain.primitives.network import AttesterAllowance, Network, Validator
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address
from tests.simulation.light_chain import LightTransaction
from tests.simulation.scenario import Scenario
from tests.simulation.signatures import SignatureBook, SimulatedKey, key_of

_CHAIN_ID: Final = 7
_NEVER_MS: Final = 2**62
_PARAMETER_MIN_HEARTBEAT_MS: Final = 1_000


class Workload(Protocol):
    """Makes transactions; each may be executed only after the ones before it."""

    def ordinary(self) -> bytes:
        """One that changes nothing the engine knows."""

    def epoch_end(self, validators: tuple[Address, ...]) -> list[bytes]:
        """Those that give the chain this set of validators."""

    def delay(self, network_delay_ms: int) -> list[bytes]:
        """Those that change Δ."""


class LightWorkload:
    """Numbers."""

    def __init__(self) -> None:
        self._number = -1

    def _next(self, validators: tuple[Address, ...] = (), network_delay_ms: int = 0) -> bytes:
        self._number += 1
        return message_pack.encode(LightTransaction(self._number, validators, network_delay_ms))

    def ordinary(self) -> bytes:
        return self._next()

    def epoch_end(self, validators: tuple[Address, ...]) -> list[bytes]:
        return [self._next(validators)]

    def delay(self, network_delay_ms: int) -> list[bytes]:
        return [self._next(network_delay_ms=network_delay_ms)]


class RealWorkload:
    """One provider mints and pays; validators govern."""

    def __init__(self, book: SignatureBook, keys: Sequence[SimulatedKey], validator_count: int) -> None:
        self._keys = {key.address: key for key in keys}
        self._validators = tuple(key.address for key in keys[:validator_count])
        self._provider, self._attester = key_of("provider", book), key_of("attester", book)
        self._nonces: dict[Address, int] = {}
        self._proposals = 0
        self._mints = 0

    @property
    def senders(self) -> list[Address]:
        """Whoever may ever send."""
        return [self._provider.address, *self._keys]

    def _send(self, key: SimulatedKey, to: Address, *, value: int = 0, data: bytes = b"") -> bytes:
        nonce = self._nonces.get(key.address, 0)
        self._nonces[key.address] = nonce + 1
        return sign_transaction(key, chain_id=_CHAIN_ID, nonce=nonce, to=to, value=value, data=data).raw

    def ordinary(self) -> bytes:
        self._mints += 1
        if self._mints % 3 == 0:
            return self._send(self._provider, self._attester.address, value=10**15)
        receipt_hash, amount = keccak256(b"receipt %d" % self._mints), ATOMS_PER_AIT
        digest = attestation_digest(self._provider.address, amount, receipt_hash)
        data = MINT_WITH_RECEIPT.encode(self._provider.address, amount, receipt_hash, self._attester.sign(digest))
        return self._send(self._provider, MINTER, data=data)

    def _govern(self, call_data: bytes) -> list[bytes]:
        """Proposed, approved and executed by a quorum."""
        self._proposals += 1
        validators = [self._keys[address] for address in self._validators]
        made = [self._send(validators[0], GOVERNANCE, data=PROPOSE.encode(GOVERNANCE, call_data))]
        for key in validators[1 : quorum(len(validators))]:
            made.append(self._send(key, GOVERNANCE, data=APPROVE_PROPOSAL.encode(self._proposals)))  # noqa: PERF401
        made.append(self._send(validators[0], GOVERNANCE, data=EXECUTE.encode(self._proposals)))
        return made

    def epoch_end(self, validators: tuple[Address, ...]) -> list[bytes]:
        before = self._validators
        joins = [address for address in validators if address not in before]
        leaves = [address for address in before if address not in validators]
        consent = [
            (key.public_key, _NEVER_MS, sign_consent(key, chain_id=_CHAIN_ID, expires_at_ms=_NEVER_MS).signature)
            for key in (self._keys[address] for address in joins)
        ]
        if joins and leaves:
            call_data = ROTATE_VALIDATOR.encode(leaves[0], *consent[0])
        elif joins:
            call_data = ADD_VALIDATOR.encode(*consent[0])
        elif leaves:
            call_data = REMOVE_VALIDATOR.encode(leaves[0])
        else:
            call_data = FORCE_EPOCH.encode()
        made = self._govern(call_data)
        self._validators = validators
        return made

    def delay(self, network_delay_ms: int) -> list[bytes]:
        return self._govern(SET_PARAMETER.encode("network_delay_ms", network_delay_ms))


def real_network(scenario: Scenario, keys: Sequence[SimulatedKey], book: SignatureBook) -> Network:
    """The network file of a scenario."""
    attester = key_of("attester", book)
    return Network(
        chain_id=_CHAIN_ID,
        name="simulated",
        validators=tuple(Validator(key.address, key.public_key) for key in keys[: scenario.validator_count]),
        attesters=(AttesterAllowance(attester.address, 10**9 * ATOMS_PER_AIT, 10**9),),
        parameters=Parameters.from_mapping(
            {
                "network_delay_ms": scenario.network_delay_ms,
                "heartbeat_ms": max(scenario.heartbeat_ms, _PARAMETER_MIN_HEARTBEAT_MS),
            }
        ),
        block_interval_ms=scenario.block_interval_ms,
    )
