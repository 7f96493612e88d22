// Questions to this server, and to no other.

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
