"""A network that asks for two attesters, and two whole hubs, as operators run them, that sign for each other."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from chain.client import NodeClient
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address
from genesis.processes import free_port
from hub.cli import app
from hub.hub_secrets import load_or_draw
from tests.hub.attestation.evidences import CHAIN_ID
from tests.hub.attestation.hubs import ATTESTERS, TwoAttesterChain
from tests.hub.dialled import DialledProvider, serve_honestly
from tests.hub.running import Chain, HubProcess, wait_until

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Side:
    """The network as one hub's operator has it: with a key of one of its attesters."""

    network: TwoAttesterChain
    attester: PrivateKey
    chain_id: int = CHAIN_ID

    @property
    def genesis_hash(self) -> str:
        return to_hex(self.network.genesis_hash)

    @property
    def url(self) -> str:
        return self.network.url

    @property
    def node(self) -> NodeClient:
        return self.network.node

    def send(self, key: PrivateKey, to: Address, call_data: bytes) -> str:
        return str(self.network.send(key, to, call_data).hash)

    def balance(self, key: PrivateKey) -> int:
        return int(self.node.account(key.address).balance)


@dataclass(frozen=True)
class Hubs:
    """East serves a job, West signs for it."""

    chain: Chain
    east: HubProcess
    west: HubProcess
    providers: list[DialledProvider]


async def take_time(provider: DialledProvider, assignment: Assignment) -> None:
    """So much that the other one gets its part, too."""
    await asyncio.sleep(0.5)
    await serve_honestly(provider, assignment)


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hubs]:
    folder = tmp_path_factory.mktemp("two")
    network = TwoAttesterChain(folder / "node")
    ports = {name: free_port() for name in ATTESTERS}
    keys: dict[str, Address] = {}
    for name in ATTESTERS:
        (folder / name / "data").mkdir(parents=True, mode=0o700)
        secrets = load_or_draw(folder / name / "data" / "hub-secrets.json")
        keys[name] = PrivateKey(secrets.hub_key).address
    sides = {name: cast(Chain, Side(network, key)) for name, key in ATTESTERS.items()}
    started: dict[str, HubProcess] = {}
    for name, other in (("west", "east"), ("east", "west")):
        peers = folder / name / "attesters.toml"
        peers.write_text(
            f'[[attester]]\nhub_id = "{other}"\nurl = "http://127.0.0.1:{ports[other]}"\n'
            f'address = "{to_checksum_address(ATTESTERS[other].address)}"\nkey = "{to_checksum_address(keys[other])}"\n'
        )
        flags: dict[str, Any] = {"hub_id": name, "port": ports[name], "AITBC_HUB_ATTESTERS_FILE": peers}
        if name == "west":
            flags["AITBC_HUB_ENDORSE_WINDOW_S"] = "1"
        started[name] = HubProcess(folder / name, sides[name], **flags).start()
    providers = []
    for number in (1, 2):
        key = PrivateKey(bytes([0x61 + number]) * 32)
        Chain.register(sides["east"], key)
        providers.append(DialledProvider(key, sides["east"], behaviour=take_time).dial(started["east"].workers_url))
    yield Hubs(sides["east"], started["east"], started["west"], providers)
    for provider in providers:
        provider.hang_up()
    assert [hub.stop() for hub in started.values()] == [0, 0], started["east"].log
    network.close()


def audited(hub: HubProcess) -> Any:
    told = CliRunner().invoke(app, ["audit", "--last", "100", "--json", "--data-dir", str(hub.folder / "data")])
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def test_each_shows_whose_calls_the_other_answers(hubs: Hubs) -> None:
    for hub, other in ((hubs.east, hubs.west), (hubs.west, hubs.east)):
        shown = hub.request("GET", "/v1/hub").json()
        assert f'key = "{shown["hub_key"]}"' in (other.folder / "attesters.toml").read_text()


def test_one_receipt_two_attesters_and_a_split_mint(hubs: Hubs) -> None:
    before = [hubs.chain.balance(provider.key) for provider in hubs.providers]
    job = hubs.east.ended(hubs.east.post_job(n=4, wait_s=0).json()["job_id"])
    assert job["status"] == "done", hubs.east.log
    assert len(job["attestation"]) == 2 + 2 * 130
    minted = wait_until(lambda: it if (it := hubs.east.job(job["job_id"]))["mint"]["state"] == "minted" else None)
    assert minted["mint"]["form"] == "mint_split"
    gained = [hubs.chain.balance(provider.key) - held for provider, held in zip(hubs.providers, before, strict=True)]
    assert all(gained)
    assert sum(gained) == int(job["receipt"]["amount"])
    assert job["receipt_hash"] in [
        each["subject"] for each in audited(hubs.east)["shown"] if each["kind"] == "attested"
    ]
    assert job["receipt_hash"] in [
        each["subject"] for each in audited(hubs.west)["shown"] if each["kind"] == "endorsed"
    ]


def test_an_attester_that_was_killed_is_waited_for(hubs: Hubs) -> None:
    hubs.west.kill()
    job_id = hubs.east.post_job(prompt="while it is away", n=2, wait_s=0).json()["job_id"]
    wait_until(lambda: "attester_away" in hubs.east.log)
    assert hubs.east.job(job_id)["status"] == "verifying"
    hubs.west.start()
    job = hubs.east.ended(job_id)
    assert (job["status"], len(job["attestation"])) == ("done", 2 + 2 * 130)
