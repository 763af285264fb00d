"""`aitbc provider benchmark`: pictures per second and latency of this machine, without a network or a queue."""

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provider.commands.flags import AsJson, CpuThreads, Device, Models, Precision
from provider.commands.outcome import report, show_table

if TYPE_CHECKING:
    from provider.generation import Backend, BatchKey

_LONGEST_S = 60
_PROMPT = "a red circle on a blue background"


def benchmark(
    model: Models = None,
    device: Device = None,
    precision: Precision = None,
    cpu_threads: CpuThreads = None,
    seconds: Annotated[float, typer.Option(min=1, max=_LONGEST_S, help="Time for measuring, after loading.")] = 20,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "512x512",
    steps: Annotated[int, typer.Option(min=5, max=100, help="Denoising steps.")] = 30,
    max_batch_rows: Annotated[int, typer.Option(min=1, max=64, help="Largest batch to try.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Measure batches of 1, 2, 4, … pictures on the first device, for a minute at most."""
    flags = {"model": model, "device": device, "precision": precision, "cpu_threads": cpu_threads}
    flags |= {"max_batch_rows": max_batch_rows, "warm_shapes": size}
    measured = report(lambda: _measure(flags, seconds, steps))
    if as_json:
        print(json.dumps(measured))
        return
    print(f"{measured['model']} on {measured['device']}, {size}, {steps} steps; loaded in {measured['load_s']} s")
    show_table(measured["batches"])


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(benchmark)


def _measure(flags: dict[str, Any], seconds: float, steps: int) -> dict[str, Any]:
    from provider.engine.backends.local import LocalBackend
    from provider.generation import DEFAULT_SCHEDULER, BatchKey
    from provider.settings import ProviderSettings

    settings = ProviderSettings.build(**flags)
    backend = LocalBackend(settings.pipeline_options())
    try:
        started = time.perf_counter()
        backend.load()
        load_s = time.perf_counter() - started
        ((width, height),) = settings.warm_sizes
        key = BatchKey(settings.public_model_name, width, height, steps, DEFAULT_SCHEDULER, True, None)
        return {
            "model": key.model,
            "device": backend.devices()[0].name,
            "width": width,
            "height": height,
            "steps": steps,
            "load_s": round(load_s, 2),
            "batches": _measure_batches(backend, key, seconds, settings.max_batch_rows),
            "vram_used_mib": backend.vram_used_mib(),
        }
    finally:
        backend.close()


def _measure_batches(backend: "Backend", key: "BatchKey", seconds: float, max_rows: int) -> list[dict[str, Any]]:
    """Batches of each size, within a share of the time; what does not fit into memory ends the list."""
    from provider.errors import OutOfMemory

    sizes = [2**power for power in range(7) if 2**power <= min(max_rows, backend.max_rows(key))]
    _run_batch(backend, key, 1)  # The first one pays for what later ones find ready.
    deadline = time.perf_counter() + seconds
    measured: list[dict[str, Any]] = []
    for position, rows in enumerate(sizes):
        budget_s = (deadline - time.perf_counter()) / (len(sizes) - position)
        if budget_s <= 0:
            break
        print(f"measuring batches of {rows} for {budget_s:.0f} s", file=sys.stderr)
        try:
            times_s = _repeat(backend, key, rows, budget_s)
        except OutOfMemory:
            print(f"batches of {rows} do not fit into the memory", file=sys.stderr)
            break
        total_s = sum(times_s)
        measured.append(
            {
                "rows": rows,
                "batches": len(times_s),
                "pictures_per_second": round(rows * len(times_s) / total_s, 3),
                "latency_median_s": round(sorted(times_s)[len(times_s) // 2], 3),
                "latency_worst_s": round(max(times_s), 3),
            }
        )
    return measured


def _repeat(backend: "Backend", key: "BatchKey", rows: int, budget_s: float) -> list[float]:
    """Times of batches, at least one, until the next would most likely take longer than there is time."""
    times_s = [_run_batch(backend, key, rows)]
    while sum(times_s) + times_s[-1] <= budget_s:
        times_s.append(_run_batch(backend, key, rows))
    return times_s


def _run_batch(backend: "Backend", key: "BatchKey", rows: int) -> float:
    from provider.generation import Batch, Encoding, Row

    row = [Row(_PROMPT, "", 7.5, seed, Encoding()) for seed in range(rows)]
    started = time.perf_counter()
    for _event in backend.run(Batch(key, tuple(row)), 0):
        pass
    return time.perf_counter() - started
