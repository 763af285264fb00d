"""Only the key itself says that it becomes a validator: of this network, and not for ever."""

from collections.abc import Callable

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from msgspec.structs import replace

from chain.primitives.consent import Consent, check_consent, consent_digest, sign_consent
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import GOVERNANCE
from chain.primitives.rejection import Rejected, RejectionReason

ReasonOf = Callable[..., RejectionReason | None]

KEY, OTHER = PrivateKey(b"\1" * 32), PrivateKey(b"\2" * 32)
CHAIN_ID = 3_141_592_653
GOOD = sign_consent(KEY, chain_id=CHAIN_ID, expires_at_ms=5_000)


def test_golden_digest_is_what_ethereums_tools_sign() -> None:
    typed = encode_typed_data(
        {"name": "AITBC", "version": "1", "chainId": CHAIN_ID, "verifyingContract": to_checksum_address(GOVERNANCE)},
        {"ValidatorConsent": [{"name": "validator", "type": "address"}, {"name": "expiresAtMs", "type": "uint256"}]},
        {"validator": to_checksum_address(KEY.address), "expiresAtMs": 5_000},
    )
    signed = Account.sign_message(typed, KEY.secret)
    assert bytes(signed.signature) == GOOD.signature
    assert bytes(signed.message_hash) == consent_digest(CHAIN_ID, KEY.address, 5_000)


def test_a_consent_holds_up_to_its_last_millisecond() -> None:
    assert check_consent(GOOD, chain_id=CHAIN_ID, time_ms=5_000) == KEY.address
    with pytest.raises(Rejected, match="expired") as caught:
        check_consent(GOOD, chain_id=CHAIN_ID, time_ms=5_001)
    assert caught.value.reason is RejectionReason.BAD_CONSENT


@pytest.mark.parametrize(
    "forged",
    [
        replace(GOOD, public_key=OTHER.public_key),
        replace(GOOD, expires_at_ms=5_001),
        replace(GOOD, expires_at_ms=2**256 - 1),
        replace(GOOD, signature=OTHER.sign(consent_digest(CHAIN_ID, KEY.address, 5_000))),
        replace(GOOD, signature=GOOD.signature[:64]),
        replace(GOOD, signature=GOOD.signature[:64] + bytes((55 - GOOD.signature[64],))),
        replace(GOOD, signature=bytes(65)),
        replace(GOOD, signature=b""),
        replace(GOOD, public_key=b""),
        replace(GOOD, public_key=KEY.public_key + b"\0"),
        replace(GOOD, public_key=b"\4" + KEY.public_key[1:]),
        replace(GOOD, public_key=b"\2" + b"\xff" * 32),
    ],
)
def test_nothing_else_is_a_consent(forged: Consent, reason_of: ReasonOf) -> None:
    assert reason_of(check_consent, forged, chain_id=CHAIN_ID, time_ms=1) is RejectionReason.BAD_CONSENT


def test_a_consent_to_another_network_is_none(reason_of: ReasonOf) -> None:
    assert reason_of(check_consent, GOOD, chain_id=CHAIN_ID + 1, time_ms=1) is RejectionReason.BAD_CONSENT
