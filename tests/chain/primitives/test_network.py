"""Network files: a golden genesis hash, one meaning per file, and no way to give anybody a balance."""

import random
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import TOKEN
from chain.primitives.network import (
    MAX_ATTESTERS,
    MAX_NETWORK_FILE_BYTES,
    MAX_VALIDATORS,
    AttesterAllowance,
    Network,
    Validator,
    network_to_toml,
    parse_network,
)
from chain.primitives.parameters import PARAMETER_BOUNDS, Parameters
from chain.primitives.rejection import Rejected, RejectionReason

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

KEYS = [PrivateKey(bytes((number,)) * 32) for number in range(1, 6)]
ADDRESS = to_checksum_address(KEYS[0].address)
PUBLIC_KEY = to_hex(KEYS[0].public_key)
ATTESTER = to_checksum_address(KEYS[1].address)

FILE = f"""
[network]
name = "example"
chain_id = 3141592653
block_interval_ms = 500

[[validators]]
address = "{ADDRESS}"
public_key = "{PUBLIC_KEY}"
peer_url = "ws://127.0.0.1:9000/p2p"

[[attesters]]
address = "{ATTESTER}"
atoms_per_period = "1000000000000000000000000"
receipts_per_period = 100000

[parameters]
attester_threshold = 1
"""


def _with(old: str, new: str) -> str:
    assert FILE.count(old) == 1
    return FILE.replace(old, new)


def test_golden_genesis_hash() -> None:
    network = parse_network(FILE)

    assert network.name == "example"
    assert network.chain_id == 3_141_592_653
    assert network.validator_addresses == (KEYS[0].address,)
    assert network.attesters == (AttesterAllowance(KEYS[1].address, 10**24, 100_000),)
    assert network.parameters == Parameters()
    assert network.genesis_hash.hex() == "4c887de4f7b6f076ca8f0a1557da7b034f8a856f0ec455ea9d26305aa516cd4e"


def test_the_genesis_hash_covers_everything_but_the_peer_urls() -> None:
    network = parse_network(FILE)
    other = Validator(KEYS[2].address, KEYS[2].public_key)
    variants = [
        network,
        replace(network, chain_id=1),
        replace(network, name="other"),
        replace(network, block_interval_ms=501),
        replace(network, validators=(other,)),
        replace(network, validators=(*network.validators, other)),
        replace(network, validators=(other, *network.validators)),
        replace(network, attesters=(AttesterAllowance(KEYS[2].address, 10**24, 100_000),)),
        replace(network, attesters=(AttesterAllowance(KEYS[1].address, 10**24 + 1, 100_000),)),
        replace(network, attesters=(AttesterAllowance(KEYS[1].address, 10**24, 100_001),)),
        *[
            replace(network, parameters=network.parameters.changed(name, getattr(network.parameters, name) + 1))
            for name in PARAMETER_BOUNDS
        ],
    ]
    assert len({variant.genesis_hash for variant in variants}) == len(variants)

    moved = parse_network(_with("ws://127.0.0.1:9000/p2p", "wss://validator.example.org"))
    assert moved != network
    assert moved.genesis_hash == network.genesis_hash


