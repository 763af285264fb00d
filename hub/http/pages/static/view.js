// A job as it is shown. What others wrote is only ever text.

import { ait } from "./units.js";

const $ = (id) => document.getElementById(id);

function made(name, text, className = "") {
  const element = document.createElement(name);
  element.textContent = text;
  element.className = className;
  return element;
}

export function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", isBad);
}

export class JobView {
  #count;
  #done = 0;
  #begun = new Map(); // By first picture: pictures' worth of work that is done of those that are not there.

  /** Frames for so many pictures. */
  constructor(count) {
    this.#count = count;
    $("pictures").replaceChildren(...Array.from({ length: count }, (_, number) => this.#frame(number)));
    $("proof").hidden = $("unmade").hidden = true;
    $("progress").hidden = $("cancel").hidden = false;
    this.#progress();
  }

  /** Whether all pictures are there; a job that was cancelled, or is late, ends without. */
  get isWhole() {
    return this.#done >= this.#count;
  }

  /** A provider is so far with some of the pictures. */
  glimpse(event) {
    for (let number = event.first_picture; number < event.first_picture + event.picture_count; number += 1) {
      this.#caption(number, `step ${event.step} of ${event.steps}`);
    }
    const image = this.#growing(event.picture)?.querySelector("img");
    if (image && typeof event.preview_base64 === "string" && event.preview_base64.startsWith("data:image/jpeg;base64,")) {
      image.src = event.preview_base64;
      image.hidden = false;
    }
    this.#begun.set(event.first_picture, Number(event.fraction) * Number(event.picture_count) || 0);
    this.#progress();
  }

  /** Some came in, or were found wanting. */
  counted(event) {
    for (const number of event.pictures) this.#begun.delete(number);
    this.#done = event.pictures_done;
    this.#progress();
  }

  show(job) {
    this.#done = job.pictures_done;
    const there = new Map(job.pictures.map((picture) => [picture.number, picture]));
    for (const figure of [...$("pictures").children]) {
      const picture = there.get(Number(figure.dataset.number));
      if (picture) this.#picture(figure, picture);
      else if (job.ended_at_ms !== null) figure.remove(); // A glimpse of what nobody finished is no picture.
    }
    if (job.ended_at_ms !== null) this.#ended(this.#count - there.size);
    this.#progress();
    this.#proof(job);
  }

  #ended(unmade) {
    $("progress").hidden = $("cancel").hidden = true;
    $("unmade").hidden = unmade === 0;
    $("unmade").textContent = unmade === 1 ? "One picture was not made." : `${unmade} pictures were not made.`;
  }

  #frame(number) {
    const figure = made("figure", "", "growing");
    figure.dataset.number = number;
    const image = document.createElement("img");
    image.alt = `Picture ${number + 1}`;
    image.hidden = true;
    const frame = made("a", "", "frame");
    frame.append(image);
    figure.append(frame, made("figcaption", "waits"));
    return figure;
  }

  #growing(number) {
    return $("pictures").querySelector(`figure.growing[data-number="${Number(number)}"]`);
  }

  #caption(number, text) {
    const caption = this.#growing(number)?.querySelector("figcaption");
    if (caption) caption.textContent = text;
  }

  #picture(figure, { sha256, url, seed }) {
    if (figure.dataset.sha256 === sha256) return;
    figure.dataset.sha256 = sha256;
    figure.className = "";
    const image = figure.querySelector("img");
    image.src = figure.querySelector("a").href = url;
    image.hidden = false;
    figure.querySelector("figcaption").textContent = `seed ${seed}`;
  }

  #progress() {
    const begun = [...this.#begun.values()].reduce((sum, share) => sum + share, 0);
    $("progress").value = Math.min(1, (this.#done + begun) / this.#count);
  }

  #proof(job) {
    $("proof").hidden = !job.receipt;
    if (!job.receipt) return;
    const { mint } = job;
    const facts = {
      Receipt: job.receipt_hash,
      "Signed by": job.provider,
      Work: `${job.receipt.units} ${job.receipt.unit_type}`,
      Amount: `${ait(job.receipt.amount)} AIT`,
      Mint: mint.state === "minted" ? `in block ${mint.height}` : mint.state,
      ...(mint.transaction_hash ? { Transaction: mint.transaction_hash } : {}),
      Job: job.job_id,
    };
    $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
    $("shares").replaceChildren(...job.payouts.map((payout) => this.#share(job, payout)));
  }

  #share(job, { provider, amount }) {
    const parts = job.shards.filter((shard) => shard.provider === provider && shard.units !== null);
    const sum = (name) => parts.reduce((total, shard) => total + Number(shard[name]), 0);
    const row = document.createElement("tr");
    const address = made("td", "");
    address.append(made("code", provider));
    row.append(address, ...[sum("pictures"), +sum("units").toFixed(6), ait(amount)].map((text) => made("td", text)));
    return row;
  }
}
