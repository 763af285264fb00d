"""`aitbc wallet signer`: what it refuses before it serves anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey, SignerUnavailable
from chain.primitives.modules import ESCROW, MINTER
from chain.primitives.signing import Eip712Domain, eip712_preimage
from chain.primitives.types import Hash32
from chain.remote_signer import RemoteSigner, SignerSettings
from tests.wallet.signers.conftest import MakeSigner
from tests.wallet.signers.signer_process import PASSWORD
from wallet.accounts import Accounts
from wallet.attester import AttesterNetwork, network_field
from wallet.cli import app
from wallet.keystore import LIGHT_SCRYPT_N

KEY = PrivateKey(b"\x41" * 32)
NETWORK = AttesterNetwork(7, Hash32(b"\x07" * 32))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With an ordinary account and an attester's."""
    accounts = Accounts(tmp_path)
    accounts.create("plain", KEY, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
    attester = PrivateKey(b"\x42" * 32)
    accounts.create("attester", attester, PASSWORD, scrypt_n=LIGHT_SCRYPT_N, extra=network_field(NETWORK))
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    return tmp_path


def _run(home: Path, *options: str) -> Result:
    password = ["--password-file", str(home / "password")]
    return CliRunner().invoke(app, ["signer", "--home", str(home), *password, *options])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--account", "plain", "--for", "attestations"), "is no attester's key"),
        (("--account", "attester", "--for", "votes"), "served for attestations alone"),
        (("--account", "attester", "--for", "attestations", "--for", "anything"), "served for attestations alone"),
        (("--account", "attester", "--account", "plain", "--for", "attestations"), "is no attester's key"),
        (("--account", "plain", "--for", "governance"), "--chain-id"),
        (("--account", "plain", "--for", "everything"), "--for"),
        (("--account", "plain"), "--for"),
        (("--for", "votes"), "--account"),
        (("--account", "nobody", "--for", "votes"), "there is no account"),
        (("--account", "plain", "--for", "votes", "--listen", "9000"), "HOST:PORT"),
        (("--account", "plain", "--for", "votes", "--listen", "127.0.0.1:70000"), "HOST:PORT"),
        (("--account", "plain", "--for", "votes", "--listen", "127.0.0.1:²"), "HOST:PORT"),
        (("--account", "plain", "--for", "votes", "--log-level", "loud"), "--log-level"),
    ],
)
def test_what_is_refused_before_it_serves(home: Path, options: tuple[str, ...], said: str) -> None:
    done = _run(home, *options)
    assert done.exit_code != 0
    assert said in done.stderr


def test_a_wrong_password_has_its_exit_code(home: Path) -> None:
    (home / "password").write_text("another")
    assert _run(home, "--account", "plain", "--for", "votes").exit_code == 3


def test_an_attesters_account_signs_attestations(make_signer: MakeSigner) -> None:
    process = make_signer(KEY, "--for", "attestations", network=NETWORK)
    signer = RemoteSigner(SignerSettings(process.url, KEY.public_key))
    signer.check()
    message = b"\x19Ethereum Signed Message:\n32" + bytes(32)
    assert signer.sign_keccak(message) == KEY.sign_keccak(message)
    # Those of split and paid jobs name the network: its own, without anybody saying so, and no other.
    for module in (MINTER, ESCROW):
        typed = eip712_preimage(Eip712Domain(NETWORK.chain_id, module).separator(), NETWORK.genesis_hash)
        assert signer.sign_keccak(typed) == KEY.sign_keccak(typed)
        elsewhere = eip712_preimage(Eip712Domain(NETWORK.chain_id + 1, module).separator(), NETWORK.genesis_hash)
        other = RemoteSigner(SignerSettings(process.url, KEY.public_key))  # A refusal is remembered as its fault.
        with pytest.raises(SignerUnavailable, match="403"):
            other.sign_keccak(elsewhere)
        other.close()
    signer.close()
    assert to_checksum_address(KEY.address) in process.log_file.read_text()
