"""A client's request for pictures, signed with the wallet: recognised, shown, and with the request's own hash."""

import json

from chain.primitives.client_request import ClientClaim, ClientRequest, is_signed_by, sign_client_request
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.signable import Signable, recognise
from chain.primitives.types import Amount, Hash32
from wallet.typed_data import TypedData

CLIENT = PrivateKey(b"\x02" * 32)
CLAIM = ClientClaim(
    client=CLIENT.address,
    salt=b"\x0a" * 32,
    max_price=Amount(10**18),
    nonce=Hash32(b"\x0b" * 32),
    expiry=1_770_000_600,
    signature=b"",
)
PARAMETERS = RequestParameters(width=512, height=512, steps=20, guidance=7.5)
REQUEST: ClientRequest = CLAIM.request(chain_id=424_242, audience="hub-1", prompt="a cat", parameters=PARAMETERS)


def test_the_wallet_signs_it_as_typed_data() -> None:
    typed = TypedData.from_json(json.dumps(REQUEST.typed_data()).encode())

    assert keccak256(typed.preimage()) == REQUEST.hash
    assert (typed.chain_id, typed.verifying_contract) == (424_242, None)
    assert is_signed_by(REQUEST.hash, CLIENT.sign_keccak(typed.preimage()), CLIENT.address)
    shown = dict(typed.lines())
    assert shown["signs"] == "ClientRequest"
    assert str(10**18) in " ".join(shown.values())


def test_whoever_guards_a_key_sees_what_is_signed() -> None:
    assert recognise(REQUEST.preimage) is Signable.TYPED_DATA
    assert sign_client_request(CLIENT, REQUEST) == CLIENT.sign(REQUEST.hash)
