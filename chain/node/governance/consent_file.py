"""A new validator's consent as a JSON text, to be sent to those who propose it. There is nothing secret in it."""

import json
from pathlib import Path
from typing import Final

from chain.node.key_file import SetupError
from chain.primitives.consent import Consent, check_consent
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import address_of_public_key
from chain.primitives.rejection import Rejected

_MAX_BYTES: Final = 4096
_KIND: Final = "aitbc-validator-consent/1"


def consent_text(consent: Consent, *, chain_id: int) -> str:
    """The document."""
    return json.dumps(
        {
            "kind": _KIND,
            "chain_id": chain_id,
            "address": to_checksum_address(address_of_public_key(consent.public_key)),
            "public_key": to_hex(consent.public_key),
            "expires_at_ms": consent.expires_at_ms,
            "signature": to_hex(consent.signature),
        },
        indent=2,
    )


def read_consent(path: Path, *, chain_id: int, now_ms: int) -> Consent:
    """A consent that the chain would accept now; raises SetupError for anything else."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        fields = json.loads(content) if len(content) <= _MAX_BYTES else None
        if not isinstance(fields, dict) or fields.get("kind") != _KIND or type(fields.get("expires_at_ms")) is not int:
            raise SetupError(f"{path} is no validator's consent: `aitbc node keys consent` makes one")
        if fields.get("chain_id") != chain_id:
            raise SetupError(f"{path} is a consent for chain {fields.get('chain_id')!r}, and this is chain {chain_id}")
        consent = Consent(
            parse_hex(fields.get("public_key"), field="public_key"),
            fields["expires_at_ms"],
            parse_hex(fields.get("signature"), field="signature"),
        )
        check_consent(consent, chain_id=chain_id, time_ms=now_ms)
    except OSError as error:
        raise SetupError(f"cannot read the consent {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise SetupError(f"{path} is no validator's consent: it is not JSON") from None
    except (Rejected, OverflowError) as error:
        raise SetupError(f"{path}: {error}") from None
    return consent
