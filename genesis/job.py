"""One job of several pictures on a devnet, from a client's request to the final mint."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import msgspec

from chain.client import NodeClient, NodeError
from chain.primitives.hexadecimal import to_checksum_address
from genesis.processes import ProcessFailed
from genesis.secrets import HOLDER_NAMES, PROVIDER_NAMES, DevnetSecrets

PROMPT: Final = "a red circle on a blue background"
PICTURES: Final = 4
"""Enough for both providers to have some."""
SIDE_PIXELS: Final = 256
"""Of each picture: a quarter of the time that the hub's own default size takes a CPU."""
STEPS: Final = 20
"""As many as the embedded model needs; all are made twice, since the hub has newcomers' pictures made again."""
_JOB_S: Final = 300.0
_MINT_S: Final = 120.0
_NODE_S: Final = 60.0
_ANSWER_S: Final = 60.0
_POLL_S: Final = 0.2
_ENDS: Final = ("done", "failed", "cancelled")


class Share(msgspec.Struct, frozen=True):
    """What one provider made of the job, and what it got. Amounts in atoms, as decimal strings."""

    name: str
    address: str
    pictures: int
    units: str
    amount: str


class JobSummary(msgspec.Struct, frozen=True):
    """What one job left behind. Amounts in atoms, as decimal strings."""

    images: list[str]
    job_id: str
    unit_type: str
    shares: list[Share]
    receipt_hash: str
    transaction_hash: str
    height: int
    amount: str
    balances: dict[str, str]
    supply: str


class RunningNetwork(Protocol):
    """What a job needs of a devnet."""

    @property
    def hub_url(self) -> str:
        """Of the hub's API."""

    @property
    def node_url(self) -> str:
        """Of the follower's API."""

    def require_running(self) -> None:
        """Raises ProcessFailed where the network cannot go on."""


@contextmanager
def asking(check: Callable[[], None]) -> Iterator[None]:
    """What no process answers becomes ProcessFailed; `check` may have a better word for it."""
    try:
        yield
    except httpx.HTTPError as error:
        check()
        raise ProcessFailed(f"no answer from {error.request.url}: {str(error) or type(error).__name__}") from None


