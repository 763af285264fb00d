"""How long each part is trained, at which rates, and what the UNet's six lessons care for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provider.tiny_model.train_unet import Lesson
from provider.tiny_model.training import Plan

DRAFT: Final = Lesson((0.5,) * 6 + (1.75,) * 4 + (0.5,) * 3 + (1.5,) * 2)
FINAL: Final = Lesson((1.0,) * 15, late_empty_share=0.5, guided_share=0.6, agreement=12.0)
POLISH: Final = Lesson(
    (0.4,) * 6 + (3.0,) * 4 + (0.4,) * 3 + (1.0,) * 2, late_empty_share=0.3, guided_share=0.4, agreement=12.0
)
SETTLE: Final = Lesson(
    (0.4,) * 6 + (3.0,) * 4 + (0.4,) * 3 + (1.0,) * 2,
    late_empty_share=0.3,
    guided_share=0.7,
    agreement=40.0,
    sees=(300, 450),
)
FINISH: Final = Lesson(
    (0.4,) * 6 + (5.0,) * 4 + (0.4,) * 3 + (0.7,) * 2,
    late_empty_share=0.2,
    guided_share=0.5,
    agreement=40.0,
    sees=(300, 450),
)
STRONG: Final = Lesson(
    (0.4,) * 6 + (5.0,) * 4 + (0.4,) * 3 + (0.7,) * 2,
    late_empty_share=0.2,
    guided_share=0.9,
    guidance=(3.0, 9.5),
    agreement=40.0,
    sees=(300, 450),
)


@dataclass(frozen=True)
class Recipe:
    """How long everything is trained, and for which device."""

    text_steps: int = 1500
    draft_steps: int = 2200
    unet_steps: int = 4200
    polish_steps: int = 3500
    settle_steps: int = 2200
    finish_steps: int = 3200
    strong_steps: int = 2000
    vae_steps: int = 2800
    encoder_steps: int = 2000
    captions: int = 16_000
    draft_lesson: Lesson = DRAFT
    lesson: Lesson = FINAL
    polish_lesson: Lesson = POLISH
    settle_lesson: Lesson = SETTLE
    finish_lesson: Lesson = FINISH
    strong_lesson: Lesson = STRONG
    device: str = "cpu"
    threads: int = 1
    """Of each of the two processes."""

    def text_encoder(self, folder: Path) -> Plan:
        """The text encoder's plan."""
        return Plan("text_encoder", self.text_steps, folder, 3e-3, seed=1, device=self.device)

    def unet_lessons(self, folder: Path) -> list[tuple[Plan, Lesson]]:
        """The UNet's trainings in their order, each of which goes on from the one before."""
        return [
            (self.draft(folder), self.draft_lesson),
            (self.unet(folder), self.lesson),
            (self.polish(folder), self.polish_lesson),
            (self.settle(folder), self.settle_lesson),
            (self.finish(folder), self.finish_lesson),
            (self.strong(folder), self.strong_lesson),
        ]

    def draft(self, folder: Path) -> Plan:
        """The plan of the UNet's first training, which cares for shapes first."""
        return Plan(
            "draft", self.draft_steps, folder, 2e-3, seed=2, details=repr(self.draft_lesson), device=self.device
        )

    def unet(self, folder: Path) -> Plan:
        """The plan of its second training, which meets its own errors."""
        return Plan(
            "unet", self.unet_steps, folder, 1.5e-3, seed=5, hold=0.2, details=repr(self.lesson), device=self.device
        )

    def polish(self, folder: Path) -> Plan:
        """The plan of its third training, which cares for outlines: by then the rest is right."""
        details = repr(self.polish_lesson)
        return Plan(
            "unet", self.polish_steps, folder / "polish", 1.2e-3, seed=6, hold=0.1, details=details, device=self.device
        )

    def settle(self, folder: Path) -> Plan:
        """The plan of its fourth training, after which guidance does no harm to outlines either."""
        details = repr(self.settle_lesson)
        return Plan(
            "unet", self.settle_steps, folder / "settle", 8e-4, seed=7, hold=0.1, details=details, device=self.device
        )

    def finish(self, folder: Path) -> Plan:
        """The plan of its fifth training, for outlines once more."""
        details = repr(self.finish_lesson)
        return Plan(
            "unet", self.finish_steps, folder / "finish", 8e-4, seed=8, hold=0.15, details=details, device=self.device
        )

    def strong(self, folder: Path) -> Plan:
        """The plan of its last training, on pictures under strong guidance nearly alone."""
        details = repr(self.strong_lesson)
        return Plan(
            "unet", self.strong_steps, folder / "strong", 8e-4, seed=9, hold=0.15, details=details, device=self.device
        )

    def vae(self, folder: Path) -> Plan:
        """The plan of the VAE for the drawn channels: of its decoder."""
        return Plan("vae", self.vae_steps, folder, 4e-4, seed=3, device=self.device)

    def encoder(self, folder: Path) -> Plan:
        """The plan of the whole VAE: of its encoder."""
        return Plan("encoder", self.encoder_steps, folder, 1.5e-3, seed=4, device=self.device)
