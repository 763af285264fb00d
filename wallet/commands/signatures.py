"""`sign` and `verify`: messages (EIP-191) and typed data (EIP-712), as every Ethereum wallet does it."""

from pathlib import Path
from typing import Annotated, Final

import typer

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES, recover_address
from chain.primitives.modules import MINTER
from chain.primitives.rejection import Rejected
from chain.primitives.signing import eip191_preimage
from wallet.accounts import Account, Accounts
from wallet.commands.arguments import account_of, address_of, parse_argument, read_octets
from wallet.known_networks import KnownNetworks
from wallet.options import AsJson, ChainId, From, Home, PasswordFile, Yes, complete_names
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, confirm, emit, escaped
from wallet.typed_data import MAX_TYPED_DATA_BYTES, TypedData

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""As much as a person can be asked to look through."""

sign_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)
verify_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)

Text = Annotated[str | None, typer.Argument(help="The message itself, exactly as it stands here.")]
MessageFile = Annotated[
    str | None, typer.Option("--file", help="Take the message from this file, every byte; - for stdin.")
]
Hexadecimal = Annotated[bool, typer.Option("--hex", help="The message on the command line is 0x-hex of bytes.")]
TypedDataFile = Annotated[Path, typer.Argument(help="JSON as eth_signTypedData_v4 takes it; - for stdin.")]
Signature = Annotated[str, typer.Option("--signature", help="65 bytes as 0x-hex.")]
Expected = Annotated[
    str | None,
    typer.Option("--address", help="Who should have signed: address or account.", autocompletion=complete_names),
]


@sign_app.callback()
def sign() -> None:
    """Sign a message or typed data with an account's key."""


@verify_app.callback()
def verify() -> None:
    """Find out whose signature it is, or whether it is somebody's."""


