"""Reading a receipt's document from a file or from stdin, bounded."""

import sys
from pathlib import Path

from wallet.verification import MAX_DOCUMENT_BYTES, Document


def read_document(path: Path) -> Document:
    """`-` is stdin. Raises OSError where it cannot be read, Rejected where it is no receipt."""
    if str(path) == "-":
        return Document.from_json(sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1))
    with path.open("rb") as file:
        return Document.from_json(file.read(MAX_DOCUMENT_BYTES + 1))
