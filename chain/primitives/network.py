"""The network file: what a chain is before its first block. TOML, strict, and without any allocation.

[network]
name = "example"
chain_id = 3141592653
block_interval_ms = 500

[[validators]]
address = "0x…"
public_key = "0x…"        # 33 bytes, compressed
peer_url = "ws://…"       # optional, not part of the genesis hash

[[attesters]]
address = "0x…"
atoms_per_period = "1000000000000000000000000"
receipts_per_period = 100000

[parameters]              # optional; the rest have the defaults of `Parameters`
attester_threshold = 1
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import address_of_public_key
from chain.primitives.modules import is_reserved
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32

MAX_NETWORK_FILE_BYTES: Final = 64 * 1024  # A full set of validators and attesters takes 33 KiB.
_MAX_LINE_CHARACTERS: Final = 512  # tomllib's time grows with the square of the dots in one key.
_MAX_PEER_URL_CHARACTERS: Final = 256
MAX_VALIDATORS: Final = 60  # A certificate's bitmap is one 63-bit integer.
MAX_ATTESTERS: Final = 32
_MAX_ALLOWANCE_RECEIPTS: Final = 2**63 - 1
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9\-]{0,31}")
_PEER_URL: Final = re.compile(
    r"wss?://(?:[A-Za-z0-9][A-Za-z0-9.\-]*|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?(?:/[A-Za-z0-9._~/\-]*)?"
)
_BALANCE_WORDS: Final = ("alloc", "balance", "premine", "premint", "fund", "supply", "account", "treasury")


class Validator(msgspec.Struct, frozen=True):
    """Who may produce and vote. The URL is where peers reach it, empty where it only dials out."""

    address: Address
    public_key: bytes
    peer_url: str = ""


class AttesterAllowance(msgspec.Struct, frozen=True, array_like=True):
    """What one attester may sign for in one period."""

    address: Address
    atoms_per_period: int
    receipts_per_period: int


class Network(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A parsed and checked network file."""

    chain_id: int
    name: str
    validators: tuple[Validator, ...]
    attesters: tuple[AttesterAllowance, ...]
    parameters: Parameters = Parameters()
    block_interval_ms: int = 500

    @cached_property
    def genesis_hash(self) -> Hash32:
        """Keccak-256 of the canonical form without peer URLs: what votes, certificates and handshakes are bound to."""
        return keccak256(
            message_pack.encode(
                [
                    "aitbc/genesis/1",
                    self.chain_id,
                    self.name,
                    self.block_interval_ms,
                    [[validator.address, validator.public_key] for validator in self.validators],
                    [
                        [a.address, message_pack.amount_to_bytes(a.atoms_per_period), a.receipts_per_period]
                        for a in self.attesters
                    ],
                    self.parameters.encode(),
                ]
            )
        )

    @property
    def validator_addresses(self) -> tuple[Address, ...]:
        """In the order that certificates' bitmaps use."""
        return tuple(validator.address for validator in self.validators)


def _invalid(message: str, field: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_NETWORK, f"network file: {message}", field=field)


def parse_network(text: str) -> Network:
    """Reads a network file; raises Rejected that names what is wrong and where."""
    if len(text) > MAX_NETWORK_FILE_BYTES:
        raise _invalid(f"larger than {MAX_NETWORK_FILE_BYTES} bytes", "")
    if any(len(line) > _MAX_LINE_CHARACTERS for line in text.split("\n")):
        raise _invalid(f"a line is longer than {_MAX_LINE_CHARACTERS} characters", "")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # A TOMLDecodeError is one, and so is what int() raises.
        raise _invalid(f"not TOML: {error}", "") from None
    _refuse_balances(tables)
    _known_keys(tables, ("network", "validators", "attesters", "parameters"), "the file")
    network = _table(tables.get("network"), "network")
    _known_keys(network, ("name", "chain_id", "block_interval_ms"), "[network]")
    validators = tuple(_validator(entry) for entry in _tables(tables.get("validators"), "validators"))
    attesters = tuple(_attester(entry) for entry in _tables(tables.get("attesters", []), "attesters"))
    parameters = _parameters(_table(tables.get("parameters", {}), "parameters"))
    _check_sets(validators, attesters, parameters)
    return Network(
        chain_id=_integer(network, "chain_id", 1, MAX_CHAIN_ID),
        name=_name(network.get("name")),
        block_interval_ms=_integer(network, "block_interval_ms", 0, 60_000, default=500),
        validators=validators,
        attesters=attesters,
        parameters=parameters,
    )


def _refuse_balances(tables: Mapping[str, Any]) -> None:
    """Looks at every key at any depth, so that the refusal says why, whatever else is wrong with the file."""
    unread: list[object] = [tables]
    while unread:
        content = unread.pop()
        if isinstance(content, list):
            unread += content
        elif isinstance(content, dict):
            for key, value in content.items():
                if key not in PARAMETER_BOUNDS and any(word in key.lower() for word in _BALANCE_WORDS):
                    raise _invalid(
                        f"{key[:64]!r} would give somebody a balance. No token exists at genesis: "
                        "every AIT is minted for a receipt",
                        key[:64],
                    )
                unread.append(value)


