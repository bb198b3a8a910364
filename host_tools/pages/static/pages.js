// Small helps; every page works without them.
"use strict";

// What changed since the page was made replaces its part of it.
const live = document.querySelector("[data-live]");
if (live) {
  const stream = new EventSource(live.dataset.live);
  stream.onmessage = (event) => {
    const { parts, dots } = JSON.parse(event.data);
    for (const [id, html] of Object.entries(parts)) {
      const old = document.getElementById(id);
      if (!old) continue;
      const focused = old === document.activeElement;
      old.outerHTML = html;
      if (focused) document.getElementById(id).focus();
    }
    for (const [id, its] of Object.entries(dots)) {
      document.getElementById(id)?.setAttribute("class", its);
    }
  };
  const sign = document.getElementById("stale");
  stream.onerror = () => { sign.hidden = false; };
  stream.onopen = () => { sign.hidden = true; };
}

// "/" leads to the search.
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("q");
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "/" && search && !typing) {
    event.preventDefault();
    search.focus();
  }
});

// A filter takes effect at once.
for (const select of document.querySelectorAll("form.filters select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