peer_urls = st.one_of(
    st.just(""),
    st.from_regex(r"wss?://[a-z][a-z0-9.\-]{0,40}(:[1-9][0-9]{0,3})?(/[a-zA-Z0-9._~\-/]{0,20})?", fullmatch=True),
    st.from_regex(r"wss?://\[[0-9a-f:]{2,30}\](:[1-9][0-9]{0,3})?", fullmatch=True),
)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any network that a file may describe."""
    validators = draw(
        st.lists(st.tuples(st.sampled_from(KEYS), peer_urls), min_size=1, unique_by=lambda v: v[0].address)
    )
    attesters = draw(
        st.lists(
            st.builds(
                AttesterAllowance,
                st.binary(min_size=20, max_size=20).filter(any),
                st.integers(0, 2**200),
                st.integers(0, 2**63 - 1),
            ),
            min_size=1,
            max_size=5,
            unique_by=lambda attester: attester.address,
        )
    )
    bounds = {**PARAMETER_BOUNDS, "attester_threshold": (1, len(attesters))}
    values = draw(st.fixed_dictionaries({}, optional={name: st.integers(*bounds[name]) for name in bounds}))
    return Network(
        chain_id=draw(st.integers(1, 2**32 - 1)),
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9\-]{0,31}", fullmatch=True)),
        validators=tuple(Validator(key.address, key.public_key, url) for key, url in validators),
        attesters=tuple(attesters),
        parameters=Parameters(**values),
        block_interval_ms=draw(st.integers(0, 60_000)),
    )


@settings(max_examples=100)
@given(networks())
def test_files_go_there_and_back(network: Network) -> None:
    again = parse_network(network_to_toml(network))

    assert again == network
    assert again.genesis_hash == network.genesis_hash


def test_the_largest_network_fits_into_a_file() -> None:
    keys = [PrivateKey(number.to_bytes(32, "big")) for number in range(1, MAX_VALIDATORS + 1)]
    url = "wss://" + "x" * 250
    network = Network(
        chain_id=2**32 - 1,
        name="x" * 32,
        validators=tuple(Validator(key.address, key.public_key, url) for key in keys),
        attesters=tuple(AttesterAllowance(key.address, 2**200, 2**63 - 1) for key in keys[:MAX_ATTESTERS]),
    )
    assert parse_network(network_to_toml(network)) == network


@pytest.mark.parametrize(
    "url",
    [
        'ws://a"b',
        "ws://a\\",
        'ws://a"\nbalance = "1',
        "ws://a\n",
        "ws://a\x7f",
        "ws://a\0",
        "ws://ä",
        "ws://",
        "ws://a b",
        "ws://user@host",
        "ws://host:0",
        "ws://host:65536",
        "ws://host:99999",
        "ws://host:",
        "ws://host?x=1",
        "ws://host#x",
        "ws://-host",
        "http://host",
        "host:9000",
        "javascript:alert(1)",
        "ws://[::1",
        "WS://host",
        "ws://" + "x" * 252,
    ],
)
def test_a_peer_url_cannot_smuggle_anything(url: str, reason_of: ReasonOf) -> None:
    network = parse_network(FILE)
    smuggling = replace(network, validators=(replace(network.validators[0], peer_url=url),))

    assert reason_of(parse_network, network_to_toml(smuggling)) is RejectionReason.INVALID_NETWORK


BALANCES = [
    FILE + "[alloc]\n",
    FILE + f'[alloc]\n"{ADDRESS}" = "1"\n',
    FILE + f'[[accounts]]\naddress = "{ADDRESS}"\nbalance = "1"\n',
    FILE + f'[balances]\n"{ADDRESS}" = 1\n',
    FILE + "[genesis.alloc]\n",
    FILE + f'[genesis.state]\n"{ADDRESS}" = {{ balance = "0x1" }}\n',
    "alloc = {}\n" + FILE,
    "alloc = []\n" + FILE,
    "premine = 1\n" + FILE,
    "ALLOC = {}\n" + FILE,
    '"initial-supply" = 1\n' + FILE,
    '"allo\\u0063" = 1\n' + FILE,
    "treasury.address = 1\n" + FILE,
    _with("chain_id =", "premint = 1\nchain_id ="),
    _with("chain_id =", "initial_supply = 0\nchain_id ="),
    _with("peer_url =", 'balance = "1"\npeer_url ='),
    _with("peer_url =", 'wallet = { balance = "1" }\npeer_url ='),
    _with("receipts_per_period =", "prefunded = true\nreceipts_per_period ="),
    FILE + "balance = 1\n",
    FILE + "[parameters.alloc]\n",
    FILE + "[network.extra.deeper]\nallocations = []\n",
    FILE + f'[[validators]]\nfunds = "1"\naddress = "{ADDRESS}"\npublic_key = "{PUBLIC_KEY}"\n',
    FILE + "[other]\nlist = [[[{ balance = 1 }]]]\n",
]


@pytest.mark.parametrize("text", BALANCES, ids=range(len(BALANCES)))
def test_nobody_starts_with_a_balance(text: str) -> None:
    with pytest.raises(Rejected, match="would give somebody a balance") as caught:
        parse_network(text)
    assert caught.value.reason is RejectionReason.INVALID_NETWORK


VALIDATOR = f'[[validators]]\naddress = "{ADDRESS}"\npublic_key = "{PUBLIC_KEY}"\n'
SECOND_KEY = to_hex(KEYS[2].public_key)

FAULTS = [
    # The file
    ("", RejectionReason.INVALID_NETWORK),
    ("{}", RejectionReason.INVALID_NETWORK),
    ("\0", RejectionReason.INVALID_NETWORK),
    ("network = 1", RejectionReason.INVALID_NETWORK),
    (FILE * 2, RejectionReason.INVALID_NETWORK),
    (FILE + "#" * MAX_NETWORK_FILE_BYTES, RejectionReason.INVALID_NETWORK),
    (FILE + "[network]\n", RejectionReason.INVALID_NETWORK),
    (FILE + "[unknown]\n", RejectionReason.INVALID_NETWORK),
    ("unknown = 1\n" + FILE, RejectionReason.INVALID_NETWORK),
    ("x = " + "[" * 400 + "\n" + FILE, RejectionReason.INVALID_NETWORK),
    ("x = " + "[\n" * 5_000 + FILE, RejectionReason.INVALID_NETWORK),
    ("x = " + "9" * 5_000 + "\n" + FILE, RejectionReason.INVALID_NETWORK),
    ("x = 2026-02-30\n" + FILE, RejectionReason.INVALID_NETWORK),
    ('"\\ud800" = 1\n' + FILE, RejectionReason.INVALID_NETWORK),
    # [network]
    (_with("[network]", "[[network]]"), RejectionReason.INVALID_NETWORK),
    (_with("chain_id =", "unknown = 1\nchain_id ="), RejectionReason.INVALID_NETWORK),
    (_with("chain_id = 3141592653\n", ""), RejectionReason.INVALID_NETWORK),
    (_with('name = "example"\n', ""), RejectionReason.INVALID_NETWORK),
    *[
        (_with("3141592653", number), RejectionReason.INVALID_NETWORK)
        for number in ("0", "-1", "4294967296", "9" * 400, "1.0", "true", "nan", "inf", "[1]", "{}", "1979-05-27")
    ],
    *[
        (_with("3141592653", text), reason)
        for text, reason in (
            ('"0"', RejectionReason.INVALID_NETWORK),
            ('"01"', RejectionReason.NON_CANONICAL),
            ('"-1"', RejectionReason.MALFORMED),
            ('"1_0"', RejectionReason.MALFORMED),
            ('"\u0661"', RejectionReason.MALFORMED),
            ('""', RejectionReason.MALFORMED),
            ('"' + "9" * 79 + '"', RejectionReason.MALFORMED),
        )
    ],
    *[
        (_with('"example"', text), RejectionReason.INVALID_NETWORK)
        for text in ('""', '"-a"', '"A"', '"a b"', '"a\\n"', '"a\\""', '"' + "a" * 33 + '"', "1", '"ä"')
    ],
    (_with("block_interval_ms = 500", "block_interval_ms = -1"), RejectionReason.INVALID_NETWORK),
    (_with("block_interval_ms = 500", "block_interval_ms = 60001"), RejectionReason.INVALID_NETWORK),
    # [[validators]]
    (FILE.replace("[[validators]]", "[validators]"), RejectionReason.INVALID_NETWORK),
    (FILE[FILE.index("[[attesters]]") :] + '[network]\nname = "a"\nchain_id = 1\n', RejectionReason.INVALID_NETWORK),
    ("validators = []\n" + FILE, RejectionReason.INVALID_NETWORK),
    ("validators = [1]\n" + FILE.replace("[[validators]]", "[v]"), RejectionReason.INVALID_NETWORK),
    (_with("peer_url =", "unknown = 1\npeer_url ="), RejectionReason.INVALID_NETWORK),
    (_with('peer_url = "ws://127.0.0.1:9000/p2p"', "peer_url = 7"), RejectionReason.INVALID_NETWORK),
    (_with(PUBLIC_KEY, SECOND_KEY), RejectionReason.INVALID_NETWORK),
    (_with(PUBLIC_KEY, "0x02" + "00" * 32), RejectionReason.MALFORMED),
    (_with(PUBLIC_KEY, PUBLIC_KEY[:-2]), RejectionReason.MALFORMED),
    (_with(f'"{PUBLIC_KEY}"', "7"), RejectionReason.MALFORMED),
    (_with(f'address = "{ADDRESS}"\n', ""), RejectionReason.MALFORMED),
    (_with(ADDRESS, ADDRESS[:2] + ADDRESS[2:].swapcase()), RejectionReason.MALFORMED),
    (FILE + VALIDATOR, RejectionReason.INVALID_NETWORK),
    # [[attesters]]
    (FILE[: FILE.index("[[attesters]]")], RejectionReason.INVALID_NETWORK),
    (_with(ATTESTER, "0x" + "00" * 20), RejectionReason.INVALID_NETWORK),
    (_with(ATTESTER, to_checksum_address(TOKEN)), RejectionReason.INVALID_NETWORK),
    (_with("100000\n", "-1\n"), RejectionReason.INVALID_NETWORK),
    (_with("100000\n", "9223372036854775808\n"), RejectionReason.INVALID_NETWORK),
    (_with("100000\n", "true\n"), RejectionReason.INVALID_NETWORK),
    (_with('"1000000000000000000000000"', f'"{2**200 + 1}"'), RejectionReason.INVALID_NETWORK),
    (_with('"1000000000000000000000000"', f'"{2**256}"'), RejectionReason.OUT_OF_RANGE),
    (_with('"1000000000000000000000000"', '"1e24"'), RejectionReason.MALFORMED),
    (_with('"1000000000000000000000000"', "1e24"), RejectionReason.INVALID_NETWORK),
    (_with('atoms_per_period = "1000000000000000000000000"\n', ""), RejectionReason.INVALID_NETWORK),
    (
        FILE + f'[[attesters]]\naddress = "{ATTESTER}"\natoms_per_period = 1\nreceipts_per_period = 1\n',
        RejectionReason.INVALID_NETWORK,
    ),
    # [parameters]
    (_with("attester_threshold = 1", "attester_threshold = 2"), RejectionReason.INVALID_NETWORK),
    (_with("attester_threshold = 1", "attester_threshold = 0"), RejectionReason.INVALID_NETWORK),
    (_with("attester_threshold = 1", "attester_threshold = true"), RejectionReason.INVALID_NETWORK),
    (_with("attester_threshold = 1", "unknown = 1"), RejectionReason.INVALID_NETWORK),
    (_with("attester_threshold = 1", "account_quota = 1\naccount_quota = 1"), RejectionReason.INVALID_NETWORK),
    (_with("[parameters]", "[[parameters]]"), RejectionReason.INVALID_NETWORK),
    *[
        (
            _with("attester_threshold = 1", f'{name} = "{PARAMETER_BOUNDS[name][1] + 1}"'),
            RejectionReason.INVALID_NETWORK,
        )
        for name in PARAMETER_BOUNDS
    ],
]


@pytest.mark.parametrize(("text", "reason"), FAULTS, ids=range(len(FAULTS)))
def test_faulty_files(text: str, reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(parse_network, text) is reason


def test_counts_are_bounded(reason_of: ReasonOf) -> None:
    keys = [PrivateKey(number.to_bytes(32, "big")) for number in range(1, MAX_VALIDATORS + 2)]
    validators = tuple(Validator(key.address, key.public_key) for key in keys)
    attesters = tuple(AttesterAllowance(key.address, 1, 1) for key in keys[: MAX_ATTESTERS + 1])
    for network in (
        Network(chain_id=1, name="a", validators=validators, attesters=attesters[:1]),
        Network(chain_id=1, name="a", validators=validators[:1], attesters=attesters),
    ):
        assert reason_of(parse_network, network_to_toml(network)) is RejectionReason.INVALID_NETWORK


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 30_000) + " = 1\n",
        "\n".join([".".join("a" * 250) + f".x{number} = 1" for number in range(100)]),
        "[" + ".".join("a" * 250) + "]\n" + "".join(f"x{number} = 1\n" for number in range(6_000)),
        "\n".join(f"[{'.'.join('a' * 200)}.x{number}]" for number in range(140)),
        "\n" * (MAX_NETWORK_FILE_BYTES - 1),
        "x = [" + "{},\n" * 15_000 + "]",
        'x = """' + "\\\n" * 30_000 + '"""',
        "x = [" + "[\n" * 300 + "]\n" * 300 + "]",
    ],
)
def test_no_file_takes_long_to_refuse(text: str, reason_of: ReasonOf) -> None:
    started = time.thread_time()
    assert reason_of(parse_network, text) is RejectionReason.INVALID_NETWORK
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("seed", range(2))
def test_mutated_files_are_refused_or_mean_something_else(seed: int, reason_of: ReasonOf, mutations: Mutations) -> None:
    good = parse_network(FILE)
    generator = random.Random(seed)
    for mutated in mutations(FILE.encode(), 800, generator.randrange(2**32)):
        text = mutated.decode("utf-8", "replace")
        if reason_of(parse_network, text) is None:
            network = parse_network(text)
            assert parse_network(network_to_toml(network)) == network
            assert (network.genesis_hash == good.genesis_hash) == (
                replace(network, validators=good.validators) == good
                and network.validator_addresses == good.validator_addresses
            )
