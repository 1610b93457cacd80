// What is said to the service, and what it says when it refuses.

class Refusal extends Error {
  // code, param: as in the body of every error. status: 0 when nothing answered. again: whether it may help.
  // sent: false for what this page refuses itself.
  constructor(message, { code = "", param = null, status = 0, requestId = "", waitS = 0, again = false, sent = true } = {}) {
    super(message);
    Object.assign(this, { code, param, status, requestId, waitS, again, sent });
  }
}

const AGAIN = [0, 408, 429, 502, 503, 504];   // after these the same request may succeed

async function refusalOf(response) {
  const header = (name) => response.headers.get(name) || "";
  const facts = {
    status: response.status,
    requestId: header("x-request-id"),
    waitS: Number(header("retry-after")) || 0,
    again: AGAIN.includes(response.status) && header("x-should-retry") !== "false",
  };
  try {
    const { error } = await response.json();
    return new Refusal(error.message, { ...facts, code: error.code, param: error.param });
  } catch {
    return new Refusal(`The service answered ${response.status}, and did not say why in a way that can be read.`, facts);
  }
}

// The answer to a form with ``fields`` (or, without, to a GET). Throws Refusal; an abort is passed on.
async function send(path, fields = null, signal = undefined) {
  const options = { signal, cache: "no-store" };
  if (fields) {
    options.method = "POST";
    options.body = new FormData();
    for (const [name, value] of Object.entries(fields)) {
      if (name === "image") options.body.append(name, value.blob, value.name);
      else options.body.append(name, String(value));
    }
    const key = $("key").value.trim();
    if (key) options.headers = { Authorization: `Bearer ${key}` };
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const size = fields ? fields.image.blob.size : 0;
    const large = size > 2 ** 20 ? ` Your picture has ${count(size / 2 ** 20)} MB: it may also be too large.` : "";
    throw new Refusal(`No answer came: the service cannot be reached.${large}`, { again: true });
  }
  if (!response.ok) throw await refusalOf(response);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("What came back is no answer of this service.", { status: response.status });
  }
}

// Asks until it is ready what is served, and passes on what it hears.
async function watchReadiness(ready, notReady) {
  for (;;) {
    try {
      return ready(await send("ready"));
    } catch (refusal) {
      notReady(refusal);
    }
    await new Promise((resolve) => setTimeout(resolve, 3000));
  }
}
