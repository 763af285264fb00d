// MetaMask as its extension puts it together, without its windows: the controllers that it publishes, each unchanged.
// The person is played by whoever makes one: the key is theirs, and every prompt is accepted and kept for the test.

import { AccountsController } from "@metamask/accounts-controller";
import { ApprovalController } from "@metamask/approval-controller";
import { GasFeeController } from "@metamask/gas-fee-controller";
import { AccountImportStrategy, KeyringController } from "@metamask/keyring-controller";
import { Messenger } from "@metamask/messenger";
import { NetworkController, RpcEndpointType } from "@metamask/network-controller";
import { RemoteFeatureFlagController } from "@metamask/remote-feature-flag-controller";
import { TransactionController } from "@metamask/transaction-controller";
import { checkedChainParameter } from "./chain_parameters.mjs";

// Which controller may call what of which other one, as in the extension.
const CALLED = {
  AccountsController: ["KeyringController:getState", "KeyringController:getKeyringsByType"],
  GasFeeController: [
    "NetworkController:getState",
    "NetworkController:getNetworkClientById",
    "NetworkController:getEIP1559Compatibility",
  ],
  TransactionController: [
    "AccountsController:getSelectedAccount",
    "AccountsController:getState",
    "ApprovalController:addRequest",
    "KeyringController:signEip7702Authorization",
    "NetworkController:findNetworkClientIdByChainId",
    "NetworkController:getNetworkClientById",
    "RemoteFeatureFlagController:getState",
  ],
};
const HEARD = {
  AccountsController: ["KeyringController:stateChange"],
  GasFeeController: ["NetworkController:networkDidChange"],
  TransactionController: ["NetworkController:stateChange"],
};

export class MetaMask {
  constructor() {
    this.prompts = [];
    this.root = new Messenger({ namespace: "Root" });
    this.keyring = new KeyringController({ messenger: this.#messenger("KeyringController") });
    this.approvals = new ApprovalController({
      messenger: this.#messenger("ApprovalController"),
      showApprovalRequest: () => this.#acceptPrompts(),
    });
    this.accounts = new AccountsController({ messenger: this.#messenger("AccountsController") });
    this.flags = new RemoteFeatureFlagController({
      messenger: this.#messenger("RemoteFeatureFlagController"),
      disabled: true,
      getMetaMetricsId: () => "",
    });
    this.network = new NetworkController({
      messenger: this.#messenger("NetworkController"),
      infuraProjectId: "0".repeat(32),
      getRpcServiceOptions: () => ({ fetch: globalThis.fetch, btoa: globalThis.btoa }),
    });
  }

  #messenger(namespace) {
    const messenger = new Messenger({ namespace, parent: this.root });
    this.root.delegate({ messenger, actions: CALLED[namespace] ?? [], events: HEARD[namespace] ?? [] });
    return messenger;
  }

  /** What the person sees, and their click on “Confirm”. */
  #acceptPrompts() {
    for (const request of Object.values(this.approvals.state.pendingApprovals)) {
      this.prompts.push(request.type);
      this.approvals.accept(request.id);
    }
  }

  /** “Import account” with a private key, which becomes the selected one; its address. */
  async importKey(privateKey) {
    await this.keyring.createNewVaultAndKeychain("the person's password");
    const address = await this.keyring.importAccountWithStrategy(AccountImportStrategy.privateKey, [privateKey]);
    await this.accounts.updateAccounts();
    this.accounts.setSelectedAccount(this.accounts.getAccountByAddress(address).id);
    return address;
  }

  /** “Add a custom network” with the parameter of wallet_addEthereumChain, and the switch to it. */
  async addNetwork(parameter) {
    const { chainId, chainName, nativeCurrency, rpcUrls } = await checkedChainParameter(parameter);
    const added = this.network.addNetwork({
      chainId,
      name: chainName,
      nativeCurrency: nativeCurrency.symbol,
      rpcEndpoints: rpcUrls.map((url) => ({ url, type: RpcEndpointType.Custom })),
      defaultRpcEndpointIndex: 0,
      blockExplorerUrls: [],
    });
    this.networkClientId = added.rpcEndpoints[0].networkClientId;
    await this.network.setActiveNetwork(this.networkClientId);
    this.#startSending();
  }

  #startSending() {
    this.gasFees = new GasFeeController({
      messenger: this.#messenger("GasFeeController"),
      getCurrentNetworkEIP1559Compatibility: () => this.network.getEIP1559Compatibility(),
      getCurrentNetworkLegacyGasAPICompatibility: () => false,
      getProvider: () => this.network.getProviderAndBlockTracker().provider,
      // MetaMask's own service, which knows no fees of a chain that it has never heard of; then it asks the node.
      EIP1559APIEndpoint: "https://gas.api.cx.metamask.io/networks/<chain_id>/suggestedGasFees",
      clientId: "extension",
    });
    this.transactions = new TransactionController({
      messenger: this.#messenger("TransactionController"),
      disableHistory: false,
      disableSendFlowHistory: false,
      disableSwaps: true,
      getCurrentNetworkEIP1559Compatibility: () => this.network.getEIP1559Compatibility(),
      getGasFeeEstimates: (options) => this.gasFees.fetchGasFeeEstimates(options),
      getNetworkClientRegistry: () => this.network.getNetworkClientRegistry(),
      getNetworkState: () => this.network.state,
      // These would ask MetaMask's servers.
      incomingTransactions: { isEnabled: () => false },
      isSimulationEnabled: () => false,
      isFirstTimeInteractionEnabled: () => false,
      sign: (transaction, from) => this.keyring.signTransaction(transaction, from),
      transactionHistoryLimit: 60,
      hooks: {},
    });
  }

  /** An RPC request as MetaMask sends it: through its caches, and with `latest` as the number that it last saw. */
  request(method, params = []) {
    return this.network.getNetworkClientById(this.networkClientId).provider.request({ method, params });
  }

  /** A transaction through every step; its record once MetaMask calls it confirmed, or has given it up. */
  async send(parameters, { timeout = 60_000 } = {}) {
    const { result, transactionMeta } = await this.transactions.addTransaction(parameters, {
      networkClientId: this.networkClientId,
      requireApproval: true,
      origin: "metamask",
    });
    const ended = this.#ended(transactionMeta.id, timeout);
    // A refusal is in the record, too.
    result.catch(() => undefined);
    return ended;
  }

  async #ended(id, timeout) {
    const deadline = Date.now() + timeout;
    for (;;) {
      const record = this.transactions.state.transactions.find((each) => each.id === id);
      if (["confirmed", "failed", "dropped", "rejected"].includes(record.status)) {
        return record;
      }
      if (Date.now() > deadline) {
        throw new Error(`MetaMask still says “${record.status}” of its transaction ${record.hash}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
