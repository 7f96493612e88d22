// Numbers and times as people read them.

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value >= 60000) return `${(value / 60000).toFixed(1)} min`;
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10000 ? 1 : 2)} s`;
  if (value >= 10) return `${value.toFixed(0)} ms`;
  return value >= 1 ? `${value.toFixed(1)} ms` : `${(value * 1000).toFixed(0)} µs`;
}
export const seconds = (value) => (value === null || value === undefined ? "–" : ms(value * 1000));
export function percent(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  const shown = value * 100;
  return `${shown > 99.9 && shown < 100 ? shown.toFixed(2) : shown.toFixed(shown === 100 ? 0 : digits)} %`;
}
export function count(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}
// Not by Intl: to load its rules takes a tenth of what a page may.
const two = (value) => String(value).padStart(2, "0");
export function clock(epoch) {
  if (!epoch) return "–";
  const at = new Date(epoch);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}
export const stamp = (epoch) => `${clock(epoch)}.${String(Math.floor(epoch) % 1000).padStart(3, "0")}`;
export function ago(epoch, now = Date.now()) {
  const passed = Math.max(0, now - epoch) / 1000;
  if (passed < 2) return "now";
  if (passed < 120) return `${passed.toFixed(0)} s ago`;
  return passed < 7200 ? `${(passed / 60).toFixed(0)} min ago` : `${(passed / 3600).toFixed(1)} h ago`;
}
export const bytes = (value) => (value >= 1 << 20 ? `${(value / (1 << 20)).toFixed(1)} MB` : `${(value / 1024).toFixed(0)} kB`);

/** The name of something that is shared, without what the core adds to keep names apart: `rate_limit:bybit/ip/600/5s ip`. */
export function readable(name, rate = "") {
  let plain = name.replace(/^[a-z_]+:/, "");
  plain = rate ? plain.replace(`/${rate}`, "") : plain.replace(/\/[\d.]+( or |\/).*$/, "");
  const parts = plain.split(" ").flatMap((part, i) => (i ? [part.replace(/^op:/, "")] : part.split("/")));
  return parts.filter((part, i) => part && part !== parts[i - 1]).join(" · ") || name;
}

/** A term of the filter language that holds for this very value (or, where that has a quote in it, for its beginning). */
export function term(field, value) {
  const said = String(value), quote = said.indexOf('"');
  if (quote >= 0) return `${field}:"${said.slice(0, quote)}*"`;
  return `${field}:${/^[\w./-]+$/.test(said) ? said : `"${said}"`}`;
}

/** What passed before an attempt began, in words. */
export const waited = ({ why, seconds: long }) => (why === "transparent" ? SEGMENTS.transparent : `after ${seconds(long)} of ${SEGMENTS[why] ?? why}`);

export const TONES = { ok: "ok", rejected: "info", throttled: "warn", failed: "bad", unknown: "bad", refused: "warn", cancelled: undefined };
export const STATES = { closed: "ok", open: "bad", "half-open": "warn", "forced open": "bad", ramping: "warn" };
export const SEGMENTS = {
  backoff: "backoff", retry_after: "ordered wait", limiter: "rate limit", queue: "bulkhead queue", pool: "pool", connection: "free connection",
  dns: "DNS", connect: "connect", tls: "TLS", first_byte: "first byte", body: "body", network: "network", transparent: "sent again at once", other: "other",
};