@sign_app.command("message")
def sign_message(
    home: Home,
    text: Text = None,
    file: MessageFile = None,
    hexadecimal: Hexadecimal = False,
    sender: From = None,
    yes: Yes = False,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign a message as `personal_sign` does (EIP-191): such a signature can never be a transaction."""
    message = _message(text, file, hexadecimal=hexadecimal)
    _sign(home, sender, eip191_preimage(message), _message_lines(message), password_file, as_json, yes=yes)


@sign_app.command("typed")
def sign_typed(
    home: Home,
    file: TypedDataFile,
    sender: From = None,
    chain_id: ChainId = None,
    any_chain: Annotated[
        bool, typer.Option("--any-chain", help="Also sign what names no chain, and so counts on every one.")
    ] = False,
    yes: Yes = False,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign typed data (EIP-712), such as a transfer that somebody else will submit."""
    typed = _typed_data(file)
    _check_domain(typed, home, chain_id, any_chain=any_chain)
    lines = [(label, escaped(value)) for label, value in typed.lines()]
    _sign(home, sender, typed.preimage(), lines, password_file, as_json, yes=yes)


@verify_app.command("message")
def verify_message(
    home: Home,
    signature: Signature,
    text: Text = None,
    file: MessageFile = None,
    hexadecimal: Hexadecimal = False,
    address: Expected = None,
    as_json: AsJson = False,
) -> None:
    """Who signed a message; with --address, whether it was they: exit code 8 where not."""
    message = _message(text, file, hexadecimal=hexadecimal)
    _verify(home, eip191_preimage(message), signature, address, as_json)


@verify_app.command("typed")
def verify_typed(
    home: Home, file: TypedDataFile, signature: Signature, address: Expected = None, as_json: AsJson = False
) -> None:
    """Who signed typed data; with --address, whether it was they: exit code 8 where not."""
    _verify(home, _typed_data(file).preimage(), signature, address, as_json)


def _message(text: str | None, file: str | None, *, hexadecimal: bool) -> bytes:
    if (text is None) == (file is None):
        raise CommandError("give the message, or --file FILE", ExitCode.USAGE)
    if file is not None:
        if hexadecimal:
            raise CommandError(
                "--hex is for a message on the command line: a file's bytes are the message", ExitCode.USAGE
            )
        return read_octets(file, MAX_MESSAGE_BYTES)
    assert text is not None
    if hexadecimal:
        return parse_argument(lambda: parse_hex(text, field="the message"))
    return text.encode(errors="surrogateescape")  # The very bytes that were typed, also where they are not UTF-8.


def _message_lines(message: bytes) -> list[tuple[str, str]]:
    """All of it, as text where it is text, with what a terminal would not show as it is written out."""
    try:
        lines = [escaped(line) for line in message.decode().split("\n")]
    except UnicodeDecodeError:
        lines = [to_hex(message)]
    rows = [("signs", f"a message of {len(message)} bytes"), *zip(["message", *[""] * len(lines)], lines, strict=False)]
    if len(message) == 32:
        rows.append(("note", "32 bytes may be a hash: a receipt's, an attestation's. Sign only what you made yourself"))
    return rows


def _typed_data(file: Path) -> TypedData:
    return TypedData.from_json(read_octets(str(file), MAX_TYPED_DATA_BYTES))


def _check_domain(typed: TypedData, home: Path, chain_id: int | None, *, any_chain: bool) -> None:
    """Raises CommandError unless the signature can only count where its signer means it to."""
    if typed.verifying_contract == MINTER:
        raise CommandError("this is an attestation: only an attester's own service signs those", ExitCode.FAILED)
    if typed.chain_id is None:
        if not any_chain:
            raise CommandError(
                "the typed data names no chain, so its signature counts on all; if you mean that, add --any-chain",
                ExitCode.WRONG_NETWORK,
            )
        return
    meant = KnownNetworks(home).meant(chain_id)
    if typed.chain_id != meant:
        known = "this wallet knows no network yet" if meant is None else f"not chain {meant}"
        raise CommandError(
            f"the typed data is for chain {typed.chain_id}, {known}; if you mean that chain, "
            f"add --chain-id {typed.chain_id}",
            ExitCode.WRONG_NETWORK,
        )


def _sign(
    home: Path,
    sender: str | None,
    preimage: bytes,
    lines: list[tuple[str, str]],
    password_file: Path | None,
    as_json: bool,
    *,
    yes: bool,
) -> None:
    account = _signing_account(home, sender)
    address = to_checksum_address(account.address)
    confirm([("account", f"{account.name} {address}"), *lines], yes=yes, question="Sign it?")
    signature = to_hex(account.open(password_file).sign_keccak(preimage))
    emit(as_json, {"address": address, "digest": to_hex(keccak256(preimage)), "signature": signature}, [signature])


def _signing_account(home: Path, sender: str | None) -> Account:
    accounts = Accounts(home)
    account = account_of(accounts, sender)
    accounts.check_may_sign_messages(account)
    return account


def _verify(home: Path, preimage: bytes, signature: str, address: str | None, as_json: bool) -> None:
    octets = parse_argument(lambda: parse_hex(signature, length=SIGNATURE_BYTES, field="signature"))
    expected = None if address is None else address_of(Accounts(home), address)
    digest = keccak256(preimage)
    try:
        signer = recover_address(digest, _usual_form(octets))
    except Rejected as error:
        raise CommandError(f"nobody's signature: {error.message}", ExitCode.NOT_VERIFIED) from None
    is_theirs = None if expected is None else signer == expected
    by = to_checksum_address(signer)
    document = {"address": by, "digest": to_hex(digest), "verified": is_theirs}
    emit(as_json, document, [f"{'WRONG' if is_theirs is False else 'ok'}  signed by {by}"])
    if expected is not None and not is_theirs:
        raise CommandError(f"not signed by {to_checksum_address(expected)}", ExitCode.NOT_VERIFIED)


def _usual_form(signature: bytes) -> bytes:
    """Some devices and libraries write v as 0 or 1, where most write 27 or 28."""
    return signature[:64] + bytes((signature[64] + 27,)) if signature[64] in (0, 1) else signature
