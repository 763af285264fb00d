"""Which blocks are to be fetched, executed and committed: the tree of blocks, and what finality asks of it."""

from typing import Final

from chain.consensus.block_tree import BlockState, BlockTree, TreeBlock
from chain.consensus.draft import Draft
from chain.consensus.effects import CommitBlock, ExecuteBlock, Floor, ForgetBlocks, PeerId
from chain.consensus.knowledge import Knowledge
from chain.consensus.messages import GetBlock
from chain.primitives.block import Header
from chain.primitives.certificate import Certificate
from chain.primitives.types import Hash32

_MAX_FINAL_AHEAD: Final = 512
"""Certificates of final blocks that cannot be committed yet; a longer way is fetched in ranges."""
_MAX_GAP: Final = 256
_MAX_FINAL_GAP: Final = 16

Wanted = dict[Hash32, PeerId | None]
"""Blocks that are wanted, and who has them, where that is known."""


class BlockWork:
    """Blocks and finality certificates of one epoch. The floor moves only when a commit is done."""

    def __init__(self, floor: Floor, head: Header) -> None:
        self.floor = floor
        self.tree = BlockTree(head)
        self._final: dict[Hash32, Certificate] = {}
        self._committing: CommitBlock | None = None
        self._asked: set[Hash32] = set()

    @property
    def committing(self) -> CommitBlock | None:
        """What is being written."""
        return self._committing

    def add_final(self, certificate: Certificate) -> None:
        """A verified FinalCert. Where too many blocks are missing, the oldest goes: a later one covers its block."""
        self._final[certificate.block_hash] = certificate
        if len(self._final) > _MAX_FINAL_AHEAD:
            without_block = [each for each in self._final if self.tree.get(each) is None]
            del self._final[min(without_block or self._final, key=lambda each: self._final[each].view)]

    def final_path(self) -> list[TreeBlock]:
        """The way to the highest final block to which there is one."""
        for block_hash in reversed(self._final):
            path, missing = self.tree.path_to(block_hash)
            if missing is None and path:
                return path
        return []

    def advance(self, draft: Draft, wanted: Wanted, knowledge: Knowledge) -> None:
        """Executes and commits what is final, executes what is wanted, and asks for what is missing of both."""
        final_path = self.final_path()
        if final_path:
            self._execute(draft, final_path)
            self._commit(draft, final_path)
        for path, missing, holder in self._mark(wanted, knowledge):
            if missing is None:
                self._execute(draft, path)
            else:
                self.ask(draft, missing, holder)

    def _mark(self, wanted: Wanted, knowledge: Knowledge) -> list[tuple[list[TreeBlock], Hash32 | None, PeerId | None]]:
        """Notes that these blocks are wanted in this view; returns the ways to them, what is missing, who may have it.

        A long way with something missing is not worth keeping.
        """
        ways = []
        for block_hash, holder in wanted.items():
            path, missing = self.tree.path_to(block_hash)
            if missing is None or self._is_worth_asking(path, missing, knowledge.final_hash):
                ways.append((path, missing, holder))
                for each in path:
                    each.view = max(each.view, knowledge.view)
        return ways

    def _is_worth_asking(self, path: list[TreeBlock], missing: Hash32, final_hash: Hash32) -> bool:
        """One block after another, backward, is for short ways; long ones are fetched in ranges."""
        if not path:
            return True
        is_final = missing == final_hash or any(each.hash == final_hash for each in path)
        gap = path[0].block.header.height - self.tree.committed.height
        return gap <= (_MAX_FINAL_GAP if is_final else _MAX_GAP)

    def ask(self, draft: Draft, block_hash: Hash32, holder: PeerId | None) -> None:
        """Asks for a block, best its holder, once until `ask_again`."""
        if block_hash not in self._asked:
            self._asked.add(block_hash)
            draft.ask(GetBlock(block_hash), holder)

    def was_asked_for(self, block_hash: Hash32) -> bool:
        """Whether the answer would be welcome."""
        return block_hash in self._asked

    def ask_again(self) -> None:
        """What has not come may be asked for again."""
        self._asked.clear()

    def _execute(self, draft: Draft, path: list[TreeBlock]) -> None:
        """The first block of the path that has not been executed, where nothing forbids it."""
        for each in path:
            if each.state is BlockState.VALID:
                continue
            if each.state is BlockState.KNOWN:
                each.state = BlockState.EXECUTING
                draft.do(ExecuteBlock(each.block))
            return

    def _commit(self, draft: Draft, path: list[TreeBlock]) -> None:
        first = path[0]
        if self._committing is not None or first.state is not BlockState.VALID:
            return
        header = first.block.header
        certificate = self._final.get(first.hash)
        epoch, view = self.floor.epoch, self.floor.view
        if certificate is not None:
            view = certificate.view
        if header.next_validators_hash != self.tree.committed.next_validators_hash:
            assert certificate is not None, "nothing but its own repetition is ever notarized on a boundary block"
            epoch, view = epoch + 1, 0
        floor = Floor(epoch, view, header.height, first.hash)
        self._committing = CommitBlock(first.hash, certificate, floor)
        draft.do(self._committing)

    def committed(self, block_hash: Hash32, draft: Draft) -> None:
        """The commit is on the disk."""
        assert self._committing is not None and self._committing.block_hash == block_hash
        self.floor = self._committing.floor
        self._committing = None
        self._final.pop(block_hash, None)
        forgotten = self.tree.commit(block_hash)
        for each in forgotten:
            self._final.pop(each, None)
        self._forget(forgotten, draft)

    def forget_before(self, view: int, draft: Draft, wanted: Wanted, knowledge: Knowledge) -> None:
        """Drops bodies last wanted in earlier views; whoever needs one after all asks for it again."""
        self._mark(wanted, knowledge)
        self._forget(self.tree.forget_before(view, {each.hash for each in self.final_path()}), draft)

    def begin_epoch(self, draft: Draft) -> None:
        """Nothing that stands on the block that ended the last one can be final."""
        self._final.clear()
        self._forget(self.tree.clear(), draft)

    def _forget(self, block_hashes: list[Hash32], draft: Draft) -> None:
        if block_hashes:
            draft.do(ForgetBlocks(tuple(block_hashes)))
