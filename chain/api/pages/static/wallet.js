// Wallets in this browser: found by EIP-6963, or as `window.ethereum` where they are older; spoken to by EIP-1193.

const UNKNOWN_CHAIN = 4902;
const MAX_WALLETS = 20;

/** Those that have announced themselves, each { info: { uuid, name, icon }, provider }; it grows while the page is open. */
export const announced = [];

addEventListener("eip6963:announceProvider", ({ detail }) => {
  const isKnown = announced.some(({ info }) => info.uuid === detail?.info?.uuid);
  if (isKnown || announced.length >= MAX_WALLETS || typeof detail?.provider?.request !== "function") return;
  announced.push(detail);
});
dispatchEvent(new Event("eip6963:requestProvider"));

export function wallets() {
  if (announced.length > 0 || typeof window.ethereum?.request !== "function") return announced;
  return [{ info: { uuid: "injected", name: "Wallet of this browser", icon: "" }, provider: window.ethereum }];
}

/** Why a wallet did not: its person said no, or something is amiss. */
export function reasonOf(error) {
  if (error?.code === 4001) return "You declined it in your wallet.";
  if (error?.code === -32002) return "Your wallet has a question open already: look there.";
  return error?.data?.message ?? error?.message ?? "The wallet gave no reason.";
}

/** Has the wallet use the page's chain, adding it where the wallet does not know it. */
export async function useChain(provider, { chainId, chainName }) {
  if ((await provider.request({ method: "eth_chainId" })) === chainId) return;
  try {
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  } catch (error) {
    // MetaMask's telephone app wraps the error.
    if (error?.code !== UNKNOWN_CHAIN && error?.data?.originalError?.code !== UNKNOWN_CHAIN) throw error;
    const parameter = {
      chainId,
      chainName,
      nativeCurrency: { name: "AIT", symbol: "AIT", decimals: 18 },
      rpcUrls: [`${location.origin}/rpc`],
      blockExplorerUrls: null,
    };
    await provider.request({ method: "wallet_addEthereumChain", params: [parameter] });
  }
  const chosen = await provider.request({ method: "eth_chainId" });
  if (chosen !== chainId) throw new Error(`The wallet stays on chain ${Number(chosen)}; this market is on ${Number(chainId)}.`);
}

/** The account that the person lets the page see, in lower case. */
export async function connect(provider, network) {
  const accounts = await provider.request({ method: "eth_requestAccounts" });
  if (!/^0x[0-9a-f]{40}$/i.test(accounts?.[0] ?? "")) throw new Error("The wallet named no account.");
  await useChain(provider, network);
  return accounts[0].toLowerCase();
}

/** The hash of a call that the person has signed. */
export async function send(provider, network, { from, to, data }) {
  await useChain(provider, network);
  const hash = await provider.request({ method: "eth_sendTransaction", params: [{ from, to, data, value: "0x0" }] });
  if (!/^0x[0-9a-f]{64}$/i.test(hash ?? "")) throw new Error("The wallet did not say what it sent.");
  return hash;
}
