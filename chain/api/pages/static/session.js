// Who looks: nobody, or the account that a wallet of theirs shows this page.

import { chosenWallet } from "./dialogs.js";
import { connect, wallets } from "./wallet.js";

export class Session {
  #network;
  #onChange;
  #provider = null;
  #account = null;

  /** `onChange(account)` is told of everybody who comes; null: nobody is there any more. */
  constructor(network, onChange) {
    this.#network = network;
    this.#onChange = onChange;
  }

  /** In lower case, null for nobody. */
  get account() {
    return this.#account;
  }

  get provider() {
    return this.#provider;
  }

  /** Has somebody connect unless somebody is; returns whether. Throws what the wallet does. */
  async connect() {
    if (this.#account !== null) return true;
    const found = wallets();
    const chosen = found.length === 1 ? found[0] : await chosenWallet(found);
    if (chosen === null) return false;
    const account = await connect(chosen.provider, this.#network);
    this.disconnect();
    this.#provider = chosen.provider;
    this.#provider.on?.("accountsChanged", this.#onAccounts);
    this.#become(account);
    return true;
  }

  disconnect() {
    this.#provider?.removeListener?.("accountsChanged", this.#onAccounts);
    this.#provider = null;
    if (this.#account !== null) this.#become(null);
  }

  #onAccounts = (accounts) => {
    const account = accounts?.[0];
    if (!/^0x[0-9a-f]{40}$/i.test(account ?? "")) this.disconnect();
    else if (account.toLowerCase() !== this.#account) this.#become(account.toLowerCase());
  };

  #become(account) {
    this.#account = account;
    this.#onChange(account);
  }
}
