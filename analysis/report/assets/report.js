// What the page does beyond showing text: policies as tabs, figures, tables that sort and search, histograms.
"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("script");

  // ---- figures -------------------------------------------------------------------------------------------------
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const drawn = new Set();
  const theme = () => ({
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("--ink") },
    hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
  });
  const axes = (layout) => Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));

  // Names of nodes are in the page once; traces say by which field to look them up.
  function named(trace) {
    const field = trace.meta && trace.meta.label;
    if (!field) return trace;
    const name = (at) => (at === null || at === undefined ? "" : data.labels[at]);
    const deep = (value) => (Array.isArray(value) ? value.map(deep) : name(value));
    return { ...trace, text: deep(trace[field]) };
  }

  function draw(element, figure) {
    const layout = { ...figure.layout, ...theme() };
    for (const key of axes(layout)) {
      layout[key] = { gridcolor: colour("--grid"), linecolor: colour("--line"), ...layout[key] };
    }
    // Plotly would offer to upload the figure to its makers; a report leaves the reader's machine by nobody's hand.
    const options = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
      modeBarButtonsToRemove: ["select2d", "lasso2d"] };
    drawn.add(element);
    return Plotly.react(element, figure.data.map(named), layout, options);
  }

  function drawVisible() {
    if (!window.Plotly) return;
    for (const element of all(".plot[id]")) {
      const figure = data.figures[element.id];
      if (figure && !drawn.has(element) && element.offsetParent !== null) draw(element, figure);
    }
  }

  function repaint() {
    for (const element of drawn) {
      if (!element.isConnected) { drawn.delete(element); continue; }
      const change = { ...theme() };
      for (const key of axes(element.layout)) {
        change[`${key}.gridcolor`] = colour("--grid");
        change[`${key}.linecolor`] = colour("--line");
      }
      Plotly.relayout(element, change);
    }
  }

  async function loadPlotly() {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }

  function withoutFigures(reason) {
    for (const element of all(".plot")) element.textContent = `This figure cannot be drawn here: ${reason}.`;
    root.dataset.figures = "none";
  }

  for (const button of all("[data-view]")) {
    const { views } = data.figures[button.dataset.plot].layout.meta;
    button.setAttribute("aria-pressed", String(views.first === button.dataset.view));
  }
  for (const button of all("[data-plot]")) {
    button.addEventListener("click", () => {
      const element = document.getElementById(button.dataset.plot);
      if (!drawn.has(element)) return;
      for (const other of all(`[data-plot="${CSS.escape(button.dataset.plot)}"]`)) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      const { view, group } = button.dataset;
      if (view) Plotly.relayout(element, { "yaxis.range": data.figures[element.id].layout.meta.views[view] });
      else Plotly.restyle(element, { visible: element.data.map((trace) => trace.meta.group === group) });
    });
  }

  // ---- policies ------------------------------------------------------------------------------------------------
  const runs = all(".run");
  const tabs = all("[role=tab]");
  function show(index, focus) {
    runs.forEach((run, at) => { run.hidden = at !== index; });
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
    if (focus) tabs[index].focus();
    drawVisible();
  }
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => show(index));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show((index + step + tabs.length) % tabs.length, true);
    });
  });

  // ---- tables --------------------------------------------------------------------------------------------------
  // A dash (nothing) sorts last whichever way; infinities and NaN, the worst there is, sort as largest.
  function key(cell, numeric) {
    const text = cell.textContent.trim().replaceAll("\u2212", "-");
    if (text === "\u2013") return null;
    if (!numeric) return text.toLowerCase();
    if (text === "NaN") return Number.MAX_VALUE;
    if (/inf$/.test(text)) return text.startsWith("-") ? -Infinity : 1.7e308;
    const power = /^2([+-][\d.]+)$/.exec(text);
    return power ? Number(power[1]) : Number.parseFloat(text.replace(/^%/, ""));
  }

  function sort(table, column, head) {
    const falling = head.getAttribute("aria-sort") === (head.classList.contains("n") ? null : "ascending")
      || (head.classList.contains("n") && head.getAttribute("aria-sort") !== "descending");
    for (const other of all("th", table.tHead)) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    close(table);
    const body = table.tBodies[0];
    const sign = falling ? -1 : 1;
    const rows = [...body.rows].map((row, at) => [key(row.cells[column], head.classList.contains("n")), at, row]);
    rows.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      return sign * (a > b ? 1 : a < b ? -1 : 0) || i - j;
    });
    body.append(...rows.map(([, , row]) => row));
  }

  for (const table of all("table.sort")) {
    all("th", table.tHead).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
  }

  function search(input) {
    const holder = document.getElementById(input.dataset.table);
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const table = holder.querySelector("table");
    close(table);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      row.dataset.text ??= [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => row.dataset.text.includes(word));
      count += !row.hidden;
    }
    const total = table.tBodies[0].rows.length;
    const counter = document.querySelector(`[data-count="${CSS.escape(input.dataset.table)}"]`);
    counter.textContent = count === total ? `${total} nodes` : `${count} of ${total} nodes`;
  }
  for (const input of all("input[data-table]")) {
    input.addEventListener("input", () => search(input));
    search(input);
  }
  for (const box of all("input[data-all]")) {
    const holder = document.getElementById(box.dataset.all);
    const apply = () => holder.classList.toggle("few", !box.checked);
    box.addEventListener("change", apply);
    apply();
  }

  // ---- one node ------------------------------------------------------------------------------------------------
  function close(table) {
    for (const row of all("tr.detail", table)) row.remove();
    for (const button of all("[aria-expanded=true]", table)) button.setAttribute("aria-expanded", "false");
  }

  function binades(packed) {
    const [low, counts] = packed;
    return { x: counts.map((_, at) => low + at + 0.5), y: counts };
  }

  function open(button, row, run) {
    const table = row.closest("table");
    const wasOpen = button.getAttribute("aria-expanded") === "true";
    close(table);
    if (wasOpen) return;
    button.setAttribute("aria-expanded", "true");
    const node = Number(button.textContent.slice(1));
    const detail = table.tBodies[0].insertRow([...table.tBodies[0].rows].indexOf(row) + 1);
    detail.className = "detail";
    const cell = detail.insertCell();
    cell.colSpan = row.cells.length;
    const facts = document.createElement("dl");
    const heads = all("th", table.tHead);
    heads.forEach((head, at) => {
      if (!head.classList.contains("x")) return;
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.textContent = head.textContent;
      value.textContent = row.cells[at].textContent;
      pair.append(term, value);
      facts.append(pair);
    });
    const box = document.createElement("div");
    box.className = "one-node";
    cell.append(box);
    const pair = run.histograms[node];
    const note = document.createElement("p");
    box.append(note, facts);
    if (!pair) { note.textContent = "This node holds decisions or indices, so it has no magnitudes."; return; }
    const words = (name, [, , zeros, infinities, nans]) =>
      `${name}: ${zeros} zeros, ${infinities} infinite, ${nans} NaN`;
    note.textContent = `${words("emulated", pair[0])}; ${words("exact", pair[1])}.`;
    if (!window.Plotly) return;
    const figure = structuredClone(data.histogram);
    Object.assign(figure.data[0], binades(pair[1]));
    Object.assign(figure.data[1], binades(pair[0]));
    const ends = run.formats[run.format_of[node]];
    figure.layout.shapes = [];
    figure.layout.annotations = [];
    for (const [at, name, dash] of ends ? [[ends[2], "least positive", "dot"], [ends[1], "least normal", "dash"],
      [ends[0], "largest", "solid"]] : []) {
      const line = { color: "#CC79A7", width: 1.4, dash };
      figure.layout.shapes.push({ type: "line", yref: "paper", x0: at, x1: at, y0: 0, y1: 1, line });
      figure.layout.annotations.push({ x: at, y: 1, yref: "paper", text: name, showarrow: false, textangle: -90,
        xanchor: "right", yanchor: "top", font: { size: 10 } });
    }
    const plot = document.createElement("div");
    plot.className = "plot";
    box.prepend(plot);
    draw(plot, figure);
    detail.scrollIntoView({ block: "nearest" });
  }

  runs.forEach((element, index) => {
    for (const row of all("table.nodes tbody tr", element)) {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-expanded", "false");
      button.textContent = row.cells[0].textContent;
      row.cells[0].replaceChildren(button);
      button.addEventListener("click", () => open(button, row, data.runs[index]));
    }
  });

  // ---- start ---------------------------------------------------------------------------------------------------
  show(0);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("beforeprint", () => { root.classList.add("print"); repaint(); });
  addEventListener("afterprint", () => { root.classList.remove("print"); repaint(); });
  if (!("DecompressionStream" in window)) withoutFigures("this browser cannot unpack the drawing library");
  else loadPlotly().then(() => {
    drawVisible();
    root.dataset.figures = "drawn";
  }, (error) => withoutFigures(error.message));
})();