class Job:
    """Asks the hub for pictures, and follows them."""

    def __init__(
        self, network: RunningNetwork, secrets: DevnetSecrets, images: Path, progress: Callable[[str], None]
    ) -> None:
        self._network = network
        self._secrets = secrets
        self._images = images
        self._progress = progress

    def run(self, prompt: str, pictures: int) -> JobSummary:
        """Raises ProcessFailed where a step fails."""
        self._progress(f"a client asks the hub for {pictures} pictures of “{prompt}”")
        headers = {"Authorization": f"Bearer {self._secrets.api_keys['hub']}"}
        with (
            asking(self._network.require_running),
            httpx.Client(base_url=self._network.hub_url, headers=headers, timeout=_ANSWER_S) as hub,
        ):
            size = {"width": SIDE_PIXELS, "height": SIDE_PIXELS, "steps": STEPS}
            job = self._follow(hub, _answered(hub.post("/v1/jobs", json={"prompt": prompt, "n": pictures, **size})))
            images = self._save_images(hub, job)
            shares = self._shares(job)
            self._progress(f"checked: one receipt for all of it, which the hub has attested: {job['receipt_hash']}")
            mint = self._wait_minted(hub, job["job_id"])
        self._progress(f"one transaction at height {mint['height']} has minted for everybody who worked")
        balances, supply = self._balances(mint["height"])
        return JobSummary(
            images=images,
            job_id=job["job_id"],
            unit_type=job["unit_type"],
            shares=shares,
            receipt_hash=job["receipt_hash"],
            transaction_hash=mint["transaction_hash"],
            height=mint["height"],
            amount=job["receipt"]["amount"],
            balances=balances,
            supply=supply,
        )

    def _follow(self, hub: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
        """The job once it is done; says what each provider brings."""
        told: set[int] = set()
        is_checking_told = False
        deadline = time.monotonic() + _JOB_S
        while job["status"] not in _ENDS:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"the job is still {job['status']} after {_JOB_S:.0f} s")
            self._network.require_running()
            time.sleep(_POLL_S)
            job = _answered(hub.get(f"/v1/jobs/{job['job_id']}"))
            for shard in job["shards"]:
                first, last = shard["first_picture"] + 1, shard["first_picture"] + shard["pictures"]
                if shard["provider"] is not None and first not in told:
                    told.add(first)
                    which = f"picture {first}" if first == last else f"pictures {first} to {last}"
                    self._progress(f"{self._name(shard['provider'])} has made {which}: {shard['units']} units")
            if job["status"] == "verifying" and not is_checking_told:
                is_checking_told = True
                self._progress("all are there; to check them, the hub has some made again, by who did not make them")
        if job["status"] != "done":
            raise ProcessFailed(f"the job {job['status']}: {job['reason']}: {job['detail']}")
        return job

    def _name(self, address: str) -> str:
        """Of the account with this address."""
        names = {to_checksum_address(self._secrets.key(name).address): name for name in PROVIDER_NAMES}
        return names[address]

    def _save_images(self, hub: httpx.Client, job: dict[str, Any]) -> list[str]:
        self._images.mkdir(exist_ok=True)
        paths: list[str] = []
        for picture in job["pictures"]:
            path = self._images / f"{job['job_id']}-{picture['number']}.png"
            path.write_bytes(hub.get(picture["url"]).raise_for_status().content)
            paths.append(str(path))
        return paths

    def _shares(self, job: dict[str, Any]) -> list[Share]:
        """By what the receipt says each provider gets."""
        shares: list[Share] = []
        for payout in job["payouts"]:
            parts = [shard for shard in job["shards"] if shard["provider"] == payout["provider"]]
            shares.append(
                Share(
                    name=self._name(payout["provider"]),
                    address=payout["provider"],
                    pictures=sum(part["pictures"] for part in parts),
                    units=str(sum((Decimal(part["units"]) for part in parts), Decimal(0)).normalize()),
                    amount=payout["amount"],
                )
            )
        return sorted(shares, key=lambda share: share.name)

    def _wait_minted(self, hub: httpx.Client, job_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + _MINT_S
        while time.monotonic() < deadline:
            self._network.require_running()
            mint: dict[str, Any] = hub.get(f"/v1/jobs/{job_id}").json()["mint"]
            if mint["state"] == "minted":
                return mint
            time.sleep(_POLL_S)
        raise ProcessFailed(f"the receipt was not minted within {_MINT_S:.0f} s; the log of its provider may say why")

    def _balances(self, height: int) -> tuple[dict[str, str], str]:
        """After the block of this height: a follower that was started again may be behind for a moment."""
        deadline = time.monotonic() + _NODE_S
        while True:
            self._network.require_running()
            try:
                with NodeClient(self._network.node_url) as node:
                    supply = node.supply()
                    if supply.height >= height:
                        names = (*PROVIDER_NAMES, *HOLDER_NAMES)
                        accounts = {name: node.account(self._secrets.key(name).address) for name in names}
                        balances = {name: str(int(account.balance)) for name, account in accounts.items()}
                        return balances, str(int(supply.supply))
                    behind = f"the follower is at height {supply.height}, the mint at {height}"
            except NodeError as error:
                behind = str(error)
            if time.monotonic() > deadline:
                raise ProcessFailed(behind)
            time.sleep(_POLL_S)


def _answered(answer: httpx.Response) -> dict[str, Any]:
    """The job that the hub tells of; raises ProcessFailed where it tells of none."""
    if not answer.is_success:
        raise ProcessFailed(f"the hub answered {answer.status_code}: {answer.text[:500]}")
    job: dict[str, Any] = answer.json()
    return job
