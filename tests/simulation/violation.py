"""What an oracle raises."""


class Violation(Exception):
    """A property does not hold. `oracle` is the short name of the one that has seen it."""

    def __init__(self, oracle: str, message: str) -> None:
        super().__init__(f"{oracle}: {message}")
        self.oracle = oracle
