"""Metrics that are read when somebody asks for them: in a thread, so that none may need the event loop's."""

from provider.http.parts import ProviderParts
from provider.storage.artifacts import Artifacts


def watch_parts(parts: ProviderParts, artifacts: Artifacts) -> None:
    """Lets `/metrics` show queue, slots, receipts and what is kept."""
    watch, engine = parts.metrics.watch, parts.engine
    watch("queue_length", "Pictures that wait.", lambda: engine.queue_length)
    watch("jobs_under_way", "Jobs that were accepted and have not ended.", lambda: parts.jobs.jobs_under_way)
    watch("busy", "1 while a batch is at work.", lambda: int(engine.is_busy))
    watch("busy_slots", "Batches at work.", lambda: engine.busy_slots)
    watch("lost_slots", "Slots whose latest batch was lost with its device.", lambda: engine.lost_slots)
    watch("slots", "Batches that can be at work at once.", lambda: engine.slots)
    watch("vram_used_mib", "Memory held on all GPUs.", lambda: engine.vram_used_mib)
    watch("ready", "1 while jobs are served.", lambda: int(parts.status() == "ok"))
    watch("draining", "1 while the last jobs are finished.", lambda: int(parts.jobs.is_draining))
    watch("artifacts", "Pictures that are kept.", lambda: artifacts.usage()[0])
    watch("artifact_bytes", "Bytes of the pictures that are kept.", lambda: artifacts.usage()[1])
    watch("trajectory_bytes", "Latents kept for the challenge window.", lambda: parts.trajectories.bytes_kept)
    parts.metrics.watch_states(lambda: {state.value: number for state, number in parts.outbox.counts().items()})
