"""Headers, blocks and results: golden hashes, and one encoding of each."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives import message_pack
from chain.primitives.block import (
    Block,
    Header,
    Log,
    TransactionResult,
    decode_block,
    header_of_trusted,
    results_root,
    transactions_root,
)
from chain.primitives.hashing import keccak256
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import Address, BlockHeight, Hash32

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

HEADER = Header(
    protocol_version=1,
    chain_id=3_141_592_653,
    epoch=0,
    height=BlockHeight(7),
    parent_hash=Hash32(b"\1" * 32),
    time_ms=1_760_000_000_000,
    proposer=Address(b"\2" * 20),
    transactions_root=Hash32(b"\3" * 32),
    results_root=Hash32(b"\4" * 32),
    state_root=Hash32(b"\5" * 32),
    next_validators_hash=Hash32(b"\6" * 32),
)
BLOCK = Block(HEADER, (b"first", b"second"))
LOG = Log(Address(b"\7" * 20), (Hash32(b"\x08" * 32), Hash32(b"\x09" * 32)), b"data")
RESULT = TransactionResult(1, (LOG,))

uint63 = st.integers(0, 2**63 - 1)
hashes = st.binary(min_size=32, max_size=32)
headers = st.builds(
    Header,
    *[uint63] * 4,
    hashes,
    uint63,
    st.binary(min_size=20, max_size=20),
    *[hashes] * 4,
)


def test_a_stored_blocks_header_is_read_alone() -> None:
    assert header_of_trusted(BLOCK.encode()) == HEADER
    assert header_of_trusted(Block(HEADER, ()).encode()) == HEADER


def test_golden_encoding_and_hash() -> None:
    encoded = message_pack.encode(HEADER)

    assert encoded.hex() == (
        "9b01cebb40e64d0007"
        + ("c420" + "01" * 32)
        + "cf00000199c82cc000"
        + ("c414" + "02" * 20)
        + "".join("c420" + f"{octet:02x}" * 32 for octet in (3, 4, 5, 6))
    )
    assert HEADER.hash == keccak256(encoded)
    assert HEADER.hash.hex() == "3011601f91f648ad343a7e0fc7f9358da869933d73e8789c38602b541e9ab9a7"
    assert BLOCK.encode() == b"\x92" + encoded + b"\x92\xc4\x05first\xc4\x06second"


def test_golden_roots() -> None:
    assert (
        transactions_root([keccak256(raw) for raw in BLOCK.transactions]).hex()
        == "ff2462087c84479d07af9e4af02f7b37ad315e19548f7543840ae3d75fb0e71d"
    )
    assert (
        results_root([RESULT, TransactionResult(0, ())]).hex()
        == "d5ecf6ed7199b29d70c53e15a3ac7625dfb7cbe8b75dca04beac10491c6fc03b"
    )
    assert transactions_root([]) == results_root([])


def test_the_results_root_tells_every_detail_apart() -> None:
    variants = [
        RESULT,
        TransactionResult(0, (LOG,)),
        TransactionResult(1, ()),
        TransactionResult(1, (LOG, LOG)),
        TransactionResult(1, (Log(LOG.address, LOG.topics[:1], LOG.data),)),
        TransactionResult(1, (Log(LOG.address, LOG.topics[::-1], LOG.data),)),
        TransactionResult(1, (Log(LOG.address, LOG.topics, LOG.data + b"\0"),)),
        TransactionResult(1, (Log(Address(bytes(20)), LOG.topics, LOG.data),)),
    ]
    assert len({results_root([variant]) for variant in variants}) == len(variants)


@settings(max_examples=200)
@given(headers, st.lists(st.binary(max_size=60), max_size=20))
def test_blocks_go_there_and_back(header: Header, transactions: list[bytes]) -> None:
    block = Block(header, tuple(transactions))

    decoded = decode_block(block.encode())

    assert decoded == block
    assert decoded.header.hash == header.hash == keccak256(message_pack.encode(header))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_blocks_are_refused_or_canonical(seed: int, reason_of: ReasonOf, mutations: Mutations) -> None:
    for mutated in mutations(BLOCK.encode(), 2_000, seed):
        if reason_of(decode_block, mutated) is None:
            block = decode_block(mutated)
            assert block.encode() == mutated
            assert block != BLOCK


def _fields(**changes: Any) -> list[Any]:
    return list({**{name: getattr(HEADER, name) for name in HEADER.__struct_fields__}, **changes}.values())


@pytest.mark.parametrize(
    "fields",
    [
        *[_fields(**{name: value}) for name in ("height", "time_ms", "chain_id") for value in (-1, 2**63, 2**64 - 1)],
        *[_fields(**{name: value}) for name in ("epoch", "protocol_version") for value in (True, None, 1.0, "1", b"1")],
        *[_fields(**{name: b"\1" * 31}) for name in ("parent_hash", "state_root", "results_root", "transactions_root")],
        _fields(next_validators_hash=b"\1" * 33),
        _fields(state_root="\1" * 32),
        _fields(proposer=b"\1" * 19),
        _fields(proposer=b"\1" * 21),
        _fields(extra=0),
        _fields()[:-1],
        {name: getattr(HEADER, name) for name in HEADER.__struct_fields__},
    ],
)
def test_faulty_headers_are_refused(fields: object, reason_of: ReasonOf) -> None:
    assert reason_of(decode_block, message_pack.encode([fields, []])) is RejectionReason.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        [HEADER],
        [HEADER, [], []],
        [HEADER, [b"a", "b"]],
        [HEADER, [[b"a"]]],
        [HEADER, b"a"],
        [HEADER, {b"a": b"b"}],
        [HEADER, None],
        [[], HEADER],
        [HEADER, [1]],
        [],
        None,
        7,
    ],
)
def test_faulty_blocks_are_refused(body: object, reason_of: ReasonOf) -> None:
    assert reason_of(decode_block, message_pack.encode(body)) is RejectionReason.MALFORMED


def test_non_minimal_integers_are_refused(reason_of: ReasonOf) -> None:
    good = BLOCK.encode()
    assert good[2:4] == b"\x01\xce"  # Protocol version 1, then the chain id.
    assert reason_of(decode_block, good[:2] + b"\xcc\x01" + good[3:]) is RejectionReason.NON_CANONICAL


def test_results_are_bounded(reason_of: ReasonOf) -> None:
    encoded = message_pack.encode(RESULT)
    assert message_pack.decode(encoded, TransactionResult) == RESULT
    for wrong in (
        [2, []],
        [-1, []],
        [True, []],
        [1, [[LOG.address, [b"\1" * 32] * 5, b""]]],
        [1, [[LOG.address, [b"\1" * 31], b""]]],
        [1, [[LOG.address, [], b"", b""]]],
    ):
        assert (
            reason_of(message_pack.decode, message_pack.encode(wrong), TransactionResult) is RejectionReason.MALFORMED
        )
