// What people do with MetaMask, against a node: `node metamask.mjs SCENARIO`.

import { run } from "../clients/scenario.mjs";
import { MetaMask } from "./metamask_wallet.mjs";

// Whom MetaMask asks besides the node is told, and gets no request: no test depends on anybody's server.
const askedElsewhere = new Set();
const fetchAnywhere = globalThis.fetch;

function fetchFromNodeAlone(nodeUrl) {
  return async (resource, options) => {
    const { origin } = new URL(resource.url ?? resource);
    if (origin === new URL(nodeUrl).origin) {
      return fetchAnywhere(resource, options);
    }
    askedElsewhere.add(origin);
    throw new TypeError(`fetch failed: nobody but the node is asked here, and this was ${origin}`);
  };
}

const scenarios = {
  /** Adds the network, and looks at it as MetaMask's first screen does. */
  async network(metamask, address) {
    return {
      metadata: metamask.network.state.networksMetadata[metamask.networkClientId],
      chainId: await metamask.request("eth_chainId"),
      version: await metamask.request("net_version"),
      height: await metamask.request("eth_blockNumber"),
      balance: await metamask.request("eth_getBalance", [address, "latest"]),
    };
  },

  /** One transaction after another. */
  async sends(metamask, from, { transactions }) {
    const records = [];
    for (const parameters of transactions) {
      records.push(await metamask.send({ from, ...parameters }));
    }
    return { records, balance: await metamask.request("eth_getBalance", [from, "latest"]) };
  },

  /** All at once, so that MetaMask's own nonce tracker has to tell them apart. */
  async sendsAtOnce(metamask, from, { transactions }) {
    return { records: await Promise.all(transactions.map((parameters) => metamask.send({ from, ...parameters }))) };
  },

  /** What comes of sending what cannot succeed, and what the node says of it when MetaMask asks for its gas. */
  async refused(metamask, from, { transactions }) {
    const records = [];
    const reasons = [];
    for (const parameters of transactions) {
      const estimated = metamask.request("eth_estimateGas", [{ from, ...parameters }]);
      reasons.push(await estimated.catch(({ data }) => data));
      records.push(await metamask.send({ from, ...parameters }));
    }
    return { records, reasons };
  },

  /** What MetaMask's keyring signs for a page that asks for eth_signTypedData_v4 and personal_sign. */
  async signs(metamask, from, { typedData, message }) {
    return {
      typedData: await metamask.keyring.signTypedMessage({ from, data: typedData }, "V4"),
      message: await metamask.keyring.signPersonalMessage({ from, data: message }),
    };
  },
};

function started(scenario) {
  return async (inputs) => {
    globalThis.fetch = fetchFromNodeAlone(inputs.url);
    const metamask = new MetaMask();
    const address = await metamask.importKey(inputs.privateKey);
    await metamask.addNetwork(inputs.network);
    const seen = await scenario(metamask, address, inputs);
    return { address, prompts: metamask.prompts, askedElsewhere: [...askedElsewhere], ...seen };
  };
}

await run(Object.fromEntries(Object.entries(scenarios).map(([name, scenario]) => [name, started(scenario)])));
