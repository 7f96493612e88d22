// The list of kept calls: filtered by what stands in the address, followed live until somebody pauses it.
import { badge, empty, h, link, settled, show } from "./dom.js";
import { TONES, ms, percent, stamp } from "./format.js";
import { ask, question } from "./api.js";

const QUICK = [["retried", "reason:retried"], ["hedged", "reason:hedged"], ["failed", "outcome:failed"], ["refused", "outcome:refused"], ["timeouts", "error:timeout"], ["slow", "reason:slow"]];
const MOST = 200;

export async function open(root, params, { go }) {
  document.title = "Traces · resilience";
  let filter = params.get("q") ?? "", paused = false, held = 0, chosen = "", rows = [], next = null;
  const field = h("input", { type: "search", id: "filter", "aria-label": "Filter", placeholder: "op:ticker outcome:failed duration>500 attempts>1", value: filter, autocomplete: "off", spellcheck: "false" });
  const follow = h("button", { type: "button", id: "follow", "aria-pressed": "true", onclick: () => pause(!paused) }, "Following");
  const problem = h("p", { class: "notice", role: "alert", hidden: true });
  const matched = h("p", { role: "status", "aria-live": "polite" });
  const list = h("tbody");
  const more = h("button", { type: "button", onclick: older }, "Older");
  const different = h("details", {}, h("summary", {}, "What is different about these calls?"), h("div", { class: "body" }));
  different.addEventListener("toggle", () => different.open && bubble());
  show(root,
    h("div", { class: "page-head" }, h("h1", {}, "Traces"), matched),
    h("form", { class: "filter", role: "search", onsubmit: (event) => { event.preventDefault(); apply(field.value.trim()); } },
      h("div", { class: "grow" }, field), h("button", {}, "Filter"), follow,
      h("div", { class: "chips", role: "group", "aria-label": "Common filters" }, QUICK.map(([name, term]) => h("button", { type: "button", "aria-pressed": String(filter.split(" ").includes(term)), onclick: () => toggle(term) }, name)))),
    problem,
    h("section", { class: "panel", "aria-label": "Calls" }, h("div", { class: "scroll" }, h("table", { class: "trace-list" },
      h("thead", {}, h("tr", {}, ["Began", "Operation", "Outcome", "Attempts", "Took", "Why"].map((name, i) => h("th", { scope: "col", class: i === 3 || i === 4 ? "num" : null }, name)))), list))),
    h("div", { class: "filter" }, more), different);

  function apply(text) { go(text ? `/traces?q=${encodeURIComponent(text)}` : "/traces"); }
  function toggle(term) { const terms = filter.split(" ").filter(Boolean); apply((terms.includes(term) ? terms.filter((one) => one !== term) : [...terms, term]).join(" ")); }
  function pause(value) { paused = value; follow.setAttribute("aria-pressed", String(!paused)); if (!paused) { held = 0; load(); } label(); }
  function label() { follow.textContent = paused ? (held ? `Paused, ${held} new` : "Paused") : "Following"; }

  function row(one, fresh) {
    return h("tr", { class: fresh ? "row-new" : null, "data-href": `/traces/${one.trace_id}`, onclick: (event) => { if (!event.target.closest("a")) go(`/traces/${one.trace_id}`); } },
      h("td", {}, link(`/traces/${one.trace_id}`, stamp(one.start), { class: "mono", id: `row-${one.trace_id}` })), h("td", {}, one.op, " ", h("span", { class: "badge" }, one.pipeline || one.service)),
      h("td", {}, badge(one.outcome, TONES[one.outcome]), one.error_type && one.outcome !== "ok" ? [" ", h("span", { class: "mono" }, one.error_type)] : null),
      h("td", { class: "num" }, one.attempts), h("td", { class: "num" }, ms(one.duration_ms)), h("td", { class: "wide" }, one.why || one.reason));
  }
  function draw(fresh = 0) {
    show(list, rows.length ? rows.map((one, i) => row(one, i < fresh)) : h("tr", {}, h("td", { colspan: 6 }, empty(filter ? "No kept call matches. Clean calls are kept in samples only." : "No call was kept yet. Every retried, hedged, refused, failed or slow one will be."))));
    more.hidden = !next;
  }
  async function load() {
    problem.hidden = true;
    try {
      const answer = await question("traces", params);
      [rows, next] = [answer.traces, answer.next];
      matched.textContent = `${answer.matched} kept calls, found in ${answer.took_ms.toFixed(1)} ms`;
    } catch (error) {
      [rows, next] = [[], null];
      problem.textContent = error.message;
      problem.hidden = false;
    }
    draw();
  }
  async function older() { const answer = await ask("/api/traces", { q: filter, since: params.get("since"), limit: 100, before: next }); rows = [...rows, ...answer.traces]; next = answer.next; draw(); }
  async function bubble() {
    const found = await ask("/api/bubble", { q: filter });
    show(different.lastChild, found.selected && found.others ? h("table", {}, h("caption", {}, `${found.selected} selected against ${found.others} others`),
      h("thead", {}, h("tr", {}, ["Attribute", "Value", "Selected", "Others"].map((name, i) => h("th", { scope: "col", class: i > 1 ? "num" : null }, name)))),
      h("tbody", {}, found.attributes.slice(0, 20).map((one) => h("tr", {}, h("td", {}, one.key), h("td", { class: "mono" }, String(one.value)), h("td", { class: "num" }, percent(one.selected_share, 0)), h("td", { class: "num" }, percent(one.other_share, 0)))))) : empty("Filter first: then this compares the calls that match with those that do not."));
  }
  function choose(step) {
    const at = rows.findIndex((one) => one.trace_id === chosen);
    const one = rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? 0 : at + step))];
    chosen = one?.trace_id ?? "";
    document.getElementById(`row-${chosen}`)?.focus();
  }

  let waiting = null;
  await load();
  return {
    trace() {
      if (paused) { held += 1; label(); return; }
      waiting ??= setTimeout(async () => { waiting = null; const before = new Set(rows.map((one) => one.trace_id)); await settled(); await load(); const fresh = rows.findIndex((one) => before.has(one.trace_id)); draw(fresh < 0 ? Math.min(rows.length, MOST) : fresh); }, 500);
    },
    key(event) {
      if (event.key === "j") choose(1);
      else if (event.key === "k") choose(-1);
      else if (event.key === "p") pause(!paused);
    },
    close() { clearTimeout(waiting); },
  };
}
