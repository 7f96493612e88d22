// What an accessibility checker would find fault with; the texts say where.
() => {
  const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
  const named = (e) => (e.getAttribute("aria-label") || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent || e.labels?.[0]?.textContent || e.innerText || e.textContent || e.title || "").trim() || [...e.querySelectorAll("img")].some((i) => i.alt);
  for (const e of all("a, button, input, select, dialog, [role=meter], [role=img], nav, section")) if (!named(e) && e.id !== "keys") wrong.push("no name: " + e.outerHTML.slice(0, 90));
  if (all("h1").length !== 1) wrong.push(`${all("h1").length} first headings`);
  let level = 0;
  for (const e of all("h1, h2, h3, h4")) { const now = Number(e.tagName[1]); if (now > level + 1) wrong.push(`heading ${now} after ${level}: ${e.textContent}`); level = now; }
  for (const e of all("img")) if (e.getAttribute("alt") === null) wrong.push("no alt");
  for (const e of all("svg")) if (!e.closest("[aria-hidden=true]") && !e.getAttribute("aria-label")) wrong.push("a picture without words: " + e.outerHTML.slice(0, 90));
  for (const e of all("th")) if (!e.scope) wrong.push("no scope: " + e.textContent);
  for (const e of all("table")) if (!e.tHead) wrong.push("a table without a head");
  const ids = all("[id]").map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("twice: " + id);
  if (all("main").length !== 1 || !document.documentElement.lang) wrong.push("no main or no language");
  if (all("[tabindex]").some((e) => e.tabIndex > 0)) wrong.push("an order of its own");
  return wrong;
}
