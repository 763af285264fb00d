"""`python -m chain.abi`: writes the ABI files anew, after a declaration in `chain.primitives.modules` has changed."""

import json
from pathlib import Path

from chain.primitives.contract_abi import CONTRACTS, contract_abi

if __name__ == "__main__":
    for name in CONTRACTS:
        text = json.dumps(contract_abi(name), indent=2) + "\n"
        Path(__file__).with_name(f"{name}.json").write_text(text, encoding="utf-8")
