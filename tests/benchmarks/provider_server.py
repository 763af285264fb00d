"""What a provider's server adds to its pipeline: per request, at eight waiting requests, and at the start.

The server is a process of its own, as an operator runs it; the pipeline is called in this one. Both draw the same
pictures with the embedded model on one thread, in turns (`provider_turns`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from chain.primitives.keys import PrivateKey
from chain.web.server import listen
from provider.generation import EMBEDDED_MODEL, Batch, BatchKey, Encoding, PipelineOptions, Row
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from tests.benchmarks.measuring import Table, milliseconds
from tests.benchmarks.provider_turns import in_turns, median, ratio
from wallet.keystore import LIGHT_SCRYPT_N, save_key

PROMPT: Final = "a red circle on a blue background"
SIDE_PIXELS: Final = 256
STEPS: Final = 20
GUIDANCE: Final = 7.5
WAITING: Final = 8
_SECRET: Final = "benchmark-secret-0123456789"
_START_S: Final = 120.0
_POLL_S: Final = 0.02
"""Between two questions to a server that starts: it needs the CPU itself."""
_BARE_START: Final = """
from diffusers import StableDiffusionPipeline
from provider.generation import EMBEDDED_MODEL_FOLDER
StableDiffusionPipeline.from_pretrained(
    str(EMBEDDED_MODEL_FOLDER), local_files_only=True, safety_checker=None, requires_safety_checker=False
)
"""


class ServerProcess:
    """A provider of its own in a new folder; as a context manager it ends."""

    def __init__(self, folder: Path, *, max_batch_rows: int = WAITING, trajectory: bool = True) -> None:
        folder.mkdir()
        save_key(folder / "key.json", PrivateKey.generate(), "password", scrypt_n=LIGHT_SCRYPT_N)
        (folder / "password").write_text("password\n")
        (folder / "password").chmod(0o600)
        with Database(folder / "data") as database:
            identity = FolderIdentity(database)
            identity.bind("genesis_hash", "0x" + "17" * 32)
            identity.bind("chain_id", "424242")
        with listen("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        settings = {
            "API_KEY": _SECRET,
            "KEYSTORE": str(folder / "key.json"),
            "PASSWORD_FILE": str(folder / "password"),
            "DATA_DIR": str(folder / "data"),
            "NODE_URL": "http://127.0.0.1:9",
            "BIND_PORT": str(port),
            "CPU_THREADS": "1",
            "RATE_LIMIT": "100000/minute",
            "MAX_BATCH_ROWS": str(max_batch_rows),
            "TRAJECTORY": str(trajectory).lower(),
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("AITBC_")}
        environment = others | {f"AITBC_PROVIDER_{name}": value for name, value in settings.items()}
        self.url = f"http://127.0.0.1:{port}"
        self.started_s = time.perf_counter()
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "genesis.cli", "provider", "run"], stderr=log, env=environment, cwd=folder
            )
        self._http = httpx.Client(timeout=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def seconds_until(self, is_there: Callable[[httpx.Client], bool]) -> float:
        """From the process's start until an answer is as asked."""
        while time.perf_counter() - self.started_s < _START_S:
            if self._process.poll() is not None:
                break
            try:
                if is_there(self._http):
                    return time.perf_counter() - self.started_s
            except httpx.TransportError:
                pass  # It does not listen yet.
            time.sleep(_POLL_S)
        raise RuntimeError(f"the provider did not start: {self._log.read_text()[-2000:]}")

    def wait_answering(self) -> float:
        """Seconds from the start until `/healthz` answers, which says 503 while the model loads."""
        return self.seconds_until(lambda client: client.get(f"{self.url}/healthz").status_code in (200, 503))

    def wait_ready(self) -> float:
        """Seconds from the start until it serves."""
        return self.seconds_until(lambda client: bool(client.get(f"{self.url}/v1/health").json()["status"] == "ok"))

    def draw(self, seed: int = 1) -> None:
        """One request, one picture."""
        body = {
            "api_key": _SECRET,
            "prompt": PROMPT,
            "steps": STEPS,
            "guidance": GUIDANCE,
            "width": SIDE_PIXELS,
            "height": SIDE_PIXELS,
            "seed": seed,
        }
        self._http.post(f"{self.url}/v1/generate-image", json=body).raise_for_status()


