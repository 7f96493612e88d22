// How things stand: the headline pair, operations, breakers, limits, pools.
import { badge, empty, h, link, panel, show } from "./dom.js";
import { STATES, ago, bytes, clock, count, ms, percent, readable, seconds, term } from "./format.js";
import { meter, ribbon, spark } from "./charts.js";
import { question, tell } from "./api.js";

export async function open(root, params, { snapshot: known }) {
  const head = h("div", { class: "page-head" }, h("h1", {}, "Overview"), h("p", { id: "subtitle" }, "waiting for the first numbers"));
  const body = h("div", { class: "grid" });
  show(root, head, body);
  document.title = "Overview · resilience";
  let sort = ["errors", -1], last = null;
  const draw = (snapshot) => {
    last = snapshot;
    head.lastChild.textContent = `${snapshot.processes.length} ${snapshot.processes.length === 1 ? "process" : "processes"}, the last 60 seconds`;
    show(body, ...refused(snapshot), headline(snapshot), operations(snapshot, sort, (column) => { sort = [column, sort[0] === column ? -sort[1] : -1]; draw(last); }),
      breakers(snapshot), h("div", { class: "grid columns" }, limits(snapshot), holders(snapshot)), footer(snapshot));
  };
  draw(known ?? await question("overview"));
  return { snapshot: draw };
}

// A configuration file that was read again and cannot be: what was in force stays so, and nobody may overlook it.
function refused({ config = [] }) {
  return config.filter((file) => file.state === "refused").map((file) =>
    h("p", { class: "notice", role: "alert" }, `${file.cause}. What was in force stays so (${ago(file.at)}).`));
}

function headline({ headline: now }) {
  const figure = (name, value, unit, note) => h("dl", { class: "panel figure" }, h("dt", {}, name), h("dd", {}, value, unit && h("small", {}, unit)), note && h("p", { class: "note" }, note));
  return h("section", { class: "grid headline", "aria-label": "Headline" },
    h("dl", { class: "panel figure pair" },
      h("div", {}, h("dt", {}, "Calls succeeded"), h("dd", { class: "lead" }, percent(now.effective)), h("p", { class: "note" }, "what your code saw")),
      h("div", {}, h("dt", {}, "Attempts succeeded"), h("dd", {}, percent(now.actual)), h("p", { class: "note" }, "what the exchange did"))),
    figure("Calls", count(now.rate), "/s", `${count(now.calls)} in 60 s`),
    figure("Attempts per call", now.attempts_per_call === null ? "–" : now.attempts_per_call.toFixed(2), "", "1.00 is no retry at all"),
    figure("Median", ms(now.p50_ms), "", `p90 ${ms(now.p90_ms)}`),
    figure("p99", ms(now.p99_ms), "", `p99.9 ${ms(now.p999_ms)}`),
    figure("Time in backoff", percent(now.backoff_share), "", "of all time in calls"));
}

// The present second is not over yet: the mean of the five before it.
const recent = (rate) => rate.slice(-6, -1).reduce((a, b) => a + b, 0) / Math.max(1, rate.slice(-6, -1).length);
const COLUMNS = [
  ["op", "Operation", (op) => op.op], ["rate", "Calls/s", (op) => recent(op.rate)], ["effective", "Calls ok", (op) => op.effective ?? 1], ["actual", "Attempts ok", (op) => op.actual ?? 1],
  ["retries", "Retries", (op) => op.attempts.retry], ["hedges", "Hedges", (op) => op.attempts.hedge], ["p50", "p50", (op) => op.p50_ms ?? 0], ["p99", "p99", (op) => op.p99_ms ?? 0], ["errors", "Errors", (op) => op.errors.reduce((a, b) => a + b, 0)],
];

