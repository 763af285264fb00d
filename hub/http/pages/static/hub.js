// The page: an order is sent, its events followed, its pictures shown as they grow, then its receipt and mint.

import { ENDS, Hub } from "./api.js";
import { ait, atoms } from "./units.js";
import { JobView, say } from "./view.js";

const MINT_POLL_MS = 1_000;
const KEY = "aitbc-hub-key";
const $ = (id) => document.getElementById(id);
let watching = null; // Aborts what is watched.

const hub = () => new Hub($("key").value.trim());
const number = (id) => Number($(id).value);

function order() {
  const lines = $("prompt").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.length) throw new RangeError("say what to draw");
  const fields = { width: number("width"), height: number("height"), steps: number("steps") };
  if ($("model").value) fields.model = $("model").value;
  if ($("most").value.trim()) fields.max_price = atoms($("most").value);
  return lines.length > 1 ? { ...fields, prompts: lines } : { ...fields, prompt: lines[0], n: number("count") };
}

/** Also where the page came without TLS, and browsers have no `crypto.randomUUID`. */
const unique = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What goes wrong is said; nothing is thrown. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  }
}

async function watch(api, jobId) {
  watching?.abort();
  const { signal } = (watching = new AbortController());
  const isLost = () => say("The connection is lost; trying again…", true);
  const look = () => api.look(jobId, signal, isLost);
  location.hash = jobId;
  try {
    let job = await look();
    const view = new JobView(job.pictures_asked);
    view.show(job);
    for await (const event of api.events(jobId, signal, isLost)) {
      if (["step", "preview", "progress"].includes(event.kind)) view.glimpse(event);
      else if (event.kind.startsWith("pictures")) view.counted(event);
      if (event.kind === "pictures") view.show(await look());
      if (!ENDS.has(event.kind)) say(described(event, view.isWhole)); // An end is said with what came of it, below.
    }
    do {
      job = await look();
      if (signal.aborted) return;
      view.show(job);
      say(summed(job), job.status === "failed");
      await new Promise((resolve) => setTimeout(resolve, MINT_POLL_MS));
    } while (job.receipt && job.mint.state !== "minted");
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function described(event, isWhole) {
  const words = {
    queued: "Waiting for a provider…",
    running: "Providers are at work…",
    verifying: isWhole ? "All pictures are there; they are being checked…" : "What was made of it is being checked…",
    attested: "The receipt is signed.",
    cancel_requested: "Being cancelled…",
    pictures_refused: "Pictures did not pass their check; others are made…",
  };
  return words[event.kind] ?? words.running;
}

function summed(job) {
  const pictures = `${job.pictures_done} of ${job.pictures_asked} pictures`;
  if (job.status === "failed") return `Failed: ${job.detail}. ${pictures} were made.`;
  if (job.status === "cancelled") return `Cancelled; ${pictures} were made.`;
  return job.mint.state === "minted" ? "Done, and paid on the chain." : "Done; the payment is on its way to the chain…";
}

async function listModels() {
  const listed = await hub().ask("GET", "/v1/models");
  const chosen = $("model").value;
  $("model").replaceChildren(new Option("any", ""), ...listed.data.map(({ id }) => new Option(id, id, false, id === chosen)));
}

$("key").addEventListener("change", () => {
  sessionStorage.setItem(KEY, $("key").value.trim());
  attempt(listModels);
});

$("order").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    $("send").disabled = true;
    try {
      say("Sending…");
      const api = hub();
      const job = await api.ask("POST", "/v1/jobs", order(), { "Idempotency-Key": unique() });
      attempt(() => watch(api, job.job_id));
    } finally {
      $("send").disabled = false;
    }
  });
});

$("estimate").addEventListener("click", () =>
  attempt(async () => {
    const offer = await hub().ask("POST", "/v1/estimate", order());
    const [least, most] = [ait(offer.least_amount), ait(offer.most_amount)];
    const amount = least === most ? least : `${least} to ${most}`;
    const providers = offer.providers === 1 ? "one provider" : `${offer.providers} providers`;
    say(`${amount} AIT, done by ${providers} in about ${Math.max(1, Math.ceil(offer.ends_in_s))} s.`);
  }),
);

$("cancel").addEventListener("click", () =>
  attempt(async () => {
    const job = location.hash.slice(1);
    if (/^[0-9A-Za-z]+$/.test(job)) await hub().ask("POST", `/v1/jobs/${job}/cancel`);
  }),
);

$("key").value = sessionStorage.getItem(KEY) ?? "";
if ($("key").value) {
  listModels().catch(() => {}); // Sending says what is wrong with the key.
  if (/^#[0-9A-Za-z]+$/.test(location.hash)) attempt(() => watch(hub(), location.hash.slice(1)));
}
document.body.dataset.ready = "yes";
