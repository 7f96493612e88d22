// One trace: the sentence, the waterfall with what each policy took, the tree of attempts, and all that the spans say.
import { badge, h, link, panel, s, show } from "./dom.js";
import { SEGMENTS, TONES, ms, percent, seconds, stamp, waited } from "./format.js";
import { shares, swatch } from "./charts.js";
import { question } from "./api.js";

export async function open(root, params, { id, go }) {
  const data = await question("trace", params, id);
  const one = data.summary;
  document.title = `${one.op} · ${one.outcome} · resilience`;
  let chosen = data.spans.findIndex((span) => span.span_id === params.get("span"));
  const side = h("div");
  const falls = data.spans.map((span, i) => fall(span, data, i));
  const pick = (i, focus) => {
    chosen = Math.max(0, Math.min(data.spans.length - 1, i));
    falls.forEach((element, at) => element.setAttribute("aria-pressed", String(at === chosen)));
    show(side, details(data.spans[chosen]));
    go(`/traces/${data.trace_id}?span=${data.spans[chosen].span_id}`, { replace: true, quiet: true });
    if (focus) falls[chosen].focus();
  };
  falls.forEach((element, i) => element.addEventListener("click", () => pick(i)));
  show(root,
    h("div", { class: "page-head" }, h("h1", {}, one.op, " ", badge(one.outcome, TONES[one.outcome])),
      h("p", {}, `${one.service} · ${one.pipeline || "no pipeline name"} · ${stamp(data.start)} · ${ms(data.duration_ms)} · kept because ${one.reason}`)),
    data.why ? h("p", { class: "why", id: "why" }, data.why) : null,
    panel("Where the time went", "of the whole call", h("div", { class: "body" }, shares(data.shares))),
    h("div", { class: "with-side" },
      h("div", { class: "grid" },
        panel("Waterfall", `${data.spans.length} spans; j and k step through them`, h("div", { class: "body" }, axis(data.duration_ms), h("div", { class: "waterfall", role: "group", "aria-label": "Spans in the order in which they began" }, falls), legend(data), table(data))),
        panel("Attempts", "what each led to", h("div", { class: "body" }, tree(data)))),
      side),
    h("div", { class: "actions-line" }, link(`/compare?a=${data.trace_id}`, "Compare with another"), h("a", { href: `/api/traces/${data.trace_id}/otlp`, download: `${data.trace_id}.json` }, "Export as OTLP JSON"), h("span", { class: "mono" }, data.trace_id)));
  pick(chosen < 0 ? Math.max(0, data.spans.findIndex((span) => span.role === "call")) : chosen);
  return { key(event) {
    if (event.key === "j") pick(chosen + 1, true);
    else if (event.key === "k") pick(chosen - 1, true);
    else if (event.key === "c") go(`/compare?a=${data.trace_id}`);
  } };
}

const tone = (span) => (span.lost ? "lost" : span.status === "error" ? "bad" : "");
function mark(span) {
  if (span.lost) return ["×", null, "lost: another attempt answered first, this one was cancelled"];
  if (span.status === "error") return ["!", "bad", span.error_type ?? "failed"];
  if (span.winner) return ["✓", "ok", "its answer won"];
  return span.role === "attempt" ? ["·", null, span.outcome ?? ""] : ["○", null, "call"];
}
function depth(span, data) {
  let level = 0, up = span.parent_id;
  const by = new Map(data.spans.map((other) => [other.span_id, other]));
  while (by.has(up) && level < 3) { level += 1; up = by.get(up).parent_id; }
  return level;
}

function fall(span, data) {
  const total = data.duration_ms || 1, x = (at) => `${(at / total) * 100}%`, w = (long) => `${Math.max(0.2, (long / total) * 100)}%`;
  const [sign, look, said] = mark(span);
  const before = span.wait_before;
  const critical = data.critical.filter(([id]) => id === span.span_id).map(([, from, to]) => s("rect", { class: "critical", x: x(from), y: 20, width: w(to - from), height: 2 }));
  const words = `${span.name}, ${said}, after ${ms(span.start_ms)}, ${ms(span.duration_ms)}${before ? `, ${waited(before)}` : ""}`;
  return h("button", { type: "button", class: "fall", "data-depth": depth(span, data), "aria-label": words },
    h("span", { class: "label" }, h("span", { class: "mark", "data-tone": span.attempt_kind === "hedge" && !look ? "hedge" : look, title: said }, span.number ?? sign), h("span", { class: "name", title: span.name }, span.name), span.attempt_kind && span.attempt_kind !== "original" ? badge(span.attempt_kind, span.attempt_kind === "hedge" ? "hedge" : "info") : null),
    s("svg", { "aria-hidden": "true" },
      s("rect", { class: "track", x: 0, y: 10, width: "100%", height: 1 }),
      before && s("line", { class: "wait", "data-why": before.why, x1: x(span.start_ms - before.seconds * 1000), x2: x(span.start_ms), y1: 11, y2: 11 }),
      s("rect", { class: "span", "data-tone": tone(span), x: x(span.start_ms), y: 4, width: w(span.duration_ms), height: 14, rx: 3 }),
      (span.segments ?? []).filter((part) => part.name !== "other").map((part) => s("rect", { "data-seg": part.name, x: x(part.start_ms), y: 4, width: w(part.duration_ms), height: 14 }, s("title", {}, `${SEGMENTS[part.name] ?? part.name} ${ms(part.duration_ms)}`))),
      span.status === "error" && s("rect", { class: "fell", x: x(span.start_ms + span.duration_ms), y: 2, width: 3, height: 18, transform: "translate(-3)" }),
      critical),
    h("span", { class: "took" }, ms(span.duration_ms)));
}

