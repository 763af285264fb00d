"""What the provider's tests share: keys, whole providers with the embedded model on loopback sockets, an S3 server."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.primitives.keys import PrivateKey
from chain.web.server import listen
from provider.api_keys import hash_of, load_api_keys
from provider.process import ProviderProcess
from provider.settings import ProviderSettings
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.outbox import Outbox
from tests.s3 import S3Server

CHAIN_ID = 424_242
GENESIS_HASH = "0x" + "17" * 32
CLIENT_SECRET = "client-secret-0123456789"
OTHER_SECRET = "other-secret-0123456789ab"
START_TIMEOUT_S = 120.0


@pytest.fixture(scope="session")
def provider_key() -> PrivateKey:
    """The provider's key in these tests."""
    return PrivateKey(b"\x51" * 32)


@dataclass(frozen=True)
class RunningProvider:
    """A whole provider that serves on a loopback socket from a thread of its own."""

    url: str
    settings: ProviderSettings
    process: ProviderProcess
    stop: Callable[[], None]
    """Ends it as SIGTERM does, and waits; a second call does nothing."""
    client_secret: str = CLIENT_SECRET
    other_secret: str = OTHER_SECRET
    """Of the client bob."""

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """A POST with a JSON body, in ASCII, so that whatever Python's strings can hold is sent."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return httpx.post(self.url + path, content=json.dumps(body), timeout=120, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A GET."""
        return httpx.get(self.url + path, timeout=30, **options)

    def mine(self, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        """A request with the client's key as Bearer token."""
        headers = {"Authorization": f"Bearer {self.client_secret}", **options.pop("headers", {})}
        return httpx.request(method, self.url + path, timeout=120, headers=headers, **options)

    def generate(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """Asks for a small, quick picture with the client's key unless `fields` say otherwise."""
        quick = {"steps": 5, "width": 256, "height": 256, "guidance": 2.5}
        body = {"api_key": self.client_secret, "prompt": "a red circle on a blue background", **quick, **fields}
        return self.post("/v1/generate-image", body, headers=headers or {})


StartProvider = Callable[..., RunningProvider]


@pytest.fixture(scope="module")
def start_provider(tmp_path_factory: pytest.TempPathFactory, provider_key: PrivateKey) -> Iterator[StartProvider]:
    """Starts providers that know their chain from an earlier run, so that they serve without a node."""
    endings: list[Callable[[], None]] = []

    def start(**settings: Any) -> RunningProvider:
        folder: Path = settings.pop("data_dir", None) or tmp_path_factory.mktemp("provider")
        with Database(folder) as database:
            identity = FolderIdentity(database)
            identity.bind("genesis_hash", GENESIS_HASH)
            identity.bind("chain_id", str(CHAIN_ID))
        keys_file = folder / "keys.toml"
        limits = settings.pop("key_limits", "")
        keys_file.write_text(f'[clients]\nalice = "{CLIENT_SECRET}"\nbob = "{hash_of(OTHER_SECRET)}"\n{limits}\n')
        keys_file.chmod(0o600)
        # Nobody listens on port 9: the node is down.
        flags = {"node_url": "http://127.0.0.1:9", "cpu_threads": 1, "bind_port": 0} | settings
        built = ProviderSettings.build(data_dir=folder, api_keys_file=keys_file, **flags)
        running = _serve_in_thread(built, provider_key)
        endings.append(running.stop)
        return running

    yield start
    for end in endings:
        end()


def _serve_in_thread(settings: ProviderSettings, key: PrivateKey) -> RunningProvider:
    listener = listen(settings.bind_host, settings.bind_port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    loop = asyncio.new_event_loop()
    process = ProviderProcess(settings, key, load_api_keys(settings.api_keys_file, None))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            loop.run_until_complete(process.serve(listener))
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not failures:
        assert time.monotonic() < deadline, "the provider did not become ready"
        try:
            if httpx.get(f"{url}/v1/health", timeout=5).json()["status"] == "ok":
                break
        except httpx.HTTPError:
            time.sleep(0.05)
        time.sleep(0.05)
    if failures:
        raise failures[0]

    def stop() -> None:
        if thread.is_alive():
            loop.call_soon_threadsafe(process.stop)
            thread.join(90)
            assert not thread.is_alive()
            loop.close()

    return RunningProvider(url, settings, process, stop)


@pytest.fixture(scope="module")
def running(start_provider: StartProvider) -> RunningProvider:
    """A provider that many tests of one module share."""
    return start_provider(rate_limit="10000/minute", failed_login_limit="10000/minute")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox on disk."""
    with Database(tmp_path / "data") as database:
        yield Outbox(database)


def wait_until(condition: Callable[[], bool], timeout_s: float = 90.0) -> None:
    """Fails the test unless the condition becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """`wait_until`, for test files (which cannot import from here)."""
    return wait_until


@pytest.fixture(scope="session")
def start_s3() -> Iterator[Callable[[], S3Server]]:
    """Starts S3 servers, and ends them with the session."""
    started: list[S3Server] = []

    def start() -> S3Server:
        started.append(S3Server())
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def s3(start_s3: Callable[[], S3Server]) -> S3Server:
    """One that tests share."""
    return start_s3()


@pytest.fixture
def s3_environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The environment of a process that keeps its pictures there."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3
