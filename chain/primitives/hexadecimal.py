"""Text forms of bytes, addresses (EIP-55) and amounts, as they stand in JSON and on the command line."""

import re
from functools import lru_cache
from typing import Final

from chain.primitives.hashing import keccak256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, MAX_UINT256, Address, Amount, Hash32

_MAX_DECIMAL_DIGITS: Final = 78  # 2^256 − 1 has 78 digits.
_AIT: Final = re.compile(r"([0-9]{0,60})(?:\.([0-9]{0,60}))?")
_AIT_DECIMALS: Final = 18


def to_hex(octets: bytes) -> str:
    """`0x` and lowercase digits."""
    return "0x" + octets.hex()


def parse_hex(text: object, *, length: int | None = None, field: str = "value") -> bytes:
    """Bytes of `0x…`. Raises Rejected (malformed) that names `field`."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise Rejected(RejectionReason.MALFORMED, f"{field} must be a hex string that starts with 0x", field=field)
    try:
        octets = bytes.fromhex(text[2:]) if text.isascii() and " " not in text else None
    except ValueError:
        octets = None
    if octets is None or len(text) != 2 + 2 * len(octets):
        raise Rejected(RejectionReason.MALFORMED, f"{field} is not a hex string of whole bytes", field=field)
    if length is not None and len(octets) != length:
        raise Rejected(
            RejectionReason.MALFORMED, f"{field} must be {length} bytes long, not {len(octets)}", field=field
        )
    return octets


def parse_hash(text: object, field: str = "hash") -> Hash32:
    """The 32 bytes of `0x…`. Raises Rejected that names `field`."""
    return Hash32(parse_hex(text, length=32, field=field))


@lru_cache(maxsize=4_096)
def to_checksum_address(address: Address) -> str:
    """The mixed-case form of EIP-55."""
    digits = address.hex()
    digest = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if nibble >= "8" else digit for digit, nibble in zip(digits, digest, strict=False)
    )


def parse_address(text: object, field: str = "address") -> Address:
    """An address in lower case, upper case, or EIP-55 mixed case with a right checksum; else Rejected."""
    address = Address(parse_hex(text, length=20, field=field))
    assert isinstance(text, str)  # parse_hex has seen to it.
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and to_checksum_address(address) != text:
        raise Rejected(RejectionReason.MALFORMED, f"{field} has a wrong EIP-55 checksum: mistyped?", field=field)
    return address


def parse_amount(text: object, field: str = "amount") -> Amount:
    """Atoms from a decimal string without sign, spaces or leading zeros; else Rejected that names `field`."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > _MAX_DECIMAL_DIGITS:
        raise Rejected(RejectionReason.MALFORMED, f"{field} must be a decimal string of atoms", field=field)
    amount = int(text)
    if str(amount) != text:
        raise Rejected(RejectionReason.NON_CANONICAL, f"{field} has leading zeros", field=field)
    if amount > MAX_UINT256:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"{field} is not below 2^256", field=field)
    return Amount(amount)


def parse_ait(text: str, field: str = "amount") -> Amount:
    """Atoms from a human's decimal number of AIT such as `1.5`, exactly, at most 18 decimals; else Rejected."""
    match = _AIT.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        raise Rejected(RejectionReason.MALFORMED, f"{field} must be a number of AIT such as 1.5", field=field)
    decimals = (match[2] or "").rstrip("0")
    if len(decimals) > _AIT_DECIMALS:
        raise Rejected(RejectionReason.MALFORMED, f"{field} has more than 18 decimals", field=field)
    atoms = int(match[1] or "0") * ATOMS_PER_AIT + int(decimals.ljust(_AIT_DECIMALS, "0"))
    if atoms > MAX_UINT256:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"{field} is not below 2^256 atoms", field=field)
    return Amount(atoms)


def format_ait(atoms: int) -> str:
    """A number of AIT without trailing zeros, exact: 1500000000000000000 → `1.5`."""
    whole, fraction = divmod(atoms, ATOMS_PER_AIT)
    return f"{whole}.{fraction:018d}".rstrip("0").rstrip(".")