function operations({ ops, since, store }, [column, direction], resort) {
  if (!ops.length) return panel("Operations", null, empty(store?.traces ? `No call since this dashboard began, at ${clock(since)}. ${count(store.traces)} earlier ones are under Traces.` : "No call yet. The first one appears here by itself."));
  const key = COLUMNS.find(([name]) => name === column)[2];
  const sorted = [...ops].sort((a, b) => { const x = key(a), y = key(b); return (x > y ? 1 : x < y ? -1 : 0) * direction || a.op.localeCompare(b.op); });
  return panel("Operations", `volume and errors over the last minute; retries and hedges since ${clock(since)}`,
    h("div", { class: "scroll" }, h("table", {},
      h("thead", {}, h("tr", {}, COLUMNS.map(([name, title], i) => h("th", { class: i ? "num" : null, scope: "col", "aria-sort": name === column ? (direction < 0 ? "descending" : "ascending") : "none" }, h("button", { type: "button", id: `sort-${name}`, onclick: () => resort(name) }, title))), h("th", { scope: "col" }, "Last minute"))),
      h("tbody", {}, sorted.map((op) => {
        const failed = op.errors.reduce((a, b) => a + b, 0);
        return h("tr", {},
          h("td", {}, link(`/traces?q=${encodeURIComponent(term("op", op.op))}`, op.op, { id: `op-${op.pipeline}-${op.op}` }), " ", h("span", { class: "badge" }, op.pipeline || "–")),
          h("td", { class: "num" }, count(recent(op.rate))), h("td", { class: "num" }, percent(op.effective)), h("td", { class: "num" }, percent(op.actual)),
          h("td", { class: "num" }, count(op.attempts.retry)), h("td", { class: "num" }, count(op.attempts.hedge)), h("td", { class: "num" }, ms(op.p50_ms)), h("td", { class: "num" }, ms(op.p99_ms)),
          h("td", { class: "num" }, failed ? badge(count(failed), "bad") : "0"),
          h("td", {}, spark(op.rate, op.errors, `Calls a second of ${op.op}, and errors`)));
      })))));
}

function breakers(snapshot) {
  const { breakers: all, controls, csrf, at } = snapshot;
  if (!all.length) return panel("Circuit breakers", null, empty("No circuit yet: one appears with its first call."));
  const rank = { open: 0, "forced open": 0, "half-open": 1, ramping: 1 };
  const sorted = [...all].sort((a, b) => (rank[a.state] ?? 2) - (rank[b.state] ?? 2) || b.failure_rate - a.failure_rate || a.key.localeCompare(b.key));
  const act = (action, one) => tell("/api/controls", { action, pipeline: one.pipeline, key: one.key }, csrf).catch((error) => alert(error.message));
  const open = all.filter((one) => STATES[one.state] === "bad").length;
  return h("section", { "aria-labelledby": "breakers" }, h("div", { class: "section-head" }, h("h2", { id: "breakers" }, "Circuit breakers"), h("p", {}, `${all.length} ${all.length === 1 ? "circuit" : "circuits"}, ${open ? `${open} open` : "none open"}`)), h("div", { class: "grid tiles" }, sorted.map((one) => h("article", { class: "panel tile", "data-tone": STATES[one.state] },
    h("header", {}, h("h3", { title: one.key }, one.key), badge(one.state, STATES[one.state])),
    h("p", { class: "sub" }, `${one.pipeline} · for ${seconds(one.since_s)}${one.next_probe_s === null ? "" : ` · next probe in ${seconds(one.next_probe_s)}`}`),
    ribbon(one.history, one.state, at),
    h("dl", {}, h("dt", {}, "failing"), h("dd", {}, percent(one.failure_rate)), h("dt", {}, "window"), h("dd", {}, `${count(one.window.calls)} calls${one.window.min_calls ? ` of at least ${one.window.min_calls}` : ""}`), h("dt", {}, "opened"), h("dd", {}, one.opens === 1 ? "once" : `${one.opens} times`)),
    one.history.length ? h("ul", { class: "history" }, one.history.slice(-3).reverse().map((change) => h("li", {}, h("b", {}, change.new), `${ago(change.at, at)}: ${change.cause}`))) : null,
    controls && h("div", { class: "actions" }, h("button", { type: "button", class: "danger", id: `isolate-${one.pipeline}-${one.key}`, onclick: () => act("isolate", one) }, "Isolate"), h("button", { type: "button", id: `close-${one.pipeline}-${one.key}`, onclick: () => act("close", one) }, "Close"))))));
}

