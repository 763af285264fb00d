"""The caches: right, bounded, and never for the wrong digest, signature or bytes."""

from __future__ import annotations

import pytest

from chain.node.caches import MAX_CACHED_BYTES, SignatureCache, TransactionCache
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.transaction import decode_transaction, sign_transaction

ANN, BOB = PrivateKey(b"\x01" * 32), PrivateKey(b"\x02" * 32)
DIGEST, OTHER = keccak256(b"digest"), keccak256(b"other")


def test_second_time_is_a_hit() -> None:
    cache = SignatureCache()
    signature = ANN.sign(DIGEST)
    assert [cache.recover(DIGEST, signature) for _ in range(3)] == [ANN.address] * 3
    assert (cache.hits, cache.misses, len(cache)) == (2, 1, 1)


def test_digest_and_signature_both_count() -> None:
    cache = SignatureCache()
    assert cache.recover(DIGEST, ANN.sign(DIGEST)) == ANN.address
    assert cache.recover(DIGEST, BOB.sign(DIGEST)) == BOB.address
    assert cache.recover(OTHER, ANN.sign(DIGEST)) not in (ANN.address, BOB.address)


def test_bad_signatures_are_refused_every_time() -> None:
    cache = SignatureCache()
    for signature in (b"", bytes(65), ANN.sign(DIGEST)[:64], ANN.sign(DIGEST)[:64] + b"\x02"):
        for _ in range(2):
            with pytest.raises(Rejected):
                cache.recover(DIGEST, signature)
    assert len(cache) == 0


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    cache = SignatureCache(capacity=10)
    digests = [keccak256(bytes((index,))) for index in range(100)]
    kept = ANN.sign(DIGEST)
    for digest in digests:
        assert cache.recover(digest, ANN.sign(digest)) == ANN.address
        assert cache.recover(DIGEST, kept) == ANN.address
        assert len(cache) <= 20
    assert cache.misses == 101


def test_decoded_transactions_are_the_same_and_bounded() -> None:
    cache = TransactionCache(capacity=4)
    raws = [sign_transaction(ANN, chain_id=7, nonce=nonce, to=BOB.address, value=1).raw for nonce in range(20)]
    for raw in raws:
        assert cache.decode(raw) == decode_transaction(raw)
        assert cache.decode(raw) is cache.decode(raw)
        assert len(cache) <= 8


def test_long_and_bad_transactions_are_not_kept() -> None:
    cache = TransactionCache()
    long = sign_transaction(ANN, chain_id=7, nonce=0, to=BOB.address, data=bytes(MAX_CACHED_BYTES)).raw
    assert cache.decode(long) == decode_transaction(long)
    for _ in range(2):
        with pytest.raises(Rejected):
            cache.decode(long[:-1])
    assert len(cache) == 0
