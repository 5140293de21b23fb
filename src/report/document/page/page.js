"use strict";
// Progressive enhancement: filter, zoom and tooltips. The page works without it.
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const root = document.documentElement;
  document.querySelectorAll(".script").forEach((element) => { element.hidden = false; });

  // The theme follows the system until the button is pressed. A page opened from a file may have no storage.
  const KEY = "xp-report-theme";
  const remember = (theme) => { try { localStorage.setItem(KEY, theme); } catch { /* not persisted */ } };
  const remembered = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const button = one("#theme");
  const isDark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    name();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  // The filter, by name and by result.
  const words = one("#filter"), result = one("#result"), shown = one("#shown");
  const parts = all("[data-unit]");
  const rows = parts.filter((part) => part.tagName === "TR");
  const filter = () => {
    const wanted = words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    for (const part of parts) {
      const unit = part.dataset.unit.toLowerCase();
      const fits = wanted.every((word) => unit.includes(word))
        && (!result.value || part.dataset.result === result.value);
      part.hidden = !fits;
    }
    const count = rows.filter((row) => !row.hidden).length;
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
  };
  words.addEventListener("input", filter);
  result.addEventListener("change", filter);
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      words.focus();
    } else if (event.key === "Escape" && event.target === words) {
      words.value = "";
      filter();
    }
  });

  // Zoom of the timeline, around its center.
  const timeline = one(".timeline");
  let zoom = 1;
  const set = (to) => {
    const middle = (timeline.scrollLeft + timeline.clientWidth / 2) / timeline.scrollWidth;
    zoom = Math.min(64, Math.max(1, to));
    one(".plot").style.setProperty("--zoom", zoom);
    timeline.scrollLeft = middle * timeline.scrollWidth - timeline.clientWidth / 2;
  };
  if (timeline) {
    one("#closer").addEventListener("click", () => set(zoom * 2));
    one("#farther").addEventListener("click", () => set(zoom / 2));
    one("#whole").addEventListener("click", () => set(1));
  }

  // Tooltips of bars, for pointer and keyboard.
  const tip = one("#tip");
  let current = null;
  const hide = () => { current = null; tip.hidden = true; };
  const show = (event) => {
    const bar = event.target.closest?.(".bar, .wait");
    if (!bar || !timeline.contains(bar)) return hide();
    current = bar;
    if (bar.title) {
      bar.dataset.tip = bar.title;
      bar.setAttribute("aria-description", bar.title);
      bar.removeAttribute("title");
    }
    tip.textContent = bar.dataset.tip ?? "";
    tip.hidden = false;
    place(bar);
  };
  const place = (bar) => {
    const box = bar.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const below = box.bottom + 8 + own.height < innerHeight;
    const left = Math.max(box.left, timeline.getBoundingClientRect().left);
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - own.width - 16))}px`;
    tip.style.top = `${below ? box.bottom + 8 : box.top - own.height - 8}px`;
  };
  if (timeline) {
    timeline.addEventListener("mouseover", show);
    timeline.addEventListener("mouseleave", hide);
    timeline.addEventListener("focusin", show);
    timeline.addEventListener("focusout", hide);
    // Keyboard focus scrolls its bar into view; keep the tooltip next to it.
    const follow = () => { if (current && current === document.activeElement) place(current); else hide(); };
    addEventListener("scroll", follow, { capture: true, passive: true });
    addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  }

  // A link to a log opens it, even if it is filtered out. Not all browsers open details by themselves.
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const log = target && target.closest("details.log");
    if (!log) return;
    log.hidden = false;
    log.open = true;
    // Scroll to the end of the log.
    const text = log.querySelector("pre");
    if (text) text.scrollTop = text.scrollHeight;
    target.scrollIntoView({ block: "nearest" });
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    // The same link again, after the log was closed.
    const link = event.target.closest?.("a[href^='#']");
    if (link && link.getAttribute("href") === location.hash) open();
  });
  open();

  // Copies the command next to the button. A page opened from a file may have no clipboard: then it is selected.
  const copy = async (button) => {
    const command = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      button.textContent = "Selected";
    }
  };
  for (const button of all(".copy")) button.addEventListener("click", () => copy(button));

  for (const time of all("time")) time.title = new Date(time.dateTime).toLocaleString();
})();