const axis = (total) => h("div", { class: "axis", "aria-hidden": "true" }, h("span"), h("span", { class: "ticks" }, [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", {}, ms(total * part)))), h("span"));
function legend(data) {
  const found = new Set(data.spans.flatMap((span) => [...(span.segments ?? []).map((part) => part.name), span.wait_before?.why].filter((name) => name && name !== "other" && name !== "transparent")));
  return h("ul", { class: "legend", "aria-label": "Colours" }, [...found].map((name) => h("li", {}, swatch(name), SEGMENTS[name] ?? name)), h("li", {}, s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { class: "critical", y: 4, width: 10, height: 2 })), "critical path"));
}

/** The same as the picture, in rows. */
function table(data) {
  return h("details", {}, h("summary", {}, "The same as a table"), h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Span", "Attempt", "Began after", "Took", "Waited before", "Outcome", "Parts"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, data.spans.map((span) => h("tr", {}, h("td", {}, span.name), h("td", {}, span.number ? `${span.number} (${span.attempt_kind})` : "–"), h("td", {}, ms(span.start_ms)), h("td", {}, ms(span.duration_ms)),
      h("td", {}, span.wait_before ? waited(span.wait_before) : "–"), h("td", {}, span.lost ? "lost" : span.error_type ?? span.outcome ?? span.status),
      h("td", {}, (span.segments ?? []).map((part) => `${SEGMENTS[part.name] ?? part.name} ${ms(part.duration_ms)}`).join(", "))))))));
}

/** Calls, and under each the attempts in their order, with what was decided between them. */
function tree(data) {
  const beneath = (id) => data.spans.filter((span) => span.parent_id === id);
  const known = new Set(data.spans.map((span) => span.span_id));
  const node = (span) => {
    const [sign, look, said] = mark(span), inside = beneath(span.span_id);
    return h("li", {}, h("div", {}, h("span", { class: "mark", "data-tone": look, "aria-hidden": "true" }, sign), h("b", {}, span.role === "attempt" ? `attempt ${span.number}` : span.name),
      span.attempt_kind && span.attempt_kind !== "original" ? badge(span.attempt_kind, span.attempt_kind === "hedge" ? "hedge" : "info") : null,
      h("span", {}, span.winner && span.role === "attempt" ? "won" : said), h("span", { class: "badge" }, ms(span.duration_ms)),
      span.wait_before ? h("span", { class: "badge" }, waited(span.wait_before)) : null,
      span.attributes["resilience.budget.balance"] !== undefined ? h("span", { class: "badge" }, `budget ${span.attributes["resilience.budget.balance"]}`) : null,
      span.stopped ? badge(`stopped: ${span.stopped}`, "warn") : null), inside.length ? h("ul", {}, inside.map(node)) : null);
  };
  return h("ul", { class: "tree" }, data.spans.filter((span) => !known.has(span.parent_id)).map(node));
}

function details(span) {
  const attributes = Object.entries(span.attributes).sort(([a], [b]) => a.localeCompare(b));
  return panel(span.name, span.role === "attempt" ? `attempt ${span.number}, ${ms(span.duration_ms)}` : ms(span.duration_ms), h("div", { class: "body" },
    h("dl", { class: "pairs" }, attributes.map(([key, value]) => [h("dt", {}, key.replace(/^resilience\./, "")), h("dd", {}, text(value))])),
    span.links.length ? h("div", {}, h("h3", {}, "Linked"), h("ul", {}, span.links.map((other) => h("li", {}, link(`/traces/${encodeURIComponent(other[0])}`, other[0], { class: "mono" }))))) : null));
}
const text = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(4) : String(value));
export const inWords = (data) => Object.entries(data.shares).map(([name, share]) => `${SEGMENTS[name] ?? name} ${percent(share, 0)}`).join(", ");
