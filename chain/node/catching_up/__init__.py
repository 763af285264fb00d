"""Catching up with the chain, without any I/O: which ranges of final blocks to ask whom for, in which order.

- `catch_up`: `CatchUp.handle(event, now_ms) -> CatchUpEffects`, its events and effects in `events`
- `peers`: what each peer says it has, and how it has answered
- `ranges`: those asked for, waiting for their turn, and with the engine
"""
