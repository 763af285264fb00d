"""EIP-191 and EIP-712 digests: the EIP's own example, and agreement with eth-account."""

from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256
from chain.primitives.signing import Eip712Domain, eip191_digest, eip712_digest
from chain.primitives.types import Address, Hash32


@given(st.binary(max_size=200))
def test_personal_messages_agree_with_eth_account(message: bytes) -> None:
    signable = encode_defunct(message)
    assert eip191_digest(message) == keccak(b"\x19" + signable.version + signable.header + signable.body)


def test_the_example_of_eip_712() -> None:
    domain = Eip712Domain(name="Ether Mail", version="1", chain_id=1, verifying_contract=Address(b"\xcc" * 20))
    mail = Hash32(bytes.fromhex("c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e"))

    assert domain.separator().hex() == "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    assert eip712_digest(domain, mail).hex() == "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"


@settings(max_examples=60)
@given(
    st.text(max_size=40).filter(lambda text: text.isprintable()),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    st.integers(0, 2**256 - 1),
    st.binary(min_size=20, max_size=20),
    st.integers(0, 2**256 - 1),
)
def test_typed_data_agrees_with_eth_account(
    name: str, version: str, chain_id: int, contract: bytes, number: int
) -> None:
    signable = encode_typed_data(
        domain_data={
            "name": name,
            "version": version,
            "chainId": chain_id,
            "verifyingContract": "0x" + contract.hex(),
        },
        message_types={"Thing": [{"name": "number", "type": "uint256"}]},
        message_data={"number": number},
    )
    domain = Eip712Domain(name=name, version=version, chain_id=chain_id, verifying_contract=Address(contract))
    thing = keccak256(keccak256(b"Thing(uint256 number)") + number.to_bytes(32, "big"))

    assert domain.separator() == signable.header
    assert eip712_digest(domain, thing) == keccak(b"\x19" + signable.version + signable.header + signable.body)
