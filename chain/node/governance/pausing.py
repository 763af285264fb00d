"""`aitbc node governance propose pause` and `unpause`: whether anything is minted at all."""

import typer

from chain.node.governance.deciding import Execute, Yes, finish, operator_at
from chain.node.options import DEFAULT_URL, AsJson, DataDir, NodeUrl, OptionalKeyFile
from chain.primitives.modules import PAUSE, UNPAUSE


def propose_pause(
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Stop minting, such as when an attester's key is stolen: fewer have to approve that than anything else."""
    with operator_at(data_dir, key_file, url) as operator:
        if not is_sure:
            typer.confirm("Propose that nothing is minted until `unpause`?", abort=True, err=True)
        finish(operator, operator.propose(PAUSE.encode()), may_execute=may_execute, as_json=as_json)


def propose_unpause(
    data_dir: DataDir,
    key_file: OptionalKeyFile = None,
    url: NodeUrl = DEFAULT_URL,
    may_execute: Execute = False,
    is_sure: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let minting go on after a pause."""
    with operator_at(data_dir, key_file, url) as operator:
        if not is_sure:
            typer.confirm("Propose that minting goes on?", abort=True, err=True)
        finish(operator, operator.propose(UNPAUSE.encode()), may_execute=may_execute, as_json=as_json)
