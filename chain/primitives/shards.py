"""The parts of a split job: who made how much of it, and what of the receipt's amount each of them earns."""

import re
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec

from chain.primitives.hexadecimal import parse_address, parse_hash, to_checksum_address, to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import MAX_MICRO_UNITS, MICRO, number_of_units, parse_units

MAX_SHARDS: Final = 64
"""Bounds a receipt's bytes. One provider's share may be one shard, however many pictures it has."""
_SHA256_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's part; a job's shards stand in the order of its pictures."""

    provider: Address
    micro_units: int
    artifact_sha256: str
    """As a receipt's, of this part's pictures."""
    receipt_hash: Hash32 | None = None
    """Of the receipt that the provider signed for its part, where it did."""

    def to_object(self) -> dict[str, Any]:
        """As it stands in the receipt's JSON."""
        fields = {
            "provider": to_checksum_address(self.provider),
            "units": number_of_units(self.micro_units),
            "artifact_sha256": self.artifact_sha256,
        }
        if self.receipt_hash is not None:
            fields["receipt_hash"] = to_hex(self.receipt_hash)
        return fields

    @classmethod
    def from_object(cls, fields: object, where: str) -> Self:
        """From parsed JSON; raises Rejected that names the field, `where` and what is in it."""
        known = check_keys(fields, ("provider", "units", "artifact_sha256"), where, optional=("receipt_hash",))
        digits = known["artifact_sha256"]
        if not isinstance(digits, str):
            raise Rejected(
                RejectionReason.MALFORMED,
                f"{where}.artifact_sha256 has the wrong JSON type",
                field=f"{where}.artifact_sha256",
            )
        return cls(
            provider=parse_address(known["provider"], f"{where}.provider"),
            micro_units=parse_units(known["units"], f"{where}.units"),
            artifact_sha256=digits,
            receipt_hash=(
                parse_hash(known["receipt_hash"], f"{where}.receipt_hash") if "receipt_hash" in known else None
            ),
        )


def check_shards(shards: Sequence[Shard], *, provider: Address, micro_units: int) -> None:
    """Raises Rejected (invalid_receipt) unless these are the parts of a receipt of this provider with these units.

    One part alone is that of a job that ended early: its provider knows some of the prompts, the receipt is for all.
    """
    if not 1 <= len(shards) <= MAX_SHARDS:
        raise _invalid(f"must be 1 to {MAX_SHARDS}")
    for shard in shards:
        if not 0 <= shard.micro_units <= MAX_MICRO_UNITS:
            raise _invalid(f"must each have from 0 to {MAX_MICRO_UNITS // MICRO} units")
        if not _SHA256_DIGITS.fullmatch(shard.artifact_sha256):
            raise _invalid("must each have an artifact_sha256 of 64 lower-case hex digits")
    if sum(shard.micro_units for shard in shards) != micro_units:
        raise _invalid("must have as many units in all as the receipt")
    if provider not in (shard.provider for shard in shards):
        raise _invalid("must name the receipt's provider, who signs it, among theirs")
    hashes = [shard.receipt_hash for shard in shards if shard.receipt_hash is not None]
    if len(set(hashes)) != len(hashes):
        raise _invalid("must not name a receipt_hash twice")


def split_amount(shards: Sequence[Shard], amount: Amount) -> list[tuple[Address, Amount]]:
    """What each provider earns of the amount, strictly by units: each once, in the order of their first shards.

    Every share is rounded down; the atoms that are left, fewer than there are providers, go one each to the shares that
    lost most by that, the earlier first where it is equal. So the shares sum to the amount exactly.
    """
    weights: dict[Address, int] = {}
    for shard in shards:
        weights[shard.provider] = weights.get(shard.provider, 0) + shard.micro_units
    total = sum(weights.values())
    if total == 0:
        return [(provider, Amount(0)) for provider in weights]
    shares = {provider: divmod(amount * weight, total) for provider, weight in weights.items()}
    left = amount - sum(whole for whole, _ in shares.values())
    favoured = sorted(shares, key=lambda provider: -shares[provider][1])[:left]
    return [(provider, Amount(whole + (provider in favoured))) for provider, (whole, _) in shares.items()]


def _invalid(requirement: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_RECEIPT, f"shards {requirement}", field="shards")
