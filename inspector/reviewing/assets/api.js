// What the page asks its server for. Addresses are relative: the page's own holds the token.

export class Refused extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

async function refused(response) {
  try {
    const said = await response.json();
    return new Refused(said.error, said.message);
  } catch {
    if (response.status === 403)
      return new Refused("gone", "this page belongs to an earlier review; open the address that the new one printed");
    return new Refused("server", `the server answered ${response.status}`);
  }
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Refused("gone", "the server does not answer; start inspector review again, and open the address that it prints");
  }
  if (!response.ok) throw await refused(response);
  return response;
}

const send = async (address, body) =>
  (await ask(address, {
    method: "POST",
    keepalive: true, // what is sent last outlives the page
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  })).json();

export const about = async () => (await ask("api/about")).json();
export const startQueue = async (filters) => (await ask(`api/queue?${filters}`)).json();
export const rows = async (queue, start, count) =>
  (await ask(`api/rows?${new URLSearchParams({ queue, start, count })}`)).json();
const facts = async (key, signal) => (await ask(`api/row/${key}`, { signal })).json();
export const label = (decision) => send("api/labels", decision);
export const labelRegion = (decision) => send("api/regions", decision);
export const mark = (place) => send("api/marks", place);
export const note = (noted) => send("api/notes", noted);
export const thumb = (generation, row) => `api/thumb/${generation}/${row}`;
export const undo = (queue) => send("api/undo", { queue });

async function picture(address, signal) {
  const response = await ask(address, { signal });
  const url = URL.createObjectURL(await response.blob());
  const about = (name) => Number(response.headers.get(name));
  return { url, width: about("X-Width"), height: about("X-Height"), same: about("X-Same") === 1 };
}

export const heat = (generation, row, signal) => picture(`api/heat/${generation}/${row}`, signal);
export const region = (generation, row, box, width) =>
  picture(`api/region/${generation}/${row}?box=${box.join(",")}&width=${width}`);

// Photos by row, with all that is known of them, asked for ahead of the reviewer; those far behind
// are let go. What failed is asked for anew, unless it is the photo's own fault.
export class Photos {
  #kept = new Map();

  get(generation, row) {
    const key = `${generation}/${row}`;
    if (!this.#kept.has(key)) {
      const leaving = new AbortController();
      const asked = { leaving, facts: facts(key, leaving.signal), picture: picture(`api/photo/${key}`, leaving.signal) };
      for (const answer of [asked.facts, asked.picture]) // whoever waits is told
        answer.catch((error) => { if (error.kind !== "photo" && this.#kept.get(key) === asked) this.#drop(key, asked); });
      this.#kept.set(key, asked);
    }
    return this.#kept.get(key);
  }

  keepOnly(generation, wanted) {
    const keys = new Set(wanted.map((row) => `${generation}/${row}`));
    for (const [key, asked] of this.#kept) {
      if (keys.has(key)) continue;
      asked.leaving.abort();
      this.#drop(key, asked);
    }
  }

  #drop(key, asked) {
    this.#kept.delete(key);
    asked.picture.then((photo) => URL.revokeObjectURL(photo.url), () => {});
  }
}
