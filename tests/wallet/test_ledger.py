"""Keys in a Ledger: exchanges that were recorded from a device, and whole commands against a program that plays one.

Nobody has tried this on a device yet. The recordings are facts about one, published with the tests of the wallet Frame:
the commands that a Ledger took, and its answers (the public key's without the chain code, which is not asked for here).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledgerblue import commTCP

from chain.primitives import rlp
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address
from chain.primitives.keys import recover_address
from chain.primitives.rejection import Rejected
from chain.primitives.signing import eip191_preimage, eip712_preimage
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import Address, Hash32
from tests.wallet.ledger_device import LedgerDevice
from wallet.ledger import LedgerError, LedgerSigner

PATH = "m/44'/60'/0'/0"
OWNER = Address(bytes.fromhex("46bdba9c90ea453426d0b8d4a7a8a99b8a9dade5"))
PATH_BYTES = "048000002c8000003c8000000000000000"
PUBLIC_KEY = (
    f"e002000011{PATH_BYTES}",
    "4104859f899683f20dbf6140126aabadb61d3c14f6b4ab125a5f8017e3ed790ada06ccd136314c44f75869d35e769ef757aa98873277f452a1"
    "5d5f379afda7501f3728" + b"46BdBA9C90EA453426D0b8D4A7A8A99B8A9dADe5".hex(),
)
TRANSACTION = (
    f"e004000040{PATH_BYTES}"
    "02ed0406843b9aca00843b9aca0b825208942f318c334780961fb129d2a6c30d0763d9a5c970865af3107a400080c0",
    "01ebefc9f798b04e3952310d6b82c48fda245df9edef77507d06025cdc5af4efa1570784cbcf84a0f03cac7771fbfeee4f4759034baf42ca73"
    "5065554afa600ee3",
)
TYPED_DATA = (
    f"e00c000051{PATH_BYTES}3173a9c41e96ee138ed70f662fc9412ce2542bd7135229c5ca739a62faff853b"
    "eb4221181ff3f1a83ea7313993ca9218496e424604ba9492bb4052c03d5c3df8",
    "1bee800a5a7e4e1668a8ebab2a5bce4c96424e0f80b7ba08fc48e063393196e0851c0f9dab8909655368974e8aec6dba5c15772d575189e31b"
    "894fb7f8286c63b9",
)


class Recording:
    """Gives the answers that a device gave, to the commands that it took, in their order."""

    def __init__(self, *exchanges: tuple[str, str]) -> None:
        self.left = list(exchanges)

    def exchange(self, apdu: bytearray) -> bytes:
        """One of them."""
        command, answer = self.left.pop(0)
        assert bytes(apdu).hex() == command
        return bytes.fromhex(answer)


class Answering:
    """Answers the public key, and then whatever a test says."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.is_known = False

    def exchange(self, apdu: bytearray) -> bytes:
        """Raises what is to be raised."""
        if not self.is_known:
            self.is_known = True
            return bytes.fromhex(PUBLIC_KEY[1])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class StatusError(Exception):
    """As the library raises."""

    def __init__(self, sw: object) -> None:
        super().__init__("Invalid status")
        self.sw = sw


def test_a_recorded_transaction() -> None:
    recording = Recording(PUBLIC_KEY, TRANSACTION)
    signer = LedgerSigner(PATH, recording)
    assert signer.address == OWNER
    to = bytes.fromhex("2f318c334780961fb129d2a6c30d0763d9a5c970")
    numbers = [rlp.encode_integer(number) for number in (4, 6, 1_000_000_000, 1_000_000_011, 21_000)]
    preimage = b"\x02" + rlp.encode([*numbers, to, rlp.encode_integer(100_000_000_000_000), b"", []])
    signature = signer.sign_keccak(preimage)
    assert signature.hex() == TRANSACTION[1][2:] + "1c"
    assert recover_address(keccak256(preimage), signature) == OWNER
    assert recording.left == []


def test_recorded_typed_data() -> None:
    signer = LedgerSigner(PATH, Recording(PUBLIC_KEY, TYPED_DATA))
    domain, struct = bytes.fromhex(TYPED_DATA[0][44:108]), bytes.fromhex(TYPED_DATA[0][108:])
    signature = signer.sign_keccak(eip712_preimage(Hash32(domain), Hash32(struct)))
    assert signature.hex() == TYPED_DATA[1][2:] + "1b"