def _known_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise _invalid(f"unknown key {key[:64]!r} in {where}", key[:64])


def _table(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _invalid(f"the table [{name}] is missing", name)
    return value


def _tables(value: object, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise _invalid(f"[[{name}]] must be a list of tables", name)
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise _invalid("name must be 1 to 32 lowercase letters, digits or dashes", "name")
    return value


def _integer(table: Mapping[str, Any], key: str, lowest: int, highest: int, default: int | None = None) -> int:
    value = table.get(key, default)
    if isinstance(value, str):  # Amounts above 2^63 are strings, as in JSON.
        value = parse_amount(value, key)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise _invalid(f"{key} must be an integer from {lowest} to {highest}", key)
    return value


def check_peer_url(value: object) -> str:
    """A URL that peers can dial, or the empty string; raises Rejected for anything else."""
    if isinstance(value, str) and len(value) <= _MAX_PEER_URL_CHARACTERS:
        match = _PEER_URL.fullmatch(value)
        if value == "" or (match and int(match[1] or 0) < 2**16):
            return value
    raise Rejected(
        RejectionReason.INVALID_NETWORK,
        "peer_url must be like ws://host:port/path or wss://host, or empty",
        field="validators.peer_url",
    )


def _validator(entry: Mapping[str, Any]) -> Validator:
    _known_keys(entry, ("address", "public_key", "peer_url"), "[[validators]]")
    address = parse_address(entry.get("address"), "validators.address")
    public_key = parse_hex(entry.get("public_key"), length=33, field="validators.public_key")
    if address_of_public_key(public_key) != address:
        raise _invalid(
            f"the public key of validator {to_checksum_address(address)} is not its own", "validators.public_key"
        )
    return Validator(address, public_key, check_peer_url(entry.get("peer_url", "")))


def _attester(entry: Mapping[str, Any]) -> AttesterAllowance:
    _known_keys(entry, ("address", "atoms_per_period", "receipts_per_period"), "[[attesters]]")
    address = parse_address(entry.get("address"), "attesters.address")
    if address == ZERO_ADDRESS or is_reserved(address):
        raise _invalid("an attester cannot be the zero address or a module", "attesters.address")
    return AttesterAllowance(
        address,
        _integer(entry, "atoms_per_period", *PARAMETER_BOUNDS["default_attester_atoms"]),
        _integer(entry, "receipts_per_period", 0, _MAX_ALLOWANCE_RECEIPTS),
    )


def _parameters(table: Mapping[str, Any]) -> Parameters:
    _known_keys(table, tuple(PARAMETER_BOUNDS), "[parameters]")
    return Parameters.from_mapping({key: _integer(table, key, *PARAMETER_BOUNDS[key]) for key in table})


def _check_sets(
    validators: tuple[Validator, ...], attesters: tuple[AttesterAllowance, ...], parameters: Parameters
) -> None:
    for name, addresses, highest in (
        ("validators", [validator.address for validator in validators], MAX_VALIDATORS),
        ("attesters", [attester.address for attester in attesters], MAX_ATTESTERS),
    ):
        if not 1 <= len(addresses) <= highest:
            raise _invalid(f"there must be 1 to {highest} {name}", name)
        if len(set(addresses)) != len(addresses):
            raise _invalid(f"an address stands twice in [[{name}]]", name)
    if parameters.attester_threshold > len(attesters):
        raise _invalid("attester_threshold is above the number of attesters", "attester_threshold")


def network_to_toml(network: Network) -> str:
    """The file's text; `parse_network` reads it back to an equal network."""
    lines = [
        "# An AITBC network. The genesis hash is over everything here but the peer URLs.",
        "# There are no allocations: no token exists until a served job's receipt mints it.",
        "[network]",
        f'name = "{network.name}"',
        f"chain_id = {network.chain_id}",
        f"block_interval_ms = {network.block_interval_ms}",
    ]
    for validator in network.validators:
        lines += [
            "",
            "[[validators]]",
            f'address = "{to_checksum_address(validator.address)}"',
            f'public_key = "{to_hex(validator.public_key)}"',
            f'peer_url = "{validator.peer_url}"',
        ]
    for attester in network.attesters:
        lines += [
            "",
            "[[attesters]]",
            f'address = "{to_checksum_address(attester.address)}"',
            f'atoms_per_period = "{attester.atoms_per_period}"',
            f"receipts_per_period = {attester.receipts_per_period}",
        ]
    lines += ["", "[parameters]"]
    lines += [f'{name} = "{getattr(network.parameters, name)}"' for name in PARAMETER_BOUNDS]
    return "\n".join(lines) + "\n"
