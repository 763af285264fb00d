// The two questions that the page asks in a dialog. The escape key answers them with no.

import { cell, element } from "./view.js";

/** Opens a dialog; resolves to what its buttons, which `prepare` makes ready, say; to `otherwise` where it is just closed. */
function answered(dialog, otherwise, prepare) {
  return new Promise((resolve) => {
    const end = (answer) => {
      dialog.onclose = null;
      if (dialog.open) dialog.close();
      resolve(answer);
    };
    prepare(end);
    dialog.onclose = () => end(otherwise);
    dialog.showModal();
  });
}

/** Shows what a call does, as rows of a label and a text; resolves to whether the person wants it signed. */
export function confirmed(rows, data) {
  const parts = rows.flatMap(([label, text]) => [cell(label, { tag: "dt" }), cell(text, { tag: "dd" })]);
  element("confirm-rows").replaceChildren(...parts);
  element("confirm-data").textContent = data;
  return answered(element("confirm"), false, (end) => {
    element("confirm-yes").onclick = () => end(true);
    element("confirm-no").onclick = () => end(false);
  });
}

/** Takes the question back: what it was about is no longer so. */
export function withdraw() {
  element("confirm").close();
}

function walletButton({ info }) {
  const button = document.createElement("button");
  button.type = "button";
  if (/^data:image\//.test(info.icon)) button.append(Object.assign(new Image(24, 24), { src: info.icon, alt: "" }));
  button.append(info.name.slice(0, 60));
  return button;
}

/** Resolves to the wallet that the person chooses, null for none. */
export function chosenWallet(wallets) {
  element("no-wallet").hidden = wallets.length > 0;
  return answered(element("wallets"), null, (end) => {
    const buttons = wallets.map((wallet) => Object.assign(walletButton(wallet), { onclick: () => end(wallet) }));
    element("wallet-list").replaceChildren(...buttons);
    element("wallets-no").onclick = () => end(null);
  });
}