function limits({ limits: all }) {
  return panel("Rate limits", "ours against what the server says", all.length ? h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, ["Limit", "Used", "Server left", "Waiting", "Empty in", "Paused"].map((name, i) => h("th", { scope: "col", class: i > 0 ? "num" : null }, name)))),
    h("tbody", {}, all.map((one) => h("tr", {}, h("td", { class: "named", title: one.name }, readable(one.name, one.rate), h("span", { class: "sub" }, one.rate)), h("td", { class: "num" }, `${count(one.used)} / ${count(one.limit)}`, meter(one.used / one.limit, `Used of ${readable(one.name, one.rate)}`)),
      h("td", { class: "num" }, one.server ? `${count(one.server.remaining)} / ${count(one.server.limit)}` : "–"), h("td", { class: "num" }, count(one.waiting)), h("td", { class: "num" }, seconds(one.empty_in_s)),
      h("td", { class: "num" }, one.paused_for_s ? badge(seconds(one.paused_for_s), "warn") : "–")))))) : empty("No rate limit in these pipelines."));
}

function holders({ bulkheads, pools, budgets, chaos, controls, csrf }) {
  const turn = (one) => tell("/api/controls", { action: "chaos", pipeline: one.pipeline, name: one.name, enabled: !one.enabled }, csrf).catch((error) => alert(error.message));
  const rows = [
    ...pools.map((one) => ["pool", one.name, `${count(one.active)} active, ${count(one.idle)} idle`, one.limit ? one.active / one.limit : null, `${percent(one.reuse, 0)} reused, opened ${count(one.opened)}, renewed ${count(one.renewed)}`, one.waiting]),
    ...bulkheads.map((one) => [one.kind === "adaptive" ? "adaptive limit" : "bulkhead", one.name, `${count(one.busy)} of ${count(one.limit)}`, one.busy / one.limit, `${count(one.refused)} refused`, one.waiting]),
    ...budgets.map((one) => ["retry budget", one.name, `${count(one.balance)} left`, one.limit ? 1 - one.balance / one.limit : null, `${count(one.spent)} granted, ${count(one.refused)} refused`, null]),
    ...chaos.map((one) => ["chaos", one.name, one.enabled ? `on, ${percent(one.rate, 0)}` : "off", one.enabled ? one.rate : 0, `${count(one.struck)} struck`, controls ? h("button", { type: "button", class: one.enabled ? null : "danger", id: `chaos-${one.pipeline}-${one.name}`, onclick: () => turn(one) }, one.enabled ? "Switch off" : "Switch on") : null]),
  ];
  return panel("Pools, bulkheads, budgets", null, rows.length ? h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, ["What", "In use", "Waiting"].map((name, i) => h("th", { scope: "col", class: i === 2 ? "num" : null }, name)))),
    h("tbody", {}, rows.map(([kind, name, use, share, note, waiting]) => h("tr", {}, h("td", { class: "named", title: name }, kind, name === kind ? null : [" ", h("span", { class: "badge" }, readable(name))], h("span", { class: "sub" }, note)), h("td", {}, use, share === null ? null : meter(share, `${kind} ${readable(name)} in use`)), h("td", { class: "num" }, waiting === null ? "" : waiting instanceof Node ? waiting : count(waiting))))))) : empty("None in these pipelines."));
}

function footer({ store, exporter, processes, version, since }) {
  return panel("Collected", `resilience ${version}`, h("dl", { class: "pairs body" },
    h("dt", {}, "traces kept"), h("dd", {}, `${count(store.traces)} (${count(store.spans)} spans, ${bytes(store.bytes)})`), h("dt", {}, "dropped"), h("dd", {}, `${count(store.dropped)} by the store`),
    exporter && [h("dt", {}, "sent on by OTLP"), h("dd", {}, `${count(exporter.exported)} spans, ${count(exporter.queued)} wait, ${count(exporter.failed)} were refused, ${count(exporter.dropped)} dropped`)],
    store.sqlite ? [h("dt", {}, "file"), h("dd", {}, `${store.sqlite} (${count(store.sqlite_dropped)} dropped)`)] : null,
    processes.map((one) => [h("dt", {}, one.service), h("dd", {}, `${one.instance}, ${count(one.spans)} spans since ${clock(since)}, ${ago(one.last_seen)}`)])));
}
