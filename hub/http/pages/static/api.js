// The hub's API as this page uses it: like any other client, with a key.

export const ENDS = new Set(["done", "failed", "cancelled"]);
const RETRY_MS = 1_000;
const MOST_CHARACTERS = 8 * 1024 * 1024; // Of an event.

/** What the hub would say again; any other error may pass, such as a proxy's while the hub is away. */
export class Refusal extends Error {}

const pause = () => new Promise((resolve) => setTimeout(resolve, RETRY_MS));

export class Hub {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** What the hub answers; an error with its own words where it says no. */
  async ask(method, path, body, headers = {}) {
    const answer = await this.#fetch(path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    await check(answer);
    return answer.json();
  }

  /** A job, asked for until there is an answer or `signal` aborts; `onTrouble` hears of each time that there is none. */
  async look(jobId, signal, onTrouble) {
    for (;;) {
      try {
        const job = await this.ask("GET", `/v1/jobs/${jobId}`);
        signal.throwIfAborted(); // Else it would be shown in the place of what is watched now.
        return job;
      } catch (error) {
        if (signal.aborted || error instanceof Refusal) throw error;
        onTrouble(error);
      }
      await pause();
    }
  }

  /**
   * A job's events until its end, or until `signal` aborts; taken up again where a connection breaks off.
   *
   * Server-sent events over fetch: EventSource cannot send a key. `onTrouble` hears of each break.
   */
  async *events(jobId, signal, onTrouble) {
    let last = 0;
    while (!signal.aborted) {
      try {
        for await (const event of this.#stream(jobId, last, signal)) {
          if (event.sequence) last = event.sequence;
          yield event;
          if (ENDS.has(event.kind)) return;
        }
        if (ENDS.has((await this.ask("GET", `/v1/jobs/${jobId}`)).status)) return;
      } catch (error) {
        if (signal.aborted || error instanceof Refusal) throw error;
        onTrouble(error);
      }
      await pause();
    }
  }

  async *#stream(jobId, last, signal) {
    const answer = await this.#fetch(`/v1/jobs/${jobId}/events`, { headers: { "Last-Event-ID": String(last) }, signal });
    await check(answer);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      if (text.length > MOST_CHARACTERS) throw new Refusal("the hub sends an event without end");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data: "));
        text = text.slice(end + 2);
        if (data) yield JSON.parse(data.slice(6));
      }
    }
  }

  #fetch(path, { headers, ...options }) {
    return fetch(path, { ...options, headers: { Authorization: `Bearer ${this.#key}`, ...headers } });
  }
}

async function check(answer) {
  if (answer.ok) return;
  if (answer.status === 401) throw new Refusal("The hub does not know this API key.");
  const said = await answer.json().catch(() => ({}));
  const words = said.detail ?? said.error?.message ?? `the hub answered ${answer.status}`; // Two APIs, two forms.
  throw answer.status < 500 ? new Refusal(words) : new Error(words);
}
