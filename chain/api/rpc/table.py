"""Every method that a node answers over HTTP."""

from chain.api.rpc.aitbc import aitbc_methods
from chain.api.rpc.blocks import block_methods
from chain.api.rpc.calls import call_methods
from chain.api.rpc.fees import fee_methods
from chain.api.rpc.filters import Filters, filter_methods
from chain.api.rpc.logs import log_methods
from chain.api.rpc.methods import Method
from chain.api.rpc.network import network_methods
from chain.api.rpc.sending import sending_methods
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.state import state_methods
from chain.api.rpc.transactions import transaction_methods


def all_methods(chain: ServedChain) -> tuple[Method, ...]:
    """The table."""
    return (
        *network_methods(chain),
        *fee_methods(chain),
        *state_methods(chain),
        *call_methods(chain),
        *sending_methods(chain),
        *block_methods(chain),
        *transaction_methods(chain),
        *log_methods(chain),
        *filter_methods(Filters(chain)),
        *aitbc_methods(chain),
    )
