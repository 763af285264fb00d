"""What stands on a command line, as what it means: addresses and names, amounts, and transactions in files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from chain.primitives.hexadecimal import parse_address, parse_ait, parse_amount, parse_hex
from chain.primitives.rejection import Rejected
from chain.primitives.transaction import MAX_TRANSACTION_BYTES
from chain.primitives.types import Address, Amount
from wallet.accounts import Account, AccountError, Accounts
from wallet.payees import check_payee
from wallet.terminal import CommandError, ExitCode

# Hex of the largest transaction, and the rest of a JSON object around it.
MAX_TEXT_BYTES: Final = 2 * MAX_TRANSACTION_BYTES + 16 * 1024

T = TypeVar("T")


def parse_argument(parse: Callable[[], T]) -> T:
    """What a command line's argument means; a wrong one is a usage error."""
    try:
        return parse()
    except Rejected as error:
        raise CommandError(error.message, ExitCode.USAGE) from None


def amount_of(text: str, *, atoms: bool) -> Amount:
    """AIT such as `1.5`, or atoms."""
    return parse_argument(lambda: parse_amount(text) if atoms else parse_ait(text))


def is_address(text: str) -> bool:
    """Whether an address is meant rather than a name."""
    return text.startswith(("0x", "0X"))


def address_of(keys: Accounts, name: str | None) -> Address:
    """Of an address or a name; without one, of the only account there is. An address need not be this wallet's own."""
    if name is None:
        return keys.only().address
    return parse_argument(lambda: parse_address(name)) if is_address(name) else keys.get(name).address


def account_of(keys: Accounts, name: str | None) -> Account:
    """The account of a name or an address; without one, the only one there is."""
    return keys.only() if name is None else parse_argument(lambda: keys.find(name))


def payee_of(keys: Accounts, to: str) -> Address:
    """To whom something may be sent: an address, or the name of an account."""
    try:
        address = address_of(keys, to)
    except AccountError as error:
        raise CommandError(f"{error}; an address begins with 0x", ExitCode.USAGE) from None
    parse_argument(lambda: check_payee(address))
    return address


class TransactionText(msgspec.Struct, frozen=True):
    """What `tx build` and `tx sign` write with `--json`, as far as it is read again."""

    unsigned_transaction: str | None = None
    raw_transaction: str | None = None
    sender: str | None = msgspec.field(name="from", default=None)


def read_transaction_text(source: str) -> tuple[bytes, Address | None]:
    """A transaction's bytes, and who is said to be its sender: from 0x-hex itself, a file, or `-` for stdin.

    What is read is 0x-hex or the JSON of `tx build` and `tx sign`. Raises Rejected where it is neither.
    """
    text = source if source.startswith("0x") else read_text(source)
    if text.startswith("0x"):
        return parse_hex(text, field="transaction"), None
    try:
        described = msgspec.json.decode(text, type=TransactionText)
    except (msgspec.MsgspecError, RecursionError):
        raise CommandError(
            "that is neither a transaction as 0x-hex nor the JSON that has one", ExitCode.FAILED
        ) from None
    octets = described.raw_transaction or described.unsigned_transaction
    sender = None if described.sender is None else parse_address(described.sender, "from")
    return parse_hex(octets, field="transaction"), sender


def read_text(source: str, longest: int = MAX_TEXT_BYTES) -> str:
    """A file's text, or that of stdin for `-`, without space around it; bounded."""
    try:
        return read_octets(source, longest).decode().strip()
    except UnicodeDecodeError:
        raise CommandError(f"{source} is not UTF-8 text", ExitCode.FAILED) from None


def read_octets(source: str, longest: int) -> bytes:
    """A file's content as it is, or that of stdin for `-`; bounded."""
    if source == "-":
        content = sys.stdin.buffer.read(longest + 1)
    else:
        with Path(source).open("rb") as file:
            content = file.read(longest + 1)
    if len(content) > longest:
        raise CommandError(f"{source} is larger than {longest} bytes", ExitCode.FAILED)
    return content
