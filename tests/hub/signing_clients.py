"""Clients with an account and no API key: they sign with eth_account, from docs/protocol.md alone."""

import hashlib
import json
import secrets
import time
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak

SMALL = {"width": 256, "height": 256, "steps": 5}


def new_account() -> LocalAccount:
    """Of nobody before."""
    account: LocalAccount = Account.create()
    return account


def signed_order(
    account: LocalAccount,
    chain_id: int,
    hub_id: str = "hub-1",
    *,
    nonce: bytes | None = None,
    expires_in_s: float = 600,
    **fields: Any,
) -> dict[str, Any]:
    """The body of an order that this account has signed."""
    body: dict[str, Any] = {"prompt": "a lamp", "n": 1, **SMALL} | fields
    salt, nonce = secrets.token_bytes(32), nonce or secrets.token_bytes(32)
    parameters = {
        "version": 1,
        "count": body["n"],
        "guidance": body.get("guidance", 7.5),
        "height": body["height"],
        "image_format": "png",
        "model": body.get("model"),
        "negative_prompt_hash": None,
        "quality": None,
        "scheduler": "default",
        "seed": None if body.get("seed") is None else str(body["seed"]),
        "source_sha256": None,
        "steps": body["steps"],
        "strength": None,
        "width": body["width"],
    }
    message = {
        "audience": hub_id,
        "promptHash": hashlib.sha256(salt + body["prompt"].encode()).digest(),
        "parametersHash": keccak(json.dumps(parameters, sort_keys=True, separators=(",", ":")).encode()),
        "maxPrice": 10**20,
        "nonce": nonce,
        "expiry": int(time.time() + expires_in_s),
    }
    types = {
        "ClientRequest": [
            {"name": "audience", "type": "string"},
            {"name": "promptHash", "type": "bytes32"},
            {"name": "parametersHash", "type": "bytes32"},
            {"name": "maxPrice", "type": "uint256"},
            {"name": "nonce", "type": "bytes32"},
            {"name": "expiry", "type": "uint64"},
        ]
    }
    domain = {"name": "AITBC", "version": "1", "chainId": chain_id}
    signed = Account.sign_typed_data(account.key, domain, types, message)
    part = {
        "client": account.address,
        "salt": "0x" + salt.hex(),
        "max_price": str(message["maxPrice"]),
        "nonce": "0x" + nonce.hex(),
        "expiry": message["expiry"],
        "signature": "0x" + bytes(signed.signature).hex(),
    }
    return body | {"client_request": part}
