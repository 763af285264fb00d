"""Plays a Ledger with its Ethereum app, behind the TCP proxy that `ledgerblue` can speak to instead of USB.

It reads commands as the app's specification has them, independently of the code under test, and signs with real keys.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import rlp
from eth_keys.datatypes import PrivateKey
from eth_utils import keccak

OK = 0x9000
DENIED = 0x6985
BAD_DATA = 0x6A80
WRONG_INSTRUCTION = 0x6D00


class LedgerDevice:
    """Derives a key for each path; `refuses` makes it answer a status word instead."""

    def __init__(self) -> None:
        self.refuses: int | None = None
        self.shown: list[str] = []
        """What a person would have seen."""
        self._open = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to find it."""
        return {"LEDGER_PROXY_ADDRESS": "127.0.0.1", "LEDGER_PROXY_PORT": str(self.port)}

    def close(self) -> None:
        """Unplugged."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def key_at(self, path: bytes) -> PrivateKey:
        """Of an encoded path; not as BIP-32 has it, which the tests do not need."""
        return PrivateKey(keccak(b"a device of the tests" + path))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while (size := self._receive(connection, 4)) is not None:
                    command = self._receive(connection, struct.unpack(">I", size)[0])
                    assert command is not None
                    answer, status = self._answer(command)
                    connection.sendall(struct.pack(">I", len(answer)) + answer + struct.pack(">H", status))

    @staticmethod
    def _receive(connection: socket.socket, count: int) -> bytes | None:
        received = b""
        while len(received) < count:
            more = connection.recv(count - len(received))
            if not more:
                return None
            received += more
        return received

    def _answer(self, command: bytes) -> tuple[bytes, int]:
        if self.refuses is not None:
            return b"", self.refuses
        kind, instruction, parameter, other, length = command[:5]
        data = command[5:]
        handlers: dict[int, Callable[[bytes], tuple[bytes, int]]] = {
            0x02: self._public_key,
            0x04: self._transaction,
            0x08: self._message,
            0x0C: self._typed_data,
        }
        if kind != 0xE0 or instruction not in handlers:
            return b"", WRONG_INSTRUCTION
        if (
            len(data) != length
            or other != 0
            or parameter not in (0x00, 0x80)
            or (parameter == 0x80) != bool(self._open)
        ):
            return b"", BAD_DATA
        self._open += data
        return handlers[instruction](self._open)

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        end = 1 + 4 * data[0]
        return data[:end], data[end:]

    def _public_key(self, data: bytes) -> tuple[bytes, int]:
        self._open = b""
        path, rest = self._split(data)
        public_key = self.key_at(path).public_key
        address = public_key.to_checksum_address()[2:].encode()
        return b"\x41\x04" + public_key.to_bytes() + b"\x28" + address, BAD_DATA if rest else OK

    def _transaction(self, data: bytes) -> tuple[bytes, int]:
        path, raw = self._split(data)
        if raw[:1] != b"\x02":
            self._open = b""
            return b"", BAD_DATA
        try:
            fields = rlp.decode(raw[1:])
        except rlp.DecodingError:
            return b"", OK  # More is to come.
        self._open = b""
        self.shown.append(f"send {int.from_bytes(fields[6])} to 0x{fields[5].hex()} on {int.from_bytes(fields[0])}")
        signature = self.key_at(path).sign_msg_hash(keccak(raw))
        return bytes((signature.v,)) + signature.to_bytes()[:64], OK

    def _message(self, data: bytes) -> tuple[bytes, int]:
        path, rest = self._split(data)
        length, message = int.from_bytes(rest[:4]), rest[4:]
        if len(message) < length:
            return b"", OK
        self._open = b""
        self.shown.append(f"message {message.decode(errors='replace')}")
        signature = self.key_at(path).sign_msg_hash(keccak(b"\x19Ethereum Signed Message:\n%d" % length + message))
        return bytes((27 + signature.v,)) + signature.to_bytes()[:64], OK if len(message) == length else BAD_DATA

    def _typed_data(self, data: bytes) -> tuple[bytes, int]:
        self._open = b""
        path, hashes = self._split(data)
        if len(hashes) != 64:
            return b"", BAD_DATA
        self.shown.append(f"domain 0x{hashes[:32].hex()}")
        signature = self.key_at(path).sign_msg_hash(keccak(b"\x19\x01" + hashes))
        return bytes((27 + signature.v,)) + signature.to_bytes()[:64], OK
