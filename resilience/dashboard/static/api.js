// Questions to this server, and to no other.

// What each page asks first. The server tells the browser to ask that while the page's code is on its way (ahead.py),
// in the same words: without what is empty, and in this order.
const QUESTIONS = {
  overview: () => ["/api/snapshot"],
  traces: (params) => ["/api/traces", { q: params.get("q"), since: params.get("since"), until: params.get("until"), limit: 100 }],
  trace: (params, id) => [`/api/traces/${encodeURIComponent(id)}`],
  latency: (params) => ["/api/heatmap", { op: params.get("op"), last: Number(params.get("span")) || 300000, bins: 80 }],
  compare: (params) => (params.get("a") && params.get("b") ? ["/api/compare", { a: params.get("a"), b: params.get("b") }] : ["/api/traces", { limit: 12 }]),
  errors: () => ["/api/errors", { last: 3600000 }],
};
export const question = (name, params, id) => ask(...QUESTIONS[name](params, id));

/** Which page an address is: its name, and the id in it. */
export function route(path) {
  const [, first, second] = path.split("/");
  if (first === "traces" && second) return ["trace", decodeURIComponent(second)];
  return [["traces", "latency", "errors", "compare"].includes(first) ? first : "overview"];
}

export async function ask(path, params = {}) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const reply = await fetch(query.size ? `${path}?${query}` : path, { credentials: "same-origin", headers: { accept: "application/json" } });
  return read(reply);
}

export async function tell(path, body, csrf) {
  const reply = await fetch(path, { method: "POST", credentials: "same-origin", headers: { "content-type": "application/json", "x-csrf-token": csrf ?? "" }, body: JSON.stringify(body) });
  return read(reply);
}

async function read(reply) {
  let answer = {};
  try { answer = await reply.json(); } catch { /* told below by the status */ }
  if (!reply.ok) throw new Error(answer.error ?? `the server said ${reply.status}`);
  return answer;
}
