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

/** Its person agrees to everything, and `prompts` is what they saw. */
export function walletOf(privateKey, prompts) {
  const wallet = new Wallet(privateKey);
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
  return (method, params) => {
    if (method !== "eth_accounts") prompts.push(method);
    return answers[method](params);
  };
}
