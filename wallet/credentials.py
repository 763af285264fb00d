"""Secret files that must be closed to other users, and those that systemd hands to a service.

Since version 254 systemd gives a service its credentials (`LoadCredential=`) as root's files of mode 0440 with an entry
for the service's user in their access control list; the group bits that `stat` shows are that list's mask. They lie in
a folder that nobody else can enter (systemd's issue 29435).
"""

import os
from pathlib import Path
from typing import Final

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_OTHERS: Final = 0o077
_OTHERS_OF_A_CREDENTIAL: Final = 0o037


def is_closed(path: Path, mode: int) -> bool:
    """Whether a file of this mode is for its owner alone, as far as modes tell."""
    return not mode & (_OTHERS_OF_A_CREDENTIAL if _is_credential(path) else _OTHERS)


def _is_credential(path: Path) -> bool:
    folder = os.environ.get(CREDENTIALS_VARIABLE)
    return bool(folder) and path.absolute().parent == Path(str(folder))
