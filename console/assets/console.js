// What the console does beyond its pages: everything works without it.
"use strict";
(() => {
  const cookie = (name) => document.cookie.split("; ").find((c) => c.startsWith(name + "="))?.slice(name.length + 1);

  // Times are shown in the zone of the person who looks: the server learns it from a cookie.
  const zone = encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
  const base = new URL(document.querySelector(".brand").href).pathname;
  if (cookie("userkit_console_zone") !== zone) {
    document.cookie = "userkit_console_zone=" + zone + ";path=" + base + ";max-age=31536000;samesite=lax";
    if (cookie("userkit_console_zone") === zone && !document.querySelector("form[data-typed]")) location.reload();
  }

  // Dialogs that a page opens are modal where there is JavaScript.
  const openDialogs = (root) => {
    for (const dialog of root.querySelectorAll("dialog[data-modal]")) {
      if (dialog.matches(":modal")) continue;
      dialog.removeAttribute("open");
      dialog.showModal();
      (dialog.querySelector("[aria-invalid], [autofocus]") || dialog.querySelector("input:not([type=hidden], [type=checkbox]), select, textarea, button:not([tabindex])"))?.focus();
    }
  };
  const closeDialogs = () => {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  };
  document.addEventListener("cancel", (event) => { // Escape is the cross in the corner
    const cross = event.target.querySelector?.("a.close");
    if (cross) { event.preventDefault(); cross.click(); }
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.matches?.("dialog[data-modal]")) {
      const box = event.target.getBoundingClientRect();
      if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) event.target.querySelector("a.close")?.click();
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    const opened = event.target.closest?.("a.plus");
    if (opened) current = recordOf(opened.closest("tr"));
    const copy = event.target.closest?.("[data-copy]");
    if (copy) {
      navigator.clipboard?.writeText(copy.dataset.copy);
      copy.setAttribute("data-copied", "");
    }
    const all = event.target.closest?.("input[data-all]");
    if (all) for (const box of document.querySelectorAll('input[name="' + all.dataset.all + '"]')) box.checked = all.checked;
  });

  // What there is no room for is shown in whole on hover.
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest?.("td, .connected > *, .crumbs > *, .results a, .chip");
    if (!cell || cell.title || cell.querySelector("[title]")) return;
    if ([cell, ...cell.querySelectorAll("*")].some((part) => part.scrollWidth > part.clientWidth && getComputedStyle(part).textOverflow === "ellipsis")) cell.title = cell.innerText;
  });

  // The row that the keyboard has come to, or whose details were opened since, stays current when
  // a table is replaced: what comes from the server knows only which details are open.
  const rows = () => [...document.querySelectorAll("main tbody tr[data-row]")];
  const recordOf = (row) => row.id || row.querySelector("a[data-open]")?.getAttribute("href");
  let current, focused = false; // the record of that row, and whether the focus is in it
  const keepRow = () => {
    const row = current && rows().find((row) => recordOf(row) === current);
    if (!row) return;
    for (const other of document.querySelectorAll("tr.current")) other.classList.remove("current");
    row.classList.add("current");
    if (focused && document.activeElement === document.body) row.querySelector("a[data-open]")?.focus({ preventScroll: true });
  };

  let path = location.pathname;
  document.addEventListener("htmx:before:swap", (event) => {
    focused = !!document.activeElement?.closest("tr.current");
    if ((event.detail?.ctx?.target || document.body) === document.body) closeDialogs();
  });
  const swapped = () => {
    openDialogs(document);
    if (location.pathname === path) keepRow();
    else {
      path = location.pathname;
      current = undefined;
      scrollTo(0, 0);
      for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    }
  };
  document.addEventListener("htmx:after:settle", swapped);
  document.addEventListener("htmx:after:swap", swapped);
  document.addEventListener("htmx:after:history:push", () => queueMicrotask(swapped));

  // A table has hundreds of links. One listener follows them all: htmx would give each a listener
  // and a mark of its own, which takes longer than everything else that a click does.
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link?.closest('[hx-boost\\:inherited="false"]') || event.defaultPrevented || !window.htmx) return;
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (link.target || link.hasAttribute("download") || link.origin !== location.origin || link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    htmx.ajax("GET", link.href, { target: document.body, swap: "innerMorph", push: "true", headers: { "HX-Boosted": "true" } });
  });

  // The keyboard: Ctrl-K and / search, j and k go through a table, Enter opens the row.
  const open = (selector) => { const link = document.querySelector(selector); if (link) { link.click(); return true; } return false; };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      const find = document.getElementById("find");
      find.focus();
      find.select();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea") || document.querySelector("dialog:modal")) {
      if (event.key === "Escape" && event.target.id === "find") event.target.blur();
      return;
    }
    if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    if (event.key === "/") {
      event.preventDefault();
      (document.getElementById("search") || document.getElementById("find")).focus();
    } else if (event.key === "j" || event.key === "k") {
      const all = rows();
      if (!all.length) return;
      const at = all.findIndex((row) => row.classList.contains("current"));
      const to = Math.max(0, Math.min(all.length - 1, at + (event.key === "j" ? 1 : -1)));
      all[at]?.classList.remove("current");
      all[to].classList.add("current");
      current = recordOf(all[to]);
      all[to].querySelector("a[data-open]")?.focus({ preventScroll: true });
      all[to].scrollIntoView({ block: "nearest" });
    } else if (event.key === "n") open("[data-key=n]");
    else if (event.key === "e") open("[data-key=e]");
    else if (event.key === "x") document.querySelector("tr.current input[type=checkbox]")?.click();
  });

  // The traffic per day. It makes itself whenever it comes into the page, since htmx
  // replaces the page when a person goes back.
  const sizes = ["B", "kB", "MB", "GB", "TB", "PB"];
  const readable = (bytes) => {
    let unit = 0;
    while (bytes >= 999.5 && unit < sizes.length - 1) { bytes /= 1000; unit++; }
    return (bytes >= 99.95 || unit === 0 ? bytes.toFixed(0) : bytes.toFixed(1).replace(/\.0$/, "")) + " " + sizes[unit];
  };
  class TrafficPlot extends HTMLElement {
    connectedCallback() {
      queueMicrotask(() => this.draw());
      this.watch = new ResizeObserver(() => this.plot?.setSize({ width: this.clientWidth, height: 220 }));
      this.watch.observe(this);
      this.scheme = matchMedia("(prefers-color-scheme: dark)");
      this.redraw = () => this.draw();
      this.scheme.addEventListener("change", this.redraw);
    }
    disconnectedCallback() {
      this.watch?.disconnect();
      this.scheme?.removeEventListener("change", this.redraw);
      this.plot?.destroy();
      this.plot = null;
    }
    static observedAttributes = ["data-points"];
    attributeChangedCallback() { if (this.plot) this.draw(); }
    draw() {
      if (!this.isConnected || !this.dataset.points || !window.uPlot) return;
      this.plot?.destroy();
      const { days, received, sent } = JSON.parse(this.dataset.points);
      const probe = (name) => {
        const element = document.createElement("span");
        element.style.color = "var(" + name + ")";
        this.append(element);
        const colour = getComputedStyle(element).color;
        element.remove();
        return colour;
      };
      const muted = probe("--muted"), line = probe("--line"), accent = probe("--accent"), good = probe("--good");
      const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
      const dayOf = (ts) => new Date(ts * 1000).toISOString().slice(0, 10);
      const bars = uPlot.paths.bars({ size: [0.7, 40], radius: 0.15 });
      this.plot = new uPlot({
        width: this.clientWidth, height: 220, tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
        cursor: { y: false }, scales: { x: { time: true, range: (_, low, high) => [low - 43200, high + 43200] }, y: { range: (_, low, high) => [0, high || 1] } },
        axes: [{ ...axis, space: 90, incrs: [1, 2, 7, 14, 28, 91, 182, 364].map((n) => n * 86400), values: (_, ticks) => ticks.map(dayOf) }, { ...axis, size: 70, values: (_, ticks) => ticks.map(readable) }],
        series: [
          { label: this.dataset.day, value: (_, ts) => ts == null ? "–" : dayOf(ts) },
          { label: this.dataset.received, stroke: accent, fill: accent, width: 0, paths: bars, points: { show: false }, value: (_, n, __, i) => n == null ? "–" : readable(received[i]) },
          { label: this.dataset.sent, stroke: good, fill: good, width: 0, paths: bars, points: { show: false }, value: (_, n) => n == null ? "–" : readable(n) },
        ],
      }, [days, received.map((n, i) => n + sent[i]), sent], this);
    }
  }
  customElements.define("traffic-plot", TrafficPlot);

  // The time that a connection to a user has left. When it is over, the page says so.
  class TimeLeft extends HTMLElement {
    static observedAttributes = ["data-seconds"];
    connectedCallback() {
      this.tick();
      this.timer = setInterval(() => this.tick(), 1000);
    }
    disconnectedCallback() { clearInterval(this.timer); }
    attributeChangedCallback() {
      this.end = Date.now() + 1000 * this.dataset.seconds;
      if (this.isConnected) this.tick();
    }
    tick() {
      const left = Math.max(0, Math.ceil((this.end - Date.now()) / 1000));
      const two = (number) => String(number).padStart(2, "0");
      const minutes = Math.floor(left / 60);
      this.textContent = (left < 3600 ? minutes : Math.floor(minutes / 60) + ":" + two(minutes % 60)) + ":" + two(left % 60);
      if (left === 0) {
        clearInterval(this.timer);
        setTimeout(() => { if (this.isConnected) location.reload(); }, 1000);
      }
    }
  }
  customElements.define("time-left", TimeLeft);

  // What was typed is not thrown away without a word.
  document.addEventListener("input", (event) => event.target.closest?.("form[data-keep]")?.setAttribute("data-typed", ""));
  document.addEventListener("submit", (event) => event.target.removeAttribute("data-typed"));
  addEventListener("beforeunload", (event) => { if (document.querySelector("form[data-typed]")) event.preventDefault(); });

  // Where the pages do not fit side by side, the one that is open is in sight.
  const showWhere = () => {
    for (const open of document.querySelectorAll(".nav[aria-current], .tabs [aria-current]")) open.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const start = () => { openDialogs(document); showWhere(); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
