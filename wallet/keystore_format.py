"""What a Web3 Secret Storage version 3 file must look like before anything is derived from it.

Every field that eth-keyfile will look at has its type and bounds checked here, above all the cost of the key
derivation, which the file chooses and its reader pays.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from chain.primitives.strict_json import count_containers

SECRET_BYTES: Final = 32
# Four times geth's standard: a file must not make us take all memory, or an hour, before it says no.
_MAX_SCRYPT_MEMORY_BYTES: Final = 1024 * 1024 * 1024
_MAX_SCRYPT_WORK: Final = 4 * 262_144 * 8
_MAX_PBKDF2_ITERATIONS: Final = 10_000_000
_MAX_SALT_BYTES: Final = 256
_MAX_BRACKETS: Final = 100  # So that no nesting can exhaust the stack.


def parse_fields(text: bytes) -> dict[str, Any]:
    """The checked JSON object, names of the format's fields in lower case; raises ValueError that names the field."""
    if count_containers(text) > _MAX_BRACKETS:
        raise ValueError("more lists and objects than a keystore can have")
    fields = _lower_names(json.loads(text))
    _check_fields(fields)
    return fields


def _lower_names(value: object) -> dict[str, Any]:
    """The format's own objects with field names in lower case; extra fields keep theirs below the first level."""
    fields = _object(value, "the file")
    crypto = _object(fields.get("crypto"), "crypto")
    fields["crypto"] = crypto | {
        name: _object(crypto.get(name), f"crypto.{name}") for name in ("cipherparams", "kdfparams")
    }
    return fields


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    fields = {key.lower(): content for key, content in value.items()}
    if len(fields) != len(value):
        raise ValueError(f"{name} has a field twice")
    return fields


def _check_fields(fields: Mapping[str, Any]) -> None:
    if fields.get("version") != 3 or isinstance(fields["version"], bool | float):
        raise ValueError("version is not 3")
    address = fields.get("address", "")
    if address and len(_hex(address, "address", 20)) != 20:
        raise ValueError("address is not 20 bytes")
    crypto = fields["crypto"]
    if crypto.get("cipher") != "aes-128-ctr":
        raise ValueError("crypto.cipher is not aes-128-ctr")
    if len(_hex(crypto["cipherparams"].get("iv"), "crypto.cipherparams.iv", 16)) != 16:
        raise ValueError("crypto.cipherparams.iv is not 16 bytes")
    if len(_hex(crypto.get("mac"), "crypto.mac", 32)) != 32:
        raise ValueError("crypto.mac is not 32 bytes")
    if not _hex(crypto.get("ciphertext"), "crypto.ciphertext", SECRET_BYTES):
        raise ValueError("crypto.ciphertext is empty")
    parameters = crypto["kdfparams"]
    _hex(parameters.get("salt"), "crypto.kdfparams.salt", _MAX_SALT_BYTES)
    if parameters.get("dklen") != SECRET_BYTES or isinstance(parameters["dklen"], float):
        raise ValueError("crypto.kdfparams.dklen is not 32")
    if crypto.get("kdf") == "scrypt":
        _check_scrypt(parameters)
    elif crypto.get("kdf") == "pbkdf2":
        if parameters.get("prf") != "hmac-sha256":
            raise ValueError("crypto.kdfparams.prf is not hmac-sha256")
        _integer(parameters, "c", 1, _MAX_PBKDF2_ITERATIONS)
    else:
        raise ValueError("crypto.kdf is neither scrypt nor pbkdf2")


def _check_scrypt(parameters: Mapping[str, Any]) -> None:
    n = _integer(parameters, "n", 2, 2**30)
    r = _integer(parameters, "r", 1, 2**10)
    p = _integer(parameters, "p", 1, 2**10)
    if n & (n - 1):
        raise ValueError("crypto.kdfparams.n is not a power of two")
    if 128 * n * r > _MAX_SCRYPT_MEMORY_BYTES or n * r * p > _MAX_SCRYPT_WORK:
        raise ValueError("crypto.kdfparams ask for more memory or work than any honest keystore needs")


def _integer(parameters: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    number = parameters.get(name)
    if type(number) is not int or not lowest <= number <= highest:
        raise ValueError(f"crypto.kdfparams.{name} is not an integer from {lowest} to {highest}")
    return number


def _hex(text: object, name: str, longest: int) -> bytes:
    try:
        if not isinstance(text, str) or not text.isalnum():
            raise ValueError
        octets = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise ValueError(f"{name} is not a string of hex digits") from None
    if len(octets) > longest:
        raise ValueError(f"{name} has more than {longest} bytes")
    return octets
