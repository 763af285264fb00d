"""The Solidity contract ABI, as far as the modules use it, with a decoder that accepts only the canonical form.

Own code because it is on the hot path and must be strict: eth-abi accepts overlapping and reordered tails, which
would give one call many encodings. Source of the format: the Solidity documentation, "Contract ABI Specification".
Types: address, bool, uintN, bytesN, bytes, string, and T[] of any of these.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from chain.primitives.hashing import keccak256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32

_WORD: Final = 32
_ADDRESS_PADDING: Final = bytes(12)
_TYPE = re.compile(r"(address|bool|string|bytes([0-9]{0,2})|uint([0-9]{1,3}))((?:\[\])*)")


class AbiType:
    """One parsed type."""

    __slots__ = ("base", "bits", "element", "is_dynamic", "name", "size")

    def __init__(self, name: str) -> None:
        match = _TYPE.fullmatch(name)
        assert match is not None, f"unsupported ABI type {name}"
        self.name = name
        self.element: AbiType | None = AbiType(name[:-2]) if name.endswith("[]") else None
        base, size, bits = (match[1], match[2], match[3]) if self.element is None else ("array", "", "")
        self.base = base
        self.size = int(size or 0)
        self.bits = int(bits or 0)
        self.is_dynamic = self.element is not None or name in ("bytes", "string")

    def encode(self, value: Any) -> bytes:
        """The head of a static type, or the tail of a dynamic one."""
        if self.bits:  # The most frequent first: every order and its events are mostly these.
            assert not value >> self.bits
            return _word(value)
        if self.base == "address":
            assert len(value) == 20
            return _ADDRESS_PADDING + bytes(value)
        if self.element is not None:
            return _word(len(value)) + _encode_sequence([self.element] * len(value), value)
        if self.base == "bool":
            return _word(int(value))
        if self.size:
            assert len(value) == self.size
            return bytes(value).ljust(_WORD, b"\0")
        octets = value.encode() if self.base == "string" else bytes(value)
        return _word(len(octets)) + octets + bytes(-len(octets) % _WORD)

    def decode_word(self, word: bytes) -> Any:
        """The value of a static type from its 32 bytes."""
        if self.bits:
            number = int.from_bytes(word, "big")
            if number >> self.bits:
                raise _loose(f"a number does not fit {self.name}")
            return number
        if self.base == "address":
            if word[:12] != _ADDRESS_PADDING:
                raise _loose("an address has dirty upper bytes")
            return Address(word[12:])
        if self.size:
            if any(word[self.size :]):
                raise _loose(f"{self.name} has dirty lower bytes")
            return word[: self.size]
        number = int.from_bytes(word, "big")
        if number > 1:
            raise _loose("a bool is neither 0 nor 1")
        return bool(number)


def _loose(message: str) -> Rejected:
    return Rejected(RejectionReason.NON_CANONICAL, f"ABI: {message}")


def _word(number: int) -> bytes:
    return number.to_bytes(_WORD, "big")


def _encode_sequence(types: Sequence[AbiType], values: Sequence[Any]) -> bytes:
    head: list[bytes] = []
    tail: list[bytes] = []
    offset = _WORD * len(types)
    for abi_type, value in zip(types, values, strict=True):
        encoded = abi_type.encode(value)
        if abi_type.is_dynamic:
            head.append(_word(offset))
            tail.append(encoded)
            offset += len(encoded)
        else:
            head.append(encoded)
    return b"".join(head + tail)


def _cut_off() -> Rejected:
    return Rejected(RejectionReason.MALFORMED, "ABI: cut off")


def _decode_sequence(types: Sequence[AbiType], encoded: bytes, start: int) -> tuple[list[Any], int]:
    """Values and the position after them. Tails must follow the heads in order without gap or overlap."""
    values: list[Any] = []
    position = start + _WORD * len(types)
    if position > len(encoded):
        raise _cut_off()
    for head, abi_type in enumerate(types):
        word = encoded[start + _WORD * head : start + _WORD * (head + 1)]
        if not abi_type.is_dynamic:
            values.append(abi_type.decode_word(word))
            continue
        if int.from_bytes(word, "big") != position - start:
            raise _loose("an offset is not the canonical one")
        value, position = _decode_tail(abi_type, encoded, position)
        values.append(value)
    return values, position


def _decode_tail(abi_type: AbiType, encoded: bytes, position: int) -> tuple[Any, int]:
    length = int.from_bytes(encoded[position : position + _WORD], "big")
    position += _WORD
    if position > len(encoded):
        raise _cut_off()
    room = len(encoded) - position
    if length > (room if abi_type.element is None else room // _WORD):  # An array's element takes a word at least.
        raise Rejected(RejectionReason.MALFORMED, "ABI: a length is beyond the end")
    if abi_type.element is not None:
        return _decode_sequence([abi_type.element] * length, encoded, position)
    octets = encoded[position : position + length]
    end = position + length + -length % _WORD
    padding = encoded[position + length : end]
    if len(padding) != -length % _WORD or any(padding):
        raise _loose("padding is not zero")
    if abi_type.base == "bytes":
        return octets, end
    try:
        return octets.decode(), end
    except UnicodeDecodeError:
        raise _loose("a string is not UTF-8") from None


def encode_values(types: Sequence[AbiType], values: Sequence[Any]) -> bytes:
    """The encoding of a tuple of values, as `abi.encode` gives it."""
    return _encode_sequence(types, values)


def decode_values(types: Sequence[AbiType], encoded: bytes) -> tuple[Any, ...]:
    """The values of a canonical encoding; raises Rejected for anything cut off, loose, or with trailing bytes."""
    values, end = _decode_sequence(types, encoded, 0)
    if end != len(encoded):
        raise _loose("bytes after the end")
    return tuple(values)


class Parameter:
    """A named, typed parameter of a function or event."""

    __slots__ = ("indexed", "name", "type")

    def __init__(self, declaration: str) -> None:
        words = declaration.split()
        self.type = AbiType(words[0])
        self.indexed = "indexed" in words[1:]
        self.name = words[-1] if len(words) > 1 and words[-1] != "indexed" else ""


def _parameters(declarations: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(part.strip()) for part in declarations.split(",") if part.strip())


class Function:
    """A function of a module, from a declaration such as `transfer(address to, uint256 amount) returns (bool)`.

    `view` at the end marks one that changes nothing.
    """

    _FORM = re.compile(r"(\w+)\(([^)]*)\)( view)?(?: returns \(([^)]*)\))?")

    def __init__(self, declaration: str) -> None:
        match = self._FORM.fullmatch(declaration)
        assert match is not None, f"bad declaration {declaration}"
        self.name = match[1]
        self.inputs = _parameters(match[2])
        self.is_view = bool(match[3])
        self.outputs = _parameters(match[4] or "")
        self.input_types = tuple(parameter.type for parameter in self.inputs)
        self.output_types = tuple(parameter.type for parameter in self.outputs)

    @cached_property
    def signature(self) -> str:
        """Name and types: what the selector is the hash of."""
        return f"{self.name}({','.join(abi_type.name for abi_type in self.input_types)})"

    @cached_property
    def selector(self) -> bytes:
        """The first four bytes of the signature's Keccak-256."""
        return keccak256(self.signature.encode())[:4]

    def encode(self, *arguments: Any) -> bytes:
        """Call data: selector and arguments."""
        return self.selector + _encode_sequence(self.input_types, arguments)

    def decode(self, call_data: bytes) -> tuple[Any, ...]:
        """The arguments in call data of this function; raises Rejected where the encoding is not canonical."""
        if call_data[:4] != self.selector:
            raise Rejected(RejectionReason.UNKNOWN_CALL, f"not a call of {self.signature}")
        return decode_values(self.input_types, call_data[4:])

    def encode_output(self, *values: Any) -> bytes:
        """What a call returns."""
        return _encode_sequence(self.output_types, values)

    def decode_output(self, encoded: bytes) -> tuple[Any, ...]:
        """The returned values."""
        return decode_values(self.output_types, encoded)

    def __repr__(self) -> str:
        return f"Function({self.signature})"


