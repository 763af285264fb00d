"""Keccak-256 and SHA-256 against published vectors and a second implementation."""

from Crypto.Hash import keccak as pycryptodome_keccak
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256, sha256


def test_published_vectors() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"abc").hex() == "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.binary(max_size=400))
def test_keccak_agrees_with_pycryptodome(message: bytes) -> None:
    assert keccak256(message) == pycryptodome_keccak.new(digest_bits=256, data=message).digest()
