"""What governance can tune, with the bounds that keep a vote from breaking the network."""

from collections.abc import Mapping
from typing import Final, Self

import msgspec

from chain.primitives import message_pack
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ATOMS_PER_AIT

_MAX_ATOMS: Final = 2**200  # Far above any supply, far below 2^256: sums of a block cannot overflow.
_DAY_MS: Final = 86_400_000


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """A network's parameters. In the state they are one record, in this order; new ones are added at the end."""

    attester_threshold: int = 1
    """m: how many distinct attesters must sign each mint."""
    receipt_ceiling_atoms: int = 1_000 * ATOMS_PER_AIT
    """The most that one receipt may mint."""
    provider_cap_atoms: int = 100_000 * ATOMS_PER_AIT
    """The most that may be minted for one provider in a period."""
    period_cap_atoms: int = 10_000_000 * ATOMS_PER_AIT
    """The most that may be minted in a period altogether."""
    period_ms: int = _DAY_MS
    """Length of a period, a stretch of block time. After a change, most usage counters start anew."""
    default_attester_atoms: int = 1_000_000 * ATOMS_PER_AIT
    """Allowance in atoms per period that `setAttester` gives."""
    default_attester_receipts: int = 1_000_000
    """Allowance in receipts per period that `setAttester` gives."""
    base_fee_atoms: int = 0
    """Atoms burned per gas; 0 by default, because a newcomer holds nothing."""
    min_holding_atoms: int = 10**12
    """Below this balance at the parent state, an account without a role may only mint or register."""
    account_quota: int = 500
    """Transactions per account and block. Each counts once more for every resting order beyond the first that it meets
    or names."""
    registration_quota: int = 1_000
    """Registry calls by newcomers per period."""
    max_block_bytes: int = 4 * 1024 * 1024
    """Bytes of raw transactions per block."""
    max_block_transactions: int = 5_000
    """Transactions per block."""
    max_block_recoveries: int = 6_000
    """Signature recoveries per block, and work that costs as much: one per transaction, one per signature that its call
    carries, one per resting order beyond the first that it meets or names. The last transaction may pass the bound by
    its orders."""
    heartbeat_ms: int = 60_000
    """An idle chain makes an empty block this long after the last one."""
    proposal_lifetime_ms: int = 7 * _DAY_MS
    """A proposal that was not executed for this long lapses."""
    network_delay_ms: int = 1_000
    """Δ: how long a message between validators, or executing a block, takes at most while the network is well."""

    def encode(self) -> bytes:
        """The state record: every value as minimal big-endian bytes, in order."""
        return message_pack.encode([message_pack.amount_to_bytes(getattr(self, name)) for name in PARAMETER_BOUNDS])

    @classmethod
    def decode(cls, record: bytes) -> Self:
        """The inverse; parameters that a younger version added have their defaults."""
        values = message_pack.decode_trusted(record, list[bytes])
        names = list(PARAMETER_BOUNDS)[: len(values)]
        return cls(**{name: message_pack.amount_from_bytes(value) for name, value in zip(names, values, strict=True)})

    @classmethod
    def from_mapping(cls, values: Mapping[str, int]) -> Self:
        """Checked values by name, the others at their defaults; raises Rejected that names the parameter."""
        for name, value in values.items():
            check_parameter(name, value)
        return cls(**values)

    def changed(self, name: str, value: int) -> Self:
        """A copy with one checked value changed; raises Rejected."""
        check_parameter(name, value)
        return msgspec.structs.replace(self, **{name: value})


PARAMETER_BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "attester_threshold": (1, 16),
    "receipt_ceiling_atoms": (0, _MAX_ATOMS),
    "provider_cap_atoms": (0, _MAX_ATOMS),
    "period_cap_atoms": (0, _MAX_ATOMS),
    "period_ms": (1_000, 366 * _DAY_MS),
    "default_attester_atoms": (0, _MAX_ATOMS),
    "default_attester_receipts": (0, 2**63 - 1),
    "base_fee_atoms": (0, 10**18),
    "min_holding_atoms": (1, _MAX_ATOMS),  # At 0, keys that hold nothing could fill the state.
    "account_quota": (1, 100_000),
    "registration_quota": (1, 1_000_000),
    "max_block_bytes": (64 * 1024, 8 * 1024 * 1024),  # Every validator gets all of it within Δ, and keeps a few.
    "max_block_transactions": (1, 100_000),
    "max_block_recoveries": (32, 100_000),
    "heartbeat_ms": (1_000, _DAY_MS),
    "proposal_lifetime_ms": (3_600_000, 366 * _DAY_MS),  # Validators are people, and must have time to approve.
    # Below, votes would come too late even within one city; above, a silent leader would cost minutes.
    "network_delay_ms": (50, 60_000),
}
"""Inclusive lowest and highest value of each, in the order of the state record."""

assert tuple(PARAMETER_BOUNDS) == Parameters.__struct_fields__


def check_parameter(name: str, value: object) -> None:
    """Raises Rejected for an unknown name or a value that is no integer within its bounds."""
    if name not in PARAMETER_BOUNDS:
        raise Rejected(RejectionReason.UNKNOWN_PARAMETER, f"no parameter is called {name[:64]!r}", field=name[:64])
    lowest, highest = PARAMETER_BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"{name} must be from {lowest} to {highest}", field=name)
