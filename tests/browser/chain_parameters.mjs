// What MetaMask's extension asks of the parameter of wallet_addEthereumChain before it shows it to a person. That part of
// MetaMask is published in no package, so its rules are written down here.

import { isSafeChainId } from "@metamask/controller-utils";

const KNOWN_KEYS = ["blockExplorerUrls", "chainId", "chainName", "iconUrls", "nativeCurrency", "rpcUrls"];

function require(condition, rule) {
  if (!condition) {
    throw new Error(`wallet_addEthereumChain: ${rule}`);
  }
}

/** Whether MetaMask would let a page or a person name this URL. */
function isReachable(text) {
  const { hostname, protocol } = new URL(text);
  return protocol === "https:" || hostname === "localhost" || hostname === "127.0.0.1";
}

/** Returns the parameter; throws where MetaMask would refuse it, the node's own word for its chain id included. */
export async function checkedChainParameter(parameter) {
  const { chainId, chainName, nativeCurrency, rpcUrls, blockExplorerUrls } = parameter;
  const surplus = Object.keys(parameter).filter((key) => !KNOWN_KEYS.includes(key));
  require(surplus.length === 0, `unexpected ${surplus}`);
  require(/^0x[1-9a-f][0-9a-f]*$/.test(chainId) && isSafeChainId(chainId), "chainId is no short hexadecimal number");
  require(chainName.length > 0 && chainName.length <= 100, "chainName is empty or longer than 100");
  require(nativeCurrency.decimals === 18, "nativeCurrency does not have 18 decimals");
  require(/^.{1,6}$/.test(nativeCurrency.symbol), "nativeCurrency.symbol is empty or longer than 6");
  require(rpcUrls.length > 0 && rpcUrls.every(isReachable), "rpcUrls is empty, or neither https nor loopback");
  require(blockExplorerUrls === null || blockExplorerUrls.some(isReachable), "blockExplorerUrls is neither null nor a URL");
  const answer = await fetch(rpcUrls[0], {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] }),
  });
  const { result } = await answer.json();
  require(result === chainId, `the node at ${rpcUrls[0]} says that its chain is ${result}, not ${chainId}`);
  return parameter;
}
