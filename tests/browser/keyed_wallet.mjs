// The part of a wallet that holds the key, outside of any page; and how Chromium is started for its person.

import { Wallet, getBytes } from "ethers";
import { checkedChainParameter } from "./chain_parameters.mjs";

export const CHROMIUM = {
  args: [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox", // The tests may run as root, where Chromium has no other way.
  ],
};

/** Its person agrees to everything but the methods in `declined`, and `prompts` is what they saw; `use(key)` is theirs as well. */
export function walletOf(privateKey, prompts, declined = new Set()) {
  let wallet = new Wallet(privateKey);
  const answers = {
    eth_accounts: () => [wallet.address],
    eth_requestAccounts: () => [wallet.address],
    eth_sendTransaction: ([transaction]) => wallet.signTransaction(transaction),
    eth_signTypedData_v4([, text]) {
      const { domain, types, message } = JSON.parse(text);
      delete types.EIP712Domain; // ethers makes it from the domain.
      return wallet.signTypedData(domain, types, message);
    },
    personal_sign: ([message]) => wallet.signMessage(getBytes(message)),
    wallet_addEthereumChain: ([parameter]) => checkedChainParameter(parameter),
  };
  const prompt = (method, params) => {
    if (method !== "eth_accounts") prompts.push(method);
    if (declined.has(method)) throw new Error("4001: User rejected the request.");
    return answers[method](params);
  };
  prompt.use = (key) => {
    wallet = new Wallet(key);
  };
  return prompt;
}
