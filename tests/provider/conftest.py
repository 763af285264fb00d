"""What the provider's tests share: the real tiny pipeline, keys, and whole providers on loopback sockets."""

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
from provider.api_keys import load_api_keys
from provider.generation import PipelineOptions
from provider.outbox import Outbox
from provider.process import ProviderProcess
from provider.settings import ProviderSettings

CHAIN_ID = 424_242
GENESIS_HASH = "0x" + "17" * 32
CLIENT_SECRET = "client-secret-0123456789"
HUB_SECRET = "hub-secret-0123456789abcd"
START_TIMEOUT_S = 120.0


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """The embedded pipeline, loaded once with one thread."""
    from provider.pipeline import load_pipeline

    return load_pipeline(PipelineOptions(cpu_threads=1))


@pytest.fixture(scope="session")
def provider_key() -> PrivateKey:
    """The provider's key in these tests."""
    return PrivateKey(b"\x51" * 32)


@dataclass(frozen=True)
class RunningProvider:
    """A whole provider that serves on a loopback socket from a thread of its own."""

    url: str
    settings: ProviderSettings
    client_secret: str = CLIENT_SECRET
    hub_secret: str = HUB_SECRET

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """A POST with a JSON body, in ASCII, so that whatever Python's strings can hold is sent."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return httpx.post(self.url + path, content=json.dumps(body), timeout=120, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A GET."""
        return httpx.get(self.url + path, timeout=30, **options)

    def generate(self, **fields: Any) -> httpx.Response:
        """Asks for a small, quick picture with the client's key unless `fields` say otherwise."""
        quick = {"steps": 5, "width": 256, "height": 256, "guidance": 2.5}
        body = {"api_key": self.client_secret, "prompt": "a red circle on a blue background", **quick, **fields}
        return self.post("/v1/generate-image", body)


StartProvider = Callable[..., RunningProvider]


@pytest.fixture(scope="module")
def start_provider(tmp_path_factory: pytest.TempPathFactory, provider_key: PrivateKey) -> Iterator[StartProvider]:
    """Starts providers that know their chain from an earlier run, so that they serve without a node."""
    endings: list[Callable[[], None]] = []

    def start(**settings: Any) -> RunningProvider:
        folder: Path = settings.pop("data_dir", None) or tmp_path_factory.mktemp("provider")
        with Outbox(folder) as outbox:
            outbox.bind("genesis_hash", GENESIS_HASH)
            outbox.bind("chain_id", str(CHAIN_ID))
        keys_file = folder / "keys.toml"
        keys_file.write_text(f'[clients]\nalice = "{CLIENT_SECRET}"\n[hubs]\nmain-hub = "{HUB_SECRET}"\n')
        keys_file.chmod(0o600)
        # Nobody listens on port 9: the node is down.
        flags = {"node_url": "http://127.0.0.1:9", "cpu_threads": 1, "bind_port": 0} | settings
        built = ProviderSettings.build(data_dir=folder, api_keys_file=keys_file, **flags)
        running, end = _serve_in_thread(built, provider_key)
        endings.append(end)
        return running

    yield start
    for end in endings:
        end()


def _serve_in_thread(settings: ProviderSettings, key: PrivateKey) -> tuple[RunningProvider, Callable[[], None]]:
    listener = listen(settings.bind_host, settings.bind_port)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    loop = asyncio.new_event_loop()
    processes: list[ProviderProcess] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        process = ProviderProcess(settings, key, load_api_keys(settings.api_keys_file, None))
        processes.append(process)
        await process.serve(listener)

    def work() -> None:
        try:
            loop.run_until_complete(serve())
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

    def end() -> None:
        loop.call_soon_threadsafe(processes[0].stop)
        thread.join(60)
        assert not thread.is_alive()
        loop.close()

    return RunningProvider(url, settings), end


@pytest.fixture(scope="module")
def running(start_provider: StartProvider) -> RunningProvider:
    """A provider that many tests of one module share."""
    return start_provider(rate_limit="10000/minute", failed_login_limit="10000/minute")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox on disk."""
    with Outbox(tmp_path / "data") as opened:
        yield opened


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Fails the test unless the condition becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """`wait_until`, for test files (which cannot import from here)."""
    return wait_until
