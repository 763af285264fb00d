"""Keys in a Ledger: its Ethereum app signs transactions, messages and typed data; the key never leaves the device.

The commands are those of the app's specification (`ethapp.adoc` in LedgerHQ/app-ethereum), in a command's form of one
class, one instruction, two parameters and at most 255 bytes; the library `ledgerblue` (the extra `ledger`) brings them
to the device. Tested against a program that plays the device, through that library; never tried on a device.
"""

import importlib
from collections.abc import Iterator
from typing import Any, Final, Protocol

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import (
    SignerUnavailable,
    address_of_public_key,
    format_public_key,
    recover_address,
)
from chain.primitives.rejection import Rejected
from chain.primitives.signable import Signable, recognise, signed_message
from chain.primitives.types import Address
from wallet.derivation import account_path, parse_path

DEFAULT_PATH: Final = account_path(0)

_CLASS: Final = 0xE0
_GET_PUBLIC_KEY: Final = 0x02
_SIGN_TRANSACTION: Final = 0x04
_SIGN_MESSAGE: Final = 0x08
_SIGN_TYPED_HASHES: Final = 0x0C
_FIRST: Final = 0x00
_MORE: Final = 0x80
_CHUNK_BYTES: Final = 255
_SIGNATURE_BYTES: Final = 65

_HINTS: Final = {
    0x5515: "it is locked: unlock it",
    0x6804: "it is locked: unlock it",
    0x6982: "it is locked: unlock it",
    0x6985: "refused on the device",
    0x5501: "refused on the device",
    0x6A80: "its app does not take this: for calls and typed data, allow blind signing in the Ethereum app's settings",
    0x6511: "open the Ethereum app on it",
    0x6D00: "open the Ethereum app on it",
    0x6D02: "open the Ethereum app on it",
    0x6E00: "open the Ethereum app on it",
    0x6E01: "open the Ethereum app on it",
}
"""What the status words mean for the person in front of it."""


class LedgerError(SignerUnavailable):
    """No device, no library, no consent, or not the right device. `str(error)` says what to do."""


class Transport(Protocol):
    """Brings a command to the device, and its answer back without the status word; raises what the library raises."""

    def exchange(self, apdu: bytearray) -> bytearray | bytes:
        """One command. Waits for the person, where the device asks one."""


class LedgerSigner:
    """A `Signer` for one key of a connected Ledger. Each signature is confirmed on the device."""

    def __init__(self, path: str, transport: Transport) -> None:
        """Asks the device for its public key, which it gives without asking anybody. Raises LedgerError, Rejected."""
        self._path = _encode_path(path)
        self._transport = transport
        answer = self._send(_GET_PUBLIC_KEY, _FIRST, self._path)
        try:
            public_key = answer[1 : 1 + answer[0]]
            self.public_key: bytes = format_public_key(public_key, compressed=True)
        except (IndexError, Rejected):
            raise LedgerError("what the Ledger answers is no public key") from None
        self.address: Address = address_of_public_key(self.public_key)

    def sign_keccak(self, message: bytes) -> bytes:
        """65 bytes r‖s‖v over keccak256(message), which must be a type-2 transaction, a message or typed data.

        A device shows what it signs, so it has to know the form. Raises LedgerError.
        """
        match recognise(message):
            case Signable.TRANSACTION if message[:1] == b"\x02":
                answer = self._send_in_chunks(_SIGN_TRANSACTION, message)
            case Signable.MESSAGE:
                text = signed_message(message)
                assert text is not None
                answer = self._send_in_chunks(_SIGN_MESSAGE, len(text).to_bytes(4, "big") + text)
            case Signable.TYPED_DATA:
                answer = self._send(_SIGN_TYPED_HASHES, _FIRST, self._path + message[2:])
            case _:
                raise LedgerError(
                    "a Ledger signs type-2 transactions, messages and typed data, and this is none of them"
                )
        return self._checked(message, answer)

    def _send_in_chunks(self, instruction: int, payload: bytes) -> bytes:
        """The first command begins with the path; the last one's answer counts."""
        answer, parameter = b"", _FIRST
        for chunk in _chunks(self._path + payload):
            answer = self._send(instruction, parameter, chunk)
            parameter = _MORE
        return answer

    def _send(self, instruction: int, parameter: int, payload: bytes) -> bytes:
        command = bytes((_CLASS, instruction, parameter, 0, len(payload))) + payload
        return _ask(self._transport, command)

    def _checked(self, message: bytes, answer: bytes) -> bytes:
        """The device answers v‖r‖s; v is a parity, 27 or 28, or says more for old transactions: so both are tried."""
        if len(answer) >= _SIGNATURE_BYTES:
            for v in (27, 28):
                signature = answer[1:_SIGNATURE_BYTES] + bytes((v,))
                try:
                    if recover_address(keccak256(message), signature) == self.address:
                        return signature
                except Rejected:
                    continue
        raise LedgerError("what the Ledger answers is not a signature with this account's key")


def open_ledger(path: str = DEFAULT_PATH, *, expected: Address | None = None) -> LedgerSigner:
    """The connected Ledger's key at this path. Raises LedgerError where it is another than expected, Rejected."""
    signer = LedgerSigner(path, _connect())
    if expected is not None and signer.address != expected:
        raise LedgerError(
            f"the connected Ledger has {to_checksum_address(signer.address)} at {path}, not "
            f"{to_checksum_address(expected)}: it is another device, or another recovery phrase"
        )
    return signer


def _connect() -> Transport:
    try:
        comm: Any = importlib.import_module("ledgerblue.comm")
    except ImportError:
        raise LedgerError("Ledgers need the library ledgerblue: pip install 'aitbc[ledger]'") from None
    try:
        transport: Transport = comm.getDongle()
    except Exception as error:  # noqa: BLE001 - the library, and what it stands on, raise all sorts
        raise LedgerError(f"no Ledger is connected, or this user may not open it (udev rules?): {error}") from None
    return transport


def _ask(transport: Transport, command: bytes) -> bytes:
    try:
        return bytes(transport.exchange(bytearray(command)))
    except Exception as error:  # noqa: BLE001 - as above
        status = getattr(error, "sw", None)
        if not isinstance(status, int):
            raise LedgerError(f"the Ledger does not answer: {error}") from None
        hint = _HINTS.get(status, "see the list of status words of its Ethereum app")
        raise LedgerError(f"the Ledger answers {status:04x}: {hint}") from None


def _encode_path(path: str) -> bytes:
    indices = parse_path(path)
    return bytes((len(indices),)) + b"".join(index.to_bytes(4, "big") for index in indices)


def _chunks(payload: bytes) -> Iterator[bytes]:
    for start in range(0, len(payload), _CHUNK_BYTES):
        yield payload[start : start + _CHUNK_BYTES]
