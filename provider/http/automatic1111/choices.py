"""Which model each caller has chosen: their program has one setting for all, here every API key has its own."""

from typing import Final

from provider.api_keys import Caller
from provider.errors import UnknownModel

_MAX_REMEMBERED: Final = 10_000
"""As many as there can be API keys."""


class ModelChoices:
    """In memory: after a restart everybody has the default again."""

    def __init__(self, served: tuple[str, ...]) -> None:
        """`served`: public names of the models, the default first."""
        self._served = served
        self._chosen: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Every model, the default first."""
        return self._served

    def of(self, caller: Caller) -> str:
        """What a request of this caller is drawn with, unless it says otherwise itself."""
        return self._chosen.get(caller.name, self._served[0])

    def choose(self, caller: Caller, name: str) -> None:
        """From now on; raises UnknownModel."""
        if len(self._chosen) >= _MAX_REMEMBERED and caller.name not in self._chosen:
            self._chosen.clear()
        self._chosen[caller.name] = self.known(name)

    def known(self, name: str) -> str:
        """The name itself; raises UnknownModel."""
        if name not in self._served:
            raise UnknownModel(f"Model not found: there are {', '.join(self._served)}")
        return name