@pytest.mark.parametrize(
    "preimage", [b"", b"\xf8\x6b" + bytes(107), b"aitbc/1" + bytes(89), b"\x19\x01" + bytes(63), bytes(32)]
)
def test_what_a_device_does_not_sign_is_not_sent_to_it(preimage: bytes) -> None:
    signer = LedgerSigner(PATH, Recording(PUBLIC_KEY))
    with pytest.raises(LedgerError, match="none of them"):
        signer.sign_keccak(preimage)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "is not a signature"),
        (bytes(64), "is not a signature"),
        (bytes(65), "is not a signature"),
        (bytes.fromhex(TRANSACTION[1]), "is not a signature"),  # Over something else.
        (StatusError(0x6985), "refused on the device"),
        (StatusError(0x5515), "unlock it"),
        (StatusError(0x6A80), "blind signing"),
        (StatusError(0x6E00), "open the Ethereum app"),
        (StatusError(0x1234), "answers 1234"),
        (StatusError(None), "does not answer"),
        (OSError("unplugged"), "does not answer: unplugged"),
    ],
)
def test_a_device_that_does_not_sign(answer: bytes | Exception, said: str) -> None:
    signer = LedgerSigner(PATH, Answering(answer))
    with pytest.raises(LedgerError, match=said):
        signer.sign_keccak(eip191_preimage(b"hello"))


@pytest.mark.parametrize("answer", ["", "41", "41" + "00" * 65, "21" + "04" * 33, "ff" + "04" * 65])
def test_what_is_no_public_key(answer: str) -> None:
    with pytest.raises(LedgerError, match="no public key"):
        LedgerSigner(PATH, Recording((PUBLIC_KEY[0], answer)))


def test_a_path_that_is_none() -> None:
    with pytest.raises(Rejected):
        LedgerSigner("44/60", Recording())


@pytest.fixture
def device() -> Iterator[LedgerDevice]:
    """One that is plugged in."""
    device = LedgerDevice()
    yield device
    device.close()


def _aitbc(
    device: LedgerDevice, home: Path, *arguments: str, given: bytes = b"", expect: int = 0
) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "genesis.cli", "wallet", *arguments, "--home", str(home)],
        input=given,
        capture_output=True,
        env=clean | device.environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == expect, done.stderr.decode()
    return done


def test_an_account_in_a_device_signs_messages(device: LedgerDevice, tmp_path: Path) -> None:
    shown = json.loads(_aitbc(device, tmp_path, "import", "cold", "--ledger", "--index", "3", "--json").stdout)
    address = parse_address(shown["address"])
    path = bytes.fromhex("058000002c8000003c800000000000000000000003")
    assert address == device.key_at(path).public_key.to_canonical_address()
    for text in ("hello", "a long one " * 60):
        done = _aitbc(device, tmp_path, "sign", "message", text, "--from", "cold", "--yes", "--json")
        signature = parse_hex(json.loads(done.stdout)["signature"])
        assert recover_address(keccak256(eip191_preimage(text.encode())), signature) == address
        assert device.shown[-1] == f"message {text}"
    device.refuses = 0x6985
    refused = _aitbc(device, tmp_path, "sign", "message", "hello", "--from", "cold", "--yes", expect=1)
    assert b"refused on the device" in refused.stderr


def test_another_device_is_noticed(device: LedgerDevice, tmp_path: Path) -> None:
    _aitbc(device, tmp_path, "import", "cold", "--ledger")
    (account,) = (tmp_path / "keys").glob("cold.json")
    text = account.read_text()
    address = json.loads(text)["address"]
    account.write_text(text.replace(address, to_checksum_address(OWNER)))
    refused = _aitbc(device, tmp_path, "sign", "message", "hello", "--from", "cold", "--yes", expect=1)
    assert b"it is another device" in refused.stderr


def test_no_device_is_said_in_one_line(tmp_path: Path) -> None:
    device = LedgerDevice()
    device.close()
    refused = _aitbc(device, tmp_path, "import", "cold", "--ledger", expect=1)
    assert b"no Ledger is connected" in refused.stderr
    assert refused.stderr.count(b"\n") == 1


def test_long_calls_go_in_several_commands(device: LedgerDevice) -> None:
    dongle = commTCP.getDongle("127.0.0.1", device.port)
    signer = LedgerSigner("m/44'/60'/0'/0/0", dongle)
    for size in (0, 200, 233, 234, 235, 255, 600, 5_000):  # Around the end of a command, too.
        transaction = sign_transaction(signer, chain_id=7, nonce=1, to=OWNER, value=3, data=bytes(size))
        assert transaction.recover_sender() == signer.address
        assert device.shown[-1] == f"send 3 to 0x{OWNER.hex()} on 7"
    dongle.close()
