"""How a command ends: data on stdout, one line on stderr for a failure, and an exit code."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import typer

T = TypeVar("T")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


def fail(message: str, code: int) -> typer.Exit:
    """Says what is wrong; raise what it returns."""
    print(f"aitbc provider: {message}", file=sys.stderr)
    return typer.Exit(code)


def report(command: Callable[[], T]) -> T:
    """Runs a command; expected failures become one line on stderr and an exit code."""
    from chain.client import NodeError
    from chain.primitives.rejection import Rejected
    from provider.errors import ConfigurationError, ProviderError

    try:
        return command()
    except ConfigurationError as error:
        raise fail(error.message, EXIT_USAGE) from None
    except ProviderError as error:
        raise fail(error.message, EXIT_FAILED) from None
    except Rejected as error:
        raise fail(error.message, EXIT_USAGE) from None
    except (NodeError, OSError) as error:
        raise fail(str(error), EXIT_FAILED) from None


def show(fields: Mapping[str, Any], as_json: bool) -> None:
    """Prints names and values, for people or as JSON."""
    if as_json:
        print(json.dumps(fields))
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        print(f"{name:<{width}}  {_text(value)}")


def show_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows of the same names, a line each, under a line of the names."""
    if not rows:
        return
    names = list(rows[0])
    texts = [[_text(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[position]) for line in texts)) for position, name in enumerate(names)]
    for line in [names, *texts]:
        print("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return "  ".join(f"{name} {_text(item)}" for name, item in value.items())
    return str(value)
