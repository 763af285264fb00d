// What somebody does, from the call to its final block: asked of the node, shown, signed, awaited; each step told in words.

import { confirmed } from "./dialogs.js";
import { finalTransaction, get, highestFee, renewTerms } from "./node.js";
import { described, outcomeText } from "./orders.js";
import { Refusal } from "./units.js";
import { element, teller, words } from "./view.js";
import { reasonOf, send } from "./wallet.js";

const LOOKED_THROUGH = 20;

/** `act(makeCall)` carries one out; `connect()` only has somebody connect. `onRefusal` is told of what cannot be typed. */
export function acting({ settings, units, session, onDone, onRefusal }) {
  let isAsking = false; // One question at a time, of the person and of their wallet.

  async function asking(tell, work) {
    if (isAsking) return null;
    isAsking = true;
    for (const id of ["place", "connect", "cancel-all"]) element(id).setAttribute("aria-disabled", "true");
    try {
      return await work();
    } catch (error) {
      if (error instanceof Refusal) onRefusal(error);
      tell(error instanceof Refusal ? "" : reasonOf(error), { isFault: true });
      return null;
    } finally {
      isAsking = false;
      for (const id of ["place", "connect", "cancel-all"]) element(id).removeAttribute("aria-disabled");
    }
  }

  /** { hash, account } of the call once somebody has signed it; null where they would not. */
  async function signed(data, tell) {
    if (!(await session.connect())) return null;
    const call = { from: session.account, to: settings.module, data };
    tell("Asking the node whether this can be done…");
    const [fee] = await Promise.all([highestFee(call), renewTerms(settings.market)]);
    const rows = described(settings, units, data, fee);
    tell("");
    const isWanted = await confirmed(rows, data);
    if (session.account !== call.from) throw new Error("Your wallet shows another account now. Nothing was signed: check again.");
    if (!isWanted) return null;
    tell("Waiting for your wallet…");
    return { hash: await send(session.provider, settings, call), account: call.from };
  }

  async function outcome(hash, account) {
    const transaction = await finalTransaction(hash);
    const where = `in block ${transaction.height}, final`;
    if (transaction.status !== "success") return [`Failed ${where}: ${words(transaction.reason ?? "no reason")}.`, true];
    const { items } = await get(`/v1/accounts/${account}/orders?state=all&market=${settings.market.market}&limit=${LOOKED_THROUGH}`);
    const placed = items.find(({ transaction_hash: each }) => each === hash);
    return [`Done ${where}${placed ? `: ${outcomeText(placed, units)}` : ""}.`, false];
  }

  return {
    async connect() {
      const tell = teller();
      await asking(tell, () => session.connect());
    },
    async act(makeCall) {
      const tell = teller();
      const sent = await asking(tell, () => signed(makeCall(), tell));
      if (sent === null) return;
      const { hash, account } = sent;
      tell("Sent; waiting until it is final…", { hash });
      try {
        const [text, isFault] = await outcome(hash, account);
        tell(text, { isFault, hash });
      } catch (error) {
        tell(reasonOf(error), { isFault: true, hash });
      }
      void onDone();
    },
  };
}
