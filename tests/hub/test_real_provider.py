"""The loop with nothing in the place of anything: a real provider draws, the hub attests, the chain mints."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from wallet.keystore import LIGHT_SCRYPT_N, save_key

HUB_KEY = "hub-key-0123456789abcdef"
PRICE = 10**16


@pytest.fixture
def provider(tmp_path: Path, chain: Any) -> Iterator[PrivateKey]:
    """`aitbc provider run` with the embedded model, which registers itself; its key."""
    folder = tmp_path / "provider"
    folder.mkdir()
    key = PrivateKey.generate()
    save_key(folder / "key.json", key, "secret", scrypt_n=LIGHT_SCRYPT_N)
    for name, text in (("password.txt", "secret\n"), ("keys.toml", f'[hubs]\nhub-1 = "{HUB_KEY}"\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    flags = {
        "--data-dir": folder / "data",
        "--keystore": folder / "key.json",
        "--password-file": folder / "password.txt",
        "--api-keys-file": folder / "keys.toml",
        "--node-url": chain.url,
        "--port": 0,
        "--price-per-unit": PRICE,
        "--cpu-threads": 1,
    }
    arguments = [str(part) for pair in flags.items() for part in pair]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "genesis.cli", "provider", "run", "--register", *arguments], stderr=log, env=clean
        )
    yield key
    process.terminate()
    code = process.wait(60)
    assert code == 0, (folder / "log.txt").read_text()


def test_picture_is_drawn_attested_and_minted(
    provider: PrivateKey, chain: Any, make_hub: Any, eventually: Callable[..., Any]
) -> None:
    address = to_checksum_address(provider.address)
    hub = make_hub()
    hub.add_provider(address, HUB_KEY)
    hub.start()
    listed = eventually(
        lambda: [p for p in httpx.get(f"{hub.url}/v1/providers").json()["items"] if p["address"] == address], 60
    )
    assert listed[0]["price_per_unit"] == str(PRICE)
    prompt = "a red circle on a blue background"

    job = eventually(
        lambda: (
            (answer := hub.post_job(prompt=prompt, model=listed[0]["models"][0], guidance=2.5, seed=1)).status_code
            == 200
            and answer.json()
        ),
        60,
    )

    assert job["provider"] == address
    minted = eventually(lambda: (now := hub.job(job["job_id"]))["mint"]["state"] == "minted" and now, 30)
    amount = int(job["receipt"]["amount"])
    assert amount == round(job["receipt"]["units"] * 10**6) * PRICE // 10**6 > 0
    assert chain.node.account(address).balance == amount
    on_chain = chain.node.receipt(job["receipt_hash"])
    assert on_chain.transaction_hash == minted["mint"]["transaction_hash"]
    assert on_chain.attestation == job["attestation"]
