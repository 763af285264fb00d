"""What can go wrong with the stored chain; every message tells the operator what to do next.

None of these is about a peer's or a user's input: that is `Rejected`.
"""


class StorageError(Exception):
    """Base of all. `str(error)` is one paragraph for the operator, without a traceback's words."""


class FolderMissing(StorageError):
    """There is no chain in this folder, and none was to be created."""


class FolderInUse(StorageError):
    """Another process has the folder open."""


class WrongNetwork(StorageError):
    """The folder holds the chain of another genesis."""


class UnknownFormat(StorageError):
    """The folder was written by a version with another storage format."""


class FolderCorrupted(StorageError):
    """Files are missing or garbled, or contradict each other."""


class FolderUnusable(StorageError):
    """The operating system refuses to read or write here: permissions, a full disk, a file in the folder's place."""


class WriteFailed(StorageError):
    """A batch could not be written; the store takes no more and must be opened again."""


class HistoryPruned(StorageError):
    """A past state was asked for that undo records no longer reach."""


class StalePending(StorageError):
    """A pending state was prepared on something that is not the head (any more)."""


class BadCommit(StorageError):
    """A block does not follow the head, or does not belong to its pending state. Nothing was changed."""


class JournalError(StorageError):
    """The vote journal cannot be read or written. Base of the three below."""


class JournalMissing(JournalError):
    """There is no vote journal where one must be."""


class JournalForeign(JournalError):
    """The vote journal is of another key, another network, or not the one that the key's votes are in."""


class JournalDamaged(JournalError):
    """The vote journal's bytes are not what was written, and not what a crash leaves either."""
