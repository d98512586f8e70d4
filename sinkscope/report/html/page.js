"use strict";
// What the libraries leave to do: unpack them, hand them the page's data, and show what was chosen.

const unpack = async (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};

const loaded = {};
const library = (id) => (loaded[id] ??= (async () => {
  const script = document.createElement("script");
  script.textContent = await unpack(id); // runs here and now, and only if the page's policy names its hash
  document.head.append(script);
})());

// Tables. Nulls stand last whichever way a column is sorted.
const number = (value) => (typeof value === "string" ? Number(value.replace("inf", "Infinity")) : value);
const words = new Intl.Collator("en", { numeric: true });
const present = (compare) => (a, b) => (a === null) - (b === null) || (a === null ? 0 : compare(a, b));
const addOrders = () => {
  const compare = { number: (a, b) => number(a) - number(b), text: words.compare };
  for (const [name, rule] of Object.entries(compare)) {
    DataTable.type(`measured-${name}`, {
      detect: () => false,
      order: { asc: present(rule), desc: present((a, b) => rule(b, a)) },
    });
  }
};
const escaped = (value) => String(value).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
const cell = (kind) => (value, use) => {
  if (use === "sort" || use === "type") return value;
  if (value === null || value === undefined) return "";
  if (kind === "truth") return value ? "yes" : "no";
  return escaped(value); // for the search too: DataTables reads what holds an "&" as markup
};

const showTable = async (table) => {
  if (table.dataset.shown) return;
  table.dataset.shown = "yes";
  const { kinds, columns } = JSON.parse(await unpack(table.dataset.rows));
  if (!loaded["script-tables"]) {
    const style = document.createElement("style");
    style.textContent = await unpack("style-tables");
    document.head.prepend(style);
  }
  await library("script-tables");
  addOrders();
  const counted = (kind) => kind === "number" || kind === "truth";
  new DataTable(table, {
    data: columns.length ? columns[0].map((_, row) => columns.map((column) => column[row])) : [],
    columns: kinds.map((kind) => ({
      type: counted(kind) ? "measured-number" : "measured-text",
      className: kind === "number" ? "number" : "",
      render: cell(kind),
    })),
    order: [],
    pageLength: 25,
    lengthMenu: [10, 25, 100, 500],
    autoWidth: false,
    language: { search: "Search:", emptyTable: "This table has no rows." },
  });
};

// Charts.
const shared = {
  margin: { l: 56, r: 12, t: 12, b: 48 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
  hoverlabel: { bgcolor: "#1a1c20", bordercolor: "#1a1c20", font: { color: "#ffffff", size: 13 }, align: "left" },
  hovermode: "closest", dragmode: false,
};
const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
const showChart = async (holder, chart) => {
  const plot = holder.querySelector(".plot");
  const layout = { ...shared, ...chart.layout, height: chart.height };
  const draw = (name) => Plotly.react(plot, chart.views[name], structuredClone(layout), config);
  const choice = holder.querySelector("select");
  choice?.addEventListener("change", () => draw(choice.value));
  await draw(choice?.value ?? "");
  holder.dataset.shown = "yes";
};
const showCharts = async () => {
  if (!document.getElementById("charts")) return;
  const charts = JSON.parse(await unpack("charts"));
  await library("script-charts");
  for (const [name, chart] of Object.entries(charts)) await showChart(document.getElementById(`chart-${name}`), chart);
};

// What a browser cannot do is said where it would have been.
const failed = (place) => (error) => {
  const note = document.createElement("p");
  note.className = "strong";
  note.textContent = `This browser cannot show this: ${error.message}. The run folder's parquet files have the numbers.`;
  place.append(note);
};

// A link to a part that is closed opens it.
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
};

for (const part of document.querySelectorAll("details.table")) {
  const table = part.querySelector("table.data");
  const show = () => part.open && table && showTable(table).catch(failed(part));
  part.addEventListener("toggle", show);
  show();
}
addEventListener("hashchange", openTarget);
openTarget();
showCharts().catch(failed(document.querySelector(".chart")));