def bare_pipeline() -> Callable[[], None]:
    """One picture by the provider's own pipeline, with nothing around it."""
    from provider.inference.worker import create_workers

    (worker,) = create_workers(PipelineOptions(device="cpu", cpu_threads=1))
    worker.load()
    key = BatchKey(EMBEDDED_MODEL, SIDE_PIXELS, SIDE_PIXELS, STEPS, "default", is_guided=True, strength=None)
    batch = Batch(key, (Row(PROMPT, "", GUIDANCE, 1, Encoding()),))

    def draw() -> None:
        for _event in worker.run(batch):
            pass

    return draw


def server_overhead(rounds: int, folder: Path) -> Table:
    """One request at a time beside the bare pipeline, with the commitment to its latents and without."""
    draw = bare_pipeline()
    with (
        ServerProcess(folder / "full") as full,
        ServerProcess(folder / "plain", trajectory=False) as plain,
    ):
        full.wait_ready()
        plain.wait_ready()
        bare, served, uncommitted = in_turns([draw, full.draw, plain.draw], rounds)
    return Table(
        f"Server overhead ({SIDE_PIXELS}×{SIDE_PIXELS}, {STEPS} steps, embedded model, one CPU thread)",
        ("way", "one picture", "beside the bare pipeline", "what it adds"),
        (
            ("bare pipeline", milliseconds(median(bare)), "1.00", ""),
            _beside("request, receipt, kept latents", served, bare),
            _beside("request and receipt", uncommitted, bare),
        ),
    )


def _beside(way: str, seconds: list[float], bare: list[float]) -> tuple[str, str, str, str]:
    added = median([mine - other for mine, other in zip(seconds, bare, strict=True)])
    return way, milliseconds(median(seconds)), ratio(seconds, bare), f"{added * 1e3:.1f} ms"


def batching_gain(rounds: int, folder: Path) -> Table:
    """Eight requests that wait at once, drawn together and one by one."""
    with (
        ServerProcess(folder / "batched") as batched,
        ServerProcess(folder / "single", max_batch_rows=1) as single,
        ThreadPoolExecutor(WAITING) as pool,
    ):
        batched.wait_ready()
        single.wait_ready()

        def all_at_once(server: ServerProcess) -> Callable[[], Any]:
            return lambda: list(pool.map(server.draw, range(WAITING)))

        together, alone = in_turns([all_at_once(batched), all_at_once(single)], rounds)
    return Table(
        f"Batching at {WAITING} waiting requests",
        ("way", "pictures per second", "gain"),
        (
            ("one by one", f"{WAITING / median(alone):.2f}", "1.00"),
            ("together", f"{WAITING / median(together):.2f}", ratio(alone, together)),
        ),
    )


def start_up(rounds: int, folder: Path) -> Table:
    """From the command to the first answer, and to the first picture that could be drawn.

    Beside a bare Python that loads the same model with diffusers and does nothing else, in turns.
    """
    answers: list[float] = []
    serves: list[float] = []

    def start_server() -> None:
        with ServerProcess(folder / f"start-{len(serves)}") as server:
            answers.append(server.wait_answering())
            serves.append(server.wait_ready())

    def start_bare() -> None:
        subprocess.run([sys.executable, "-c", _BARE_START], check=True, capture_output=True, timeout=_START_S)

    _whole, bare = in_turns([start_server, start_bare], rounds)
    # The first start, on cold caches, does not count.
    return Table(
        "Start-up of a provider",
        ("moment", "after the command", "beside the bare start"),
        (
            ("bare Python has loaded the model with diffusers, and ended", milliseconds(median(bare)), "1.00"),
            ("/healthz answers", milliseconds(median(answers[1:])), ratio(answers[1:], bare)),
            ("the model is loaded and jobs are served", milliseconds(median(serves[1:])), ratio(serves[1:], bare)),
        ),
    )


if __name__ == "__main__":
    import tempfile

    for table in (server_overhead, batching_gain, start_up):
        with tempfile.TemporaryDirectory() as temporary:
            print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 5, Path(temporary)).markdown(), "\n", flush=True)
