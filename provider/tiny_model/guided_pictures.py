"""Pictures that the UNet in training makes itself under guidance: there it meets its own errors, and learns to mend.

Guidance multiplies by which the prediction for a prompt differs from the one for no prompt, errors included: with 7.5,
differences of 4 % speckle a picture. So each state is shown with its prompt and without, both must lead to the clean
picture, and where the picture shows through the noise both should say the same (`train_unet` weighs the difference).
A training step shows one state of every picture; the prediction that it learns from is also the sampler's next step.
"""

from typing import Any, Final

import torch
from torch import Tensor

from provider.tiny_model.latents import LATENT_CHANNELS, SCALE, latents_of
from provider.tiny_model.scenes import Labels, aspect, random_placement
from provider.tiny_model.unet_batches import SPREAD, Batch, CaptionBank, importance

_CANVASES: Final = ((16, 16, 10), (32, 32, 3), (16, 24, 6), (24, 16, 6))
"""Rows, columns and how many pictures at a time."""

_CANVAS_SHARES: Final = (0.5, 0.34, 0.08, 0.08)
_STEPS: Final = (6, 21)
"""Pictures take at least so many steps, and fewer than so many."""

_PLAIN_EMPTY_SHARE: Final = 0.6
"""Share of pictures whose negative prompt is empty; the others' holds what people do not want."""

_SECOND_ORDER_SHARE: Final = 0.6
_BOUND: Final = 40.0
"""A picture with latents beyond this is given up."""


class GuidedPictures:
    """Pictures of a few sizes in the making; `batch` shows those of one size, `advance` takes the prediction."""

    def __init__(
        self, bank: CaptionBank, signal: Tensor, emphasis: tuple[float, ...], guidance: tuple[float, float], seed: int
    ) -> None:
        """`guidance` is drawn for each picture, from the first to the second."""
        source = torch.Generator().manual_seed(seed)
        self._canvases = [
            _Canvas(bank, signal, emphasis, guidance, rows, columns, count, source)
            for rows, columns, count in _CANVASES
        ]
        self._shown = self._canvases[0]

    def batch(self, generator: torch.Generator) -> Batch:
        """The states of one canvas's pictures: first all with their prompts, then all again without."""
        chosen = int(torch.multinomial(torch.tensor(_CANVAS_SHARES), 1, generator=generator))
        self._shown = self._canvases[chosen]
        return self._shown.batch()

    def advance(self, predicted: Tensor, generator: torch.Generator) -> None:
        """Takes the velocities that were predicted for the last batch as the sampler would."""
        self._shown.advance(predicted, generator)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {str(number): canvas.state for number, canvas in enumerate(self._canvases)}

    def load_state_dict(self, states: dict[str, Any]) -> None:
        """From a checkpoint."""
        for number, canvas in enumerate(self._canvases):
            canvas.state = {name: value.cpu() for name, value in states[str(number)].items()}


class _Canvas:
    """Pictures of one size. Everything that changes is in `state`."""

    def __init__(
        self,
        bank: CaptionBank,
        signal: Tensor,
        emphasis: tuple[float, ...],
        guidance: tuple[float, float],
        rows: int,
        columns: int,
        count: int,
        generator: torch.Generator,
    ) -> None:
        self._bank, self._signal, self._emphasis, self._guidance = bank, signal, emphasis, guidance
        self._rows, self._columns = rows, columns
        latents = (count, LATENT_CHANNELS, rows, columns)
        embeddings = (count, *bank.empty.shape[1:])
        self.state = {
            "noisy": torch.zeros(latents),
            "clean": torch.zeros(latents),
            "before": torch.zeros(latents),
            "weights": torch.zeros(count, LATENT_CHANNELS, 1, 1),
            "text": torch.zeros(embeddings),
            "empty": torch.zeros(embeddings),
            "steps": torch.ones(count, dtype=torch.long),
            "done": torch.zeros(count, dtype=torch.long),
            "guidance": torch.zeros(count),
            "second_order": torch.zeros(count),
        }
        self._begin(torch.ones(count, dtype=torch.bool), generator)

    def batch(self) -> Batch:
        state = self.state
        times = self._times(state["done"])
        share = self._signal[times].view(-1, 1, 1, 1)
        velocity = (share.sqrt() * state["noisy"] - state["clean"]) / (1 - share).sqrt()
        return Batch(
            torch.cat([state["noisy"]] * 2),
            torch.cat([times] * 2),
            torch.cat([state["text"], state["empty"]]),
            torch.cat([velocity] * 2),
            torch.cat([state["weights"]] * 2),
        )

    def advance(self, predicted: Tensor, generator: torch.Generator) -> None:
        """One step of DDIM, or of DPM-Solver++(2M) with steps of equal length in the logarithm of the noise."""
        state = self.state
        with_prompt, without = predicted.chunk(2)
        velocity = without + state["guidance"].view(-1, 1, 1, 1) * (with_prompt - without)
        now, then = (self._signal[self._times(state["done"] + more)].view(-1, 1, 1, 1) for more in (0, 1))
        clean = now.sqrt() * state["noisy"] - (1 - now).sqrt() * velocity
        extrapolates = (state["second_order"] * (state["done"] > 0)).view(-1, 1, 1, 1)
        drawn = clean + 0.5 * extrapolates * (clean - state["before"])
        kept = ((1 - then) / (1 - now)).sqrt()
        state["noisy"] = kept * state["noisy"] + (then.sqrt() - now.sqrt() * kept) * drawn
        state["before"] = clean
        state["done"] = state["done"] + 1
        # Also where it is not a number.
        lost = ~(state["noisy"].abs().flatten(1).amax(1) < _BOUND)
        self._begin((state["done"] >= state["steps"]) | lost, generator)

    def _times(self, done: Tensor) -> Tensor:
        """The time steps of a sampler that trails, after so many steps."""
        return ((1000 - done * 1000 / self.state["steps"]).round().long() - 1).clamp(0, 999)

    def _begin(self, which: Tensor, generator: torch.Generator) -> None:
        """Puts fresh noise, for another caption, in these places."""
        count = int(which.sum())
        if not count:
            return

        def uniform() -> Tensor:
            return torch.rand(count, generator=generator)

        state, bank = self.state, self._bank
        least, most = self._guidance
        chosen = torch.randint(len(bank.embeddings), (count,), generator=generator)
        labels: Labels = bank.labels.chosen(chosen)
        placement = random_placement(labels, generator, aspect(self._rows, self._columns), spread=SPREAD)
        empty = torch.randint(len(bank.empty), (count,), generator=generator) * (uniform() > _PLAIN_EMPTY_SHARE)
        state["clean"][which] = SCALE * latents_of(labels, placement, self._rows, self._columns)
        state["noisy"][which] = torch.randn(state["clean"][which].shape, generator=generator)
        state["weights"][which] = importance(labels, self._emphasis)
        state["text"][which] = bank.embeddings[chosen].float()
        state["empty"][which] = bank.empty[empty].float()
        state["steps"][which] = torch.randint(*_STEPS, (count,), generator=generator)
        state["done"][which] = 0
        state["guidance"][which] = least + (most - least) * uniform()
        state["second_order"][which] = (uniform() < _SECOND_ORDER_SHARE).float()
