// The provider that a wallet puts into every page (EIP-1193, announced by EIP-6963). Whatever needs the person or their key
// goes to `walletPrompt`, which is outside the page; all else it asks the node, from the page, as any script there may.
(() => {
  const nodes = new Map(); // Chain id → the RPC URL of a network that the person has added.
  const listeners = new Map();
  let chainId = "0x1"; // A wallet begins on Ethereum.
  let requests = 0;

  class ProviderError extends Error {
    constructor({ code, message, data }) {
      super(message);
      Object.assign(this, { code, data });
    }
  }

  /** What is outside can say no, with the code that EIP-1193 has for it before its words. */
  async function askPerson(method, params) {
    try {
      return await walletPrompt(method, params);
    } catch (error) {
      const [, code, message] = /(4\d{3}): (.*)/.exec(error.message) ?? [];
      throw code ? new ProviderError({ code: Number(code), message }) : error;
    }
  }

  function tell(event, what) {
    for (const listener of listeners.get(event) ?? []) listener(what);
  }

  async function askNode(method, params) {
    const url = nodes.get(chainId);
    if (url === undefined) throw new ProviderError({ code: 4901, message: "this wallet knows no node of that chain" });
    const answer = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: ++requests, method, params }),
    });
    const { error, result } = await answer.json();
    if (error) throw new ProviderError(error);
    return result;
  }

  function switchTo(wanted) {
    if (!nodes.has(wanted)) throw new ProviderError({ code: 4902, message: `unrecognised chain ${wanted}` });
    chainId = wanted;
    tell("chainChanged", chainId);
    return null;
  }

  /** Fills in what a page leaves to the wallet, and has it signed. */
  async function send({ gas, ...transaction }) {
    const gasPrice = await askNode("eth_gasPrice", []);
    const filled = {
      ...transaction,
      type: 2,
      chainId,
      nonce: Number(await askNode("eth_getTransactionCount", [transaction.from, "pending"])),
      gasLimit: gas ?? (await askNode("eth_estimateGas", [transaction])),
      maxFeePerGas: gasPrice,
      maxPriorityFeePerGas: gasPrice,
    };
    return askNode("eth_sendRawTransaction", [await askPerson("eth_sendTransaction", [filled])]);
  }

  const methods = {
    eth_accounts: () => askPerson("eth_accounts", []),
    eth_requestAccounts: () => askPerson("eth_requestAccounts", []),
    eth_chainId: () => chainId,
    eth_sendTransaction: ([transaction]) => send(transaction),
    eth_signTypedData_v4: (params) => askPerson("eth_signTypedData_v4", params),
    personal_sign: (params) => askPerson("personal_sign", params),
    wallet_switchEthereumChain: ([{ chainId: wanted }]) => switchTo(wanted),
    async wallet_addEthereumChain([parameter]) {
      const { chainId: added, rpcUrls } = await askPerson("wallet_addEthereumChain", [parameter]);
      nodes.set(added, rpcUrls[0]);
      return switchTo(added);
    },
  };

  const provider = {
    request: async ({ method, params = [] }) => (methods[method] ? methods[method](params) : askNode(method, params)),
    on: (event, listener) => listeners.set(event, [...(listeners.get(event) ?? []), listener]),
    removeListener: (event, listener) =>
      listeners.set(event, (listeners.get(event) ?? []).filter((each) => each !== listener)),
  };

  // What its person does in the wallet itself, of which the page knows nothing: another account, another network.
  addEventListener("wallet:accounts", ({ detail }) => tell("accountsChanged", detail));
  addEventListener("wallet:chain", ({ detail }) => {
    chainId = detail;
    tell("chainChanged", chainId);
  });

  const info = { uuid: crypto.randomUUID(), name: "A wallet", icon: "data:,", rdns: "org.example.wallet" };
  const announce = () =>
    dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
  addEventListener("eip6963:requestProvider", announce);
  announce();
})();