class Event:
    """An event of a module, from a declaration such as `Minted(address indexed provider, uint256 units)`.

    Indexed parameters must be static types, so that a topic holds the value itself.
    """

    _FORM = re.compile(r"(\w+)\(([^)]*)\)")

    def __init__(self, declaration: str) -> None:
        match = self._FORM.fullmatch(declaration)
        assert match is not None, f"bad declaration {declaration}"
        self.name = match[1]
        self.parameters = _parameters(match[2])
        self.signature = f"{self.name}({','.join(parameter.type.name for parameter in self.parameters)})"
        self.topic: Hash32 = keccak256(self.signature.encode())
        self._unindexed = [parameter.type for parameter in self.parameters if not parameter.indexed]
        self._is_static = not any(abi_type.is_dynamic for abi_type in self._unindexed)
        assert not any(parameter.indexed and parameter.type.is_dynamic for parameter in self.parameters)

    def encode(self, *values: Any) -> tuple[tuple[Hash32, ...], bytes]:
        """(topics, data) of one emission; values in declared order."""
        topics = [self.topic]
        unindexed = []
        for parameter, value in zip(self.parameters, values, strict=True):
            if parameter.indexed:
                topics.append(Hash32(parameter.type.encode(value)))
            else:
                unindexed.append(parameter.type.encode(value) if self._is_static else value)
        # Static values stand one after another; almost all events have no others.
        return tuple(topics), b"".join(unindexed) if self._is_static else _encode_sequence(self._unindexed, unindexed)

    def decode(self, topics: Sequence[bytes], event_data: bytes) -> dict[str, Any]:
        """Values by name from a log that `encode` made; raises Rejected for any other."""
        if len(topics) != 1 + len(self.parameters) - len(self._unindexed) or topics[0] != self.topic:
            raise Rejected(RejectionReason.MALFORMED, f"not a log of {self.signature}")
        if any(len(topic) != _WORD for topic in topics):
            raise Rejected(RejectionReason.MALFORMED, "a topic is 32 bytes")
        indexed = iter(topics[1:])
        unindexed = iter(decode_values(self._unindexed, event_data))
        return {
            parameter.name: parameter.type.decode_word(next(indexed)) if parameter.indexed else next(unindexed)
            for parameter in self.parameters
        }

    def __repr__(self) -> str:
        return f"Event({self.signature})"
