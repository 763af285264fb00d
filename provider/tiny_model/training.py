"""What the three trainings share: seeds counted by step, a learning rate, checkpoints, and a line of progress.

A training is counted in steps, and every step draws from its own seed. So a training that was interrupted goes on as if
nothing had happened, and one machine gives the same weights each time.
"""

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

_CHECKPOINT_INTERVAL_S: Final = 60.0
_REPORT_INTERVAL_S: Final = 20.0
_SEEDS_PER_TRAINING: Final = 10_000_000
_AVERAGING: Final = 0.998
_NOT_TRAINING: Final = {"__init__", "assemble", "build", "evaluate", "judge", "recipe"}
"""Modules that no weight depends on, or only through a plan."""

_UNET: Final = {"draft", "unet"}
_ONLY_FOR: Final = {
    "train_text_encoder": {"text_encoder", *_UNET},
    "unet_batches": _UNET,
    "guided_pictures": _UNET,
    "train_unet": _UNET,
    "train_vae": {"vae", "encoder"},
    "train_encoder": {"encoder"},
}
"""Modules on which only these plans' weights depend; on any other module, all do."""


@dataclass(frozen=True)
class Plan:
    """How one part is trained. The fingerprint says which sources and options a checkpoint belongs to."""

    name: str
    steps: int
    folder: Path
    peak_rate: float
    seed: int
    hold: float = 0.3
    """Share of the steps before the learning rate falls."""

    details: str = ""
    """What else the weights depend on, as text."""

    device: str = "cpu"

    @property
    def weights(self) -> Path:
        """Where the trained weights lie in the end."""
        return self.folder / f"{self.name}.pt"

    @property
    def checkpoint(self) -> Path:
        """Where an unfinished training is kept."""
        return self.folder / f"{self.name}.checkpoint.pt"

    def fingerprint(self) -> str:
        """A digest of the plan and of the sources behind it: another one's checkpoint is of no use."""
        return _fingerprint(self.name, self.steps, self.peak_rate, self.seed, self.hold, self.details)

    def rate(self, step: int) -> float:
        """A short warm-up, the peak for a while, then a cosine to almost nothing."""
        passed = step / self.steps
        decay = 0.5 + 0.5 * math.cos(math.pi * max(0.0, (passed - self.hold) / (1 - self.hold)))
        return self.peak_rate * min(1.0, (step + 1) / 50) * decay + 1e-6

    def generator(self, step: int) -> torch.Generator:
        """The randomness of one step, on the CPU whatever the device, so that every device sees the same data."""
        return torch.Generator().manual_seed(self.seed * _SEEDS_PER_TRAINING + step)


@cache
def _fingerprint(name: str, *options: object) -> str:
    """Taken once, so that a source that is edited while a training runs does not make it another one."""
    digest = hashlib.sha256(repr((name, *options)).encode())
    for source in sorted(Path(__file__).parent.glob("*")):
        is_source = source.suffix in {".py", ".toml"} and source.stem not in _NOT_TRAINING
        if is_source and name in _ONLY_FOR.get(source.stem, {name}):
            digest.update(source.read_bytes())
    return digest.hexdigest()


class Training:
    """Counts the steps of a plan, keeps what must survive an interruption, and reports."""

    def __init__(self, plan: Plan, kept: dict[str, Any]) -> None:
        """`kept` holds modules and optimizers, all of which have state_dict and load_state_dict."""
        self._plan = plan
        self._kept = kept
        self._first = self._resume()
        self._losses: list[torch.Tensor] = []
        plan.fingerprint()

    def steps(self) -> Iterator[int]:
        """The steps that are left; a checkpoint is written between two of them."""
        started = saved = reported = time.monotonic()
        for step in range(self._first, self._plan.steps):
            yield step
            now = time.monotonic()
            if now - reported > _REPORT_INTERVAL_S or step + 1 == self._plan.steps:
                self._report(step + 1, now - started)
                reported = now
            if now - saved > _CHECKPOINT_INTERVAL_S:
                self._save(step + 1)
                saved = now

    def note(self, loss: torch.Tensor) -> None:
        """Remembers a loss for the next report."""
        self._losses.append(loss.detach())

    def finish(self, weights: dict[str, Any]) -> None:
        """Writes the weights as halves, all at once, and drops the checkpoint."""
        halves = {name: value.half().cpu() if value.is_floating_point() else value for name, value in weights.items()}
        write_atomically({"fingerprint": self._plan.fingerprint(), "weights": halves}, self._plan.weights)
        self._plan.checkpoint.unlink(missing_ok=True)

    def _resume(self) -> int:
        if not self._plan.checkpoint.is_file():
            return 0
        saved = torch.load(self._plan.checkpoint, weights_only=True, map_location=self._plan.device)
        if saved["fingerprint"] != self._plan.fingerprint():
            return 0
        for name, part in self._kept.items():
            part.load_state_dict(saved[name])
        print(f"{self._plan.name}: goes on at step {saved['step']}", flush=True)
        return int(saved["step"])

    def _save(self, step: int) -> None:
        states = {name: part.state_dict() for name, part in self._kept.items()}
        write_atomically({"fingerprint": self._plan.fingerprint(), "step": step, **states}, self._plan.checkpoint)

    def _report(self, step: int, seconds: float) -> None:
        loss = float(torch.stack(self._losses).mean()) if self._losses else math.nan
        self._losses.clear()
        left_s = seconds / (step - self._first) * (self._plan.steps - step)
        print(
            f"{self._plan.name}: step {step} of {self._plan.steps}, loss {loss:.4f}, {left_s / 60:.1f} minutes left, "
            f"{time.process_time() / 60:.1f} CPU minutes so far",
            flush=True,
        )


def blend(average: list[torch.Tensor], weights: list[torch.Tensor], step: int) -> None:
    """Moves the average a little towards the weights after this step, further in the beginning."""
    with torch.no_grad():
        torch._foreach_lerp_(average, weights, 1 - min(_AVERAGING, (2 + step) / (11 + step)))


def write_atomically(value: Any, path: Path) -> None:
    """Saves beside the file and renames, so that a file is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    torch.save(value, beside)
    beside.replace(path)


def finished_weights(plan: Plan) -> dict[str, Any] | None:
    """The weights of a finished training, unless they come from other sources or options."""
    if not plan.weights.is_file():
        return None
    saved = torch.load(plan.weights, weights_only=True)
    weights: dict[str, Any] = saved["weights"]
    return weights if saved["fingerprint"] == plan.fingerprint() else None
