"""Keys at paths: the vectors of BIP-32, addresses that every wallet knows, and what is no path."""

import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.rejection import Rejected
from wallet.derivation import HARDENED, account_path, derive_key, format_path, parse_path
from wallet.words import seed_of

# Of BIP-32 itself: "Test vector 1" and "Test vector 3" (keys with leading zeros, which some libraries lose).
SEED_1 = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
VECTORS_1 = [
    ("m/0'", "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"),
    ("m/0'/1", "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"),
    ("m/0h/1/2H", "cbce0d719ecf7431d88e6a89fa1483e02e35092af60c042b1df2ff59fa424dca"),
    ("m/0'/1/2'/2/1000000000", "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8"),
]
# Hardhat's, anvil's and Ganache's: printed by these tools on every start.
JUNK = "test " * 11 + "junk"
JUNK_ADDRESSES = [
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
]


@pytest.mark.parametrize(("path", "secret"), VECTORS_1)
def test_vectors_of_bip_32(path: str, secret: str) -> None:
    assert derive_key(SEED_1, path).secret.hex() == secret


@pytest.mark.parametrize("index", range(3))
def test_addresses_that_every_wallet_knows(index: int) -> None:
    assert to_checksum_address(derive_key(seed_of(JUNK), account_path(index)).address) == JUNK_ADDRESSES[index]


def test_paths_have_one_form() -> None:
    assert account_path(7) == "m/44'/60'/0'/0/7"
    assert parse_path("m/44'/60h/0H/0/7") == (44 + HARDENED, 60 + HARDENED, HARDENED, 0, 7)
    assert format_path(parse_path("m/44h/60H/0'/0/7")) == account_path(7)
    assert parse_path("m/2147483647'") == (0xFFFFFFFF,)
    assert len(parse_path("m" + "/0" * 10)) == 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "m/",
        "/0",
        "M/0",
        "44'/60'",
        "m/-1",
        "m/+1",
        "m/01",
        "m/1''",
        "m/'",
        "m/ 1",
        "m/1 ",
        "m/0x1",
        "m/1_0",
        "m/٣",
        "m/2147483648",
        "m/9999999999'",
        "m/99999999999999999999",
        "m//0",
        "m/0/",
        "m" + "/0" * 11,
        "m" + "/0" * 100_000,
    ],
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(Rejected, match="not a derivation path"):
        parse_path(text)
