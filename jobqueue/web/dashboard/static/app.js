"use strict";
// Keys, local times, light and dark, and the refresh of what is visible. Pages work without it.
(() => {
  const REFRESH_MS = 5000;
  const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* private */ } };
  const root = document.documentElement;

  // --- light and dark, before anything is painted
  const THEMES = ["system", "light", "dark"];
  let theme = THEMES.includes(stored("jobqueue-theme")) ? stored("jobqueue-theme") : "system";
  const setTheme = () => {
    if (theme === "system") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
  };
  setTheme();

  // --- times: local, or UTC at choice
  let utc = stored("jobqueue-zone") === "utc";
  const formats = {};
  const format = () => formats[utc] ??= new Intl.DateTimeFormat(undefined, {
    year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit",
    second: "2-digit", hourCycle: "h23", timeZoneName: "short", timeZone: utc ? "UTC" : undefined,
  });
  const localize = () => {
    for (const element of document.querySelectorAll("time[datetime]")) {
      const moment = new Date(element.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      const text = format().format(moment);
      element.title = text;
      if (element.className === "at") element.textContent = text;
    }
  };

  // --- refresh of what is visible, unless somebody is at it
  const isBusy = () => {
    const selection = document.getSelection();
    const active = document.activeElement;
    return document.hidden
      || document.querySelector("dialog[open], #live details.confirm[open], #live .pick :checked")
      || (selection && !selection.isCollapsed)
      || (active && active.closest("#live") && active.matches("input:not(.pick input), select, textarea"));
  };
  let failures = 0;
  const refresh = () => {
    const live = document.getElementById("live");
    const state = document.getElementById("live-state");
    if (!live || !window.htmx || isBusy()) return;
    window.htmx.trigger(live, "refresh");
    if (state && failures > 1) state.textContent = "The server does not answer; this may be old.";
  };

  // --- the page of a job follows it: each event is a reason to refresh, at most one a second
  let soon = 0;
  const refreshSoon = () => { soon ||= setTimeout(() => { soon = 0; refresh(); }, 1000); };
  const follow = () => {
    const url = document.querySelector("#live [data-events]")?.dataset.events;
    if (!url || !window.EventSource) return;
    const source = new EventSource(url);
    source.addEventListener("progress", refreshSoon);
    for (const end of ["finished", "gone"]) {
      source.addEventListener(end, () => { source.close(); refreshSoon(); });
    }
    addEventListener("pagehide", () => source.close());
  };

  // --- rows: which are selected, and the one that has the focus
  const boxes = () => [...document.querySelectorAll("#live tbody .pick input")];
  const count = () => {
    const number = boxes().filter((box) => box.checked).length;
    const page = document.getElementById("select-page");
    const said = document.getElementById("selected");
    if (page) { page.hidden = false; page.checked = number > 0 && number === boxes().length; }
    if (said) said.textContent = number ? `The ${number} selected` : "The selected";
  };
  const selecting = (event) => {
    if (!event.target.matches(".pick input")) return;
    if (event.target.id === "select-page") boxes().forEach((box) => { box.checked = event.target.checked; });
    const some = document.querySelector('#change [name="of"][value="selected"]');
    if (some) some.checked = true;
    count();
  };
  const rowKeys = {
    j: (rows, place) => rows[Math.min(place + 1, rows.length - 1)].querySelector("a").focus(),
    k: (rows, place) => rows[Math.max(place - 1, 0)].querySelector("a").focus(),
    x: (rows, place) => rows[place]?.querySelector(".pick input")?.click(),
    r: (rows, place) => {
      if (!boxes().some((box) => box.checked)) rowKeys.x(rows, place);
      document.querySelector('#change button[value="retry"]')?.click();
    },
  };
  const takeRowKey = (event) => {
    const rows = [...document.querySelectorAll("#live table.rows tbody tr")].filter((row) => row.querySelector("a"));
    if (!rows.length || !Object.hasOwn(rowKeys, event.key)) return;
    event.preventDefault();
    rowKeys[event.key](rows, rows.indexOf(document.activeElement.closest("tr")));
  };

  document.addEventListener("DOMContentLoaded", () => {
    localize();
    count();
    follow();
    document.addEventListener("change", selecting);
    // htmx keeps the address there, and a query may have arguments in it.
    try { sessionStorage.removeItem("htmx-current-path-for-history"); } catch { /* private */ }
    const zone = document.getElementById("zone");
    const themeButton = document.getElementById("theme");
    const label = () => {
      zone.textContent = utc ? "UTC" : "Local time";
      themeButton.textContent = { system: "Auto", light: "Light", dark: "Dark" }[theme];
      themeButton.setAttribute("aria-label", `Colours: ${themeButton.textContent}`);
      zone.setAttribute("aria-label", `Times: ${zone.textContent}`);
    };
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = !navigator.clipboard;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.previousElementSibling.textContent);
        button.textContent = "Copied";
      });
    }
    label();
    zone.hidden = themeButton.hidden = false;
    zone.addEventListener("click", () => {
      utc = !utc; store("jobqueue-zone", utc ? "utc" : "local"); label(); localize();
    });
    themeButton.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      store("jobqueue-theme", theme); setTheme(); label();
    });
    // What a form has done is said once, and not again by a reload.
    const here = new URL(location.href);
    if (here.searchParams.has("said")) {
      for (const name of ["said", "id", "key"]) here.searchParams.delete(name);
      if (!here.pathname.endsWith("/class")) here.searchParams.delete("name");
      history.replaceState(null, "", here);
      const live = document.getElementById("live");
      if (live) { live.setAttribute("hx-get", here.pathname + here.search); window.htmx?.process(live); }
    }
    setInterval(refresh, REFRESH_MS);
    document.addEventListener("visibilitychange", refresh);
    // What somebody has opened stays open.
    if (window.Idiomorph) {
      window.Idiomorph.defaults.callbacks.beforeAttributeUpdated =
        (name, element) => !(name === "open" && element.matches("details"));
    }
    document.body.addEventListener("htmx:afterSwap", () => { localize(); count(); });
    document.body.addEventListener("htmx:afterRequest", (event) => {
      failures = event.detail.successful ? 0 : failures + 1;
      const state = document.getElementById("live-state");
      if (state && !failures) state.textContent = "";
    });
  });

  // --- keys
  let afterG = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not(.pick input), textarea, select, dialog")) return;
    const keys = document.getElementById("keys");
    if (event.key === "?") { event.preventDefault(); keys.showModal(); return; }
    if (event.key === "/") {
      event.preventDefault();
      const field = document.getElementById("q");
      if (field) { field.focus(); field.select(); return; }
      const jobs = document.querySelector('nav a[data-key="j"]');
      if (jobs) location.assign(`${jobs.href}#q`);
      return;
    }
    if (event.key === "g") { afterG = Date.now(); return; }
    if (Date.now() - afterG < 1500) {
      afterG = 0;
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.assign(link.href); return; }
    }
    takeRowKey(event);
  });
  addEventListener("load", () => { if (location.hash === "#q") document.getElementById("q")?.focus(); });
})();
