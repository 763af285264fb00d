"""The ABI: the same bytes as eth-abi writes, and exactly one encoding of each value that is read."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import eth_abi
import pytest
from eth_utils import function_signature_to_4byte_selector, keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.abi import AbiType, Event, Function, decode_values, encode_values
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import Address

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

WORD = 32


def _values_of(name: str) -> st.SearchStrategy[Any]:
    if name.endswith("[]"):
        return st.lists(_values_of(name[:-2]), max_size=4)
    if name.startswith("uint"):
        return st.integers(0, 2 ** int(name[4:]) - 1)
    if name == "string":
        return st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
    if name == "bytes":
        return st.binary(max_size=70)
    if name == "bool":
        return st.booleans()
    size = 20 if name == "address" else int(name[5:])
    return st.binary(min_size=size, max_size=size)


type_names = st.builds(
    lambda base, dimensions: base + "[]" * dimensions,
    st.sampled_from(
        ("address", "bool", "uint8", "uint32", "uint256", "bytes1", "bytes4", "bytes32", "bytes", "string")
    ),
    st.sampled_from((0, 0, 0, 1, 1, 2)),
)
typed_values = st.lists(type_names.flatmap(lambda name: st.tuples(st.just(name), _values_of(name))), max_size=6)


def _theirs(name: str, value: Any) -> Any:
    """A value as eth-abi takes and gives it: addresses as hex, sequences as tuples."""
    if name.endswith("[]"):
        return tuple(_theirs(name[:-2], element) for element in value)
    return "0x" + value.hex() if name == "address" else value


@settings(max_examples=400)
@given(typed_values)
def test_encoding_agrees_with_eth_abi(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    values = [value for _, value in pairs]
    types = [AbiType(name) for name in names]

    encoded = encode_values(types, values)

    assert encoded == eth_abi.encode(names, [_theirs(name, value) for name, value in pairs])
    assert list(decode_values(types, encoded)) == values
    assert eth_abi.decode(names, encoded) == tuple(_theirs(name, value) for name, value in pairs)


@settings(max_examples=250)
@given(typed_values, st.integers(0, 2**32), st.booleans())
def test_a_changed_encoding_is_refused_or_means_something_else(
    reason_of: ReasonOf, pairs: list[tuple[str, Any]], seed: int, is_word: bool
) -> None:
    names = [name for name, _ in pairs]
    types = [AbiType(name) for name in names]
    generator = random.Random(seed)
    for changed in _changes(encode_values(types, [value for _, value in pairs]), generator, is_word):
        if reason_of(decode_values, types, changed) is not None:
            continue
        values = decode_values(types, changed)
        assert encode_values(types, values) == changed
        assert eth_abi.decode(names, changed) == tuple(map(_theirs, names, values))


def _changes(encoded: bytes, generator: random.Random, is_word: bool) -> Iterator[bytes]:
    """Bits flipped; or words that could be lengths and offsets replaced, repeated, removed, added."""
    yield encoded + bytes(WORD)
    yield encoded + b"\0"
    yield encoded[:-1]
    for _ in range(12 if encoded else 0):
        place = generator.randrange(len(encoded))
        if not is_word:
            yield encoded[:place] + bytes((encoded[place] ^ 1 << generator.randrange(8),)) + encoded[place + 1 :]
            continue
        start = place // WORD * WORD
        word = generator.choice((0, 1, 2, 31, 32, 33, 64, 96, len(encoded), 2**31, 2**63, 2**255)).to_bytes(WORD, "big")
        yield encoded[:start] + word + encoded[start + WORD :]
        yield encoded[:start] + word + encoded[start:]
        yield encoded[:start] + encoded[start + WORD :]


@pytest.mark.parametrize("seed", range(4))
def test_mutated_calls_are_refused_or_canonical(seed: int, reason_of: ReasonOf, mutations: Mutations) -> None:
    register = Function("register(string endpoint, string[] models, uint256 price, uint32 vram, address payout)")
    good = register.encode("https://example.org", ["tiny-sd", "a" * 40, ""], 10**18, 24_000, Address(b"\x07" * 20))
    for mutated in mutations(good[4:], 1_500, seed):
        call_data = register.selector + mutated
        if reason_of(register.decode, call_data) is None:
            assert register.encode(*register.decode(call_data)) == call_data


def _words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(WORD, "big") for number in numbers)


@pytest.mark.parametrize(
    ("name", "encoded", "reason"),
    [
        ("address", _words(2**160), RejectionReason.NON_CANONICAL),
        ("uint32", _words(2**32), RejectionReason.NON_CANONICAL),
        ("bool", _words(2), RejectionReason.NON_CANONICAL),
        ("bytes4", _words(1), RejectionReason.NON_CANONICAL),
        ("uint256", _words(1) + b"\0", RejectionReason.NON_CANONICAL),
        ("uint256", _words(1, 1), RejectionReason.NON_CANONICAL),
        ("uint256", _words(1)[:31], RejectionReason.MALFORMED),
        ("uint256", b"", RejectionReason.MALFORMED),
        ("bytes", _words(64, 0, 0), RejectionReason.NON_CANONICAL),  # A gap before the tail.
        ("bytes", _words(0), RejectionReason.NON_CANONICAL),  # An offset that points back at itself.
        ("bytes", _words(2**256 - 32, 0), RejectionReason.NON_CANONICAL),
        ("bytes", _words(32, 1, 1), RejectionReason.NON_CANONICAL),  # Dirty padding.
        ("bytes", _words(32, 1) + b"\1", RejectionReason.NON_CANONICAL),  # Padding that is cut off.
        ("bytes", _words(32, 33, 0), RejectionReason.MALFORMED),  # Longer than what is there.
        ("bytes", _words(32, 2**256 - 1), RejectionReason.MALFORMED),
        ("bytes", _words(32), RejectionReason.MALFORMED),
        ("string", _words(32, 1) + b"\xff" + bytes(31), RejectionReason.NON_CANONICAL),
        ("string", _words(32, 3) + b"\xed\xa0\x80" + bytes(29), RejectionReason.NON_CANONICAL),  # A surrogate.
        ("string", _words(32, 2) + b"\xc0\x80" + bytes(30), RejectionReason.NON_CANONICAL),  # An overlong zero.
        ("uint256[]", _words(32, 2, 1), RejectionReason.MALFORMED),
        ("uint256[]", _words(32, 2**255), RejectionReason.MALFORMED),
        ("uint256[]", _words(32, 1, 1, 1), RejectionReason.NON_CANONICAL),
        ("string[]", _words(32, 2, 64, 64, 0), RejectionReason.NON_CANONICAL),  # Two offsets to one tail.
        ("string[]", _words(32, 2, 96, 64, 0, 0), RejectionReason.NON_CANONICAL),  # Tails out of order.
    ],
)
def test_loose_encodings_are_refused(name: str, encoded: bytes, reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(decode_values, [AbiType(name)], encoded) is reason


@pytest.mark.parametrize("count", [1_000, 2**31, 2**255])
def test_a_short_call_cannot_announce_a_long_list(count: int, reason_of: ReasonOf) -> None:
    for name in ("string[]", "string[][]", "uint256[]"):
        encoded = _words(WORD, count) + _words(*[0] * 900)
        assert reason_of(decode_values, [AbiType(name)], encoded) is not None


def test_selectors_and_topics_agree_with_eth_utils() -> None:
    function = Function("mintWithReceipt(address provider, uint256 units, bytes32 receiptHash, bytes attesterSig)")
    event = Event("Minted(address indexed provider, uint256 units, bytes32 receiptHash)")

    assert function.signature == "mintWithReceipt(address,uint256,bytes32,bytes)"
    assert function.selector == function_signature_to_4byte_selector(function.signature)
    assert event.topic == keccak(b"Minted(address,uint256,bytes32)")
    assert Function("withdraw()").encode() == keccak(b"withdraw()")[:4]
    assert Function("paused() view returns (bool)").is_view
    assert not function.is_view


def test_a_call_of_another_function_is_refused(reason_of: ReasonOf) -> None:
    transfer = Function("transfer(address to, uint256 value) returns (bool)")
    for call_data in (b"", b"\0", transfer.selector[:3], b"\0\0\0\0" + bytes(64)):
        assert reason_of(transfer.decode, call_data) is RejectionReason.UNKNOWN_CALL
    assert transfer.decode_output(transfer.encode_output(True)) == (True,)


def test_logs_go_there_and_back(reason_of: ReasonOf) -> None:
    event = Event("Proposed(uint256 indexed number, address indexed proposer, address target, bytes callData)")
    values = {"number": 7, "proposer": b"\1" * 20, "target": b"\2" * 20, "callData": b"call"}

    topics, encoded = event.encode(*values.values())

    assert event.decode(topics, encoded) == values
    assert topics[0] == event.topic
    assert reason_of(event.decode, topics[:2], encoded) is RejectionReason.MALFORMED
    assert reason_of(event.decode, (*topics, topics[1]), encoded) is RejectionReason.MALFORMED
    assert reason_of(event.decode, (topics[1], *topics[1:]), encoded) is RejectionReason.MALFORMED
    assert reason_of(event.decode, (topics[0], topics[1], b"\1" * 20), encoded) is RejectionReason.MALFORMED
    assert reason_of(event.decode, (topics[0], topics[1], b"\1" * 32), encoded) is RejectionReason.NON_CANONICAL
    assert reason_of(event.decode, topics, encoded + b"\0") is RejectionReason.NON_CANONICAL
    assert reason_of(event.decode, (), encoded) is RejectionReason.MALFORMED
