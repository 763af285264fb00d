"""An attester whose key is in a remote signer: the same attestations and network, and patience when it is away."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_hex
from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.receipt import Receipt, attestation_digest
from hub.errors import HubConfigurationError
from hub.hub import open_hub
from hub.settings import HubSettings
from tests.hub.dialled import DialledProvider
from tests.hub.running import HubProcess, wait_until
from tests.wallet.signers.signer_process import SignerProcess
from wallet.attester import AttesterNetwork
from wallet.keystore import KeystoreError


@pytest.fixture
def signer(tmp_path: Path, chain: Any) -> Iterator[SignerProcess]:
    """Holds the attester's key."""
    home = tmp_path / "signer"
    home.mkdir()
    network = AttesterNetwork(chain.chain_id, parse_hash(chain.genesis_hash))
    process = SignerProcess(home, chain.attester, "--for", "attestations", network=network)
    process.start()
    yield process
    process.stop()


def _flags(chain: Any, signer: SignerProcess, **changes: Any) -> dict[str, Any]:
    return {
        "attester_keystore": None,
        "attester_signer_url": signer.url,
        "attester_signer_public_key": to_hex(chain.attester.public_key),
        "attester_signer_genesis_hash": chain.genesis_hash,
        **changes,
    }


def _check(answer: httpx.Response, chain: Any) -> None:
    """The attestation is the attester's, for this receipt."""
    assert answer.status_code == 200, answer.text
    _check_job(answer.json(), chain)


def _check_job(job: dict[str, Any], chain: Any) -> None:
    receipt = Receipt.from_json(json.dumps(job["receipt"]))
    digest = attestation_digest(receipt.provider, receipt.amount, receipt.hash)
    assert recover_address(digest, parse_hex(job["attestation"])) == chain.attester.address


def test_jobs_are_attested_and_wait_while_the_signer_is_away(
    make_hub: Callable[..., HubProcess], dial: Callable[..., DialledProvider], chain: Any, signer: SignerProcess
) -> None:
    hub = make_hub(**_flags(chain, signer))
    dial(hub)
    _check(hub.post_job(), chain)

    signer.stop()
    job_id = hub.post_job(prompt="while it is away", wait_s=0).json()["job_id"]
    wait_until(lambda: "signer" in hub.log)
    assert hub.job(job_id)["status"] == "verifying"
    signer.start()
    _check_job(hub.ended(job_id), chain)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attester_signer_genesis_hash": "0x" + "99" * 32}, "does not sign for chain"),
        ({"attester_signer_public_key": to_hex(PrivateKey(b"\x71" * 32).public_key)}, "does not hold the key"),
        ({"attester_signer_public_key": "0x02"}, "not a secp256k1 public key"),
        ({"attester_signer_genesis_hash": "0x99"}, "32 bytes"),
        ({"attester_signer_url": "signer:9000"}, "not the URL of a signer"),
    ],
)
async def test_what_it_does_not_start_with(
    tmp_path: Path, chain: Any, signer: SignerProcess, changes: dict[str, Any], words: str
) -> None:
    hub = HubProcess(tmp_path / "hub", chain, **_flags(chain, signer, **changes))
    settings = HubSettings.build(**hub.settings())
    with pytest.raises((HubConfigurationError, KeystoreError), match=words):
        await open_hub(settings, "", CollectorRegistry(), version="0", wait=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attester_signer_url": None}, "--attester-keystore is missing"),
        ({"attester_keystore": Path("k")}, "not in both"),
        ({"attester_signer_public_key": None}, "needs --attester-signer-public-key"),
        ({"attester_signer_genesis_hash": None}, "needs --attester-signer-public-key"),
    ],
)
def test_a_key_is_in_one_place(tmp_path: Path, chain: Any, changes: dict[str, Any], words: str) -> None:
    given = {
        "attester_keystore": None,
        "attester_signer_url": "http://127.0.0.1:9000",
        "attester_signer_public_key": "0x02",
        "attester_signer_genesis_hash": "0x00",
        **changes,
    }
    with pytest.raises(HubConfigurationError, match=words):
        HubSettings.build(**HubProcess(tmp_path / "hub", chain, **given).settings())
