"use strict";
// Draws a chart when it comes near to what is seen, in the colours of the page, light or dark.
// Every `.chart` has a method `redraw`; a figure of the report is `data-figure`, its place in the list.
const figures = JSON.parse(document.getElementById("figures").textContent);
const wide = matchMedia("(min-width: 700px)"), roomy = matchMedia("(min-width: 900px)");
const dark = matchMedia("screen and (prefers-color-scheme: dark)"), paper = matchMedia("print");
const CONFIG = { responsive: true, displaylogo: false, scrollZoom: false, modeBarButtonsToRemove: ["toImage"] };

// plotly's script lies in the page packed, at two fifths of its size; nothing is drawn before it is unpacked.
async function unpack() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), each => each.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}
const ready = unpack();
ready.catch(() => { document.getElementById("old-browser").hidden = false; });

function themed(div, layout) {
  const css = getComputedStyle(document.documentElement), colour = name => css.getPropertyValue(name).trim();
  const axis = { gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--faint"), zeroline: false, automargin: true };
  const right = { x: 1.01, y: 1 };
  const below = { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom", maxheight: 0.35 };
  return {
    ...layout, template: undefined, uirevision: "kept", // what a reader hid in the legend stays hidden
    xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    legend: { itemsizing: "constant", uirevision: "kept", ...(wide.matches ? right : below) },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--ink") }, align: "left" },
    margin: { l: 56, r: 12, t: 36, b: 48 },
    ...(paper.matches ? { width: div.clientWidth, height: div.clientHeight } : {}), // plotly's own measuring comes too late
  };
}

// Few enough ticks that plotly takes 1, 2 and 5, or in a narrow window powers of ten; zooming in adds some. Within a
// decade its ticks are evenly apart in seconds, and crowd to the right.
function logAxis(decades) {
  if (decades < 1.2) return { type: "log", tickformat: "~s", nticks: wide.matches ? 9 : 5 };
  const apart = wide.matches || decades < 2 ? 0.4 : 0.75;
  return { type: "log", tickformat: "~s", nticks: Math.max(2, Math.floor(decades / apart)) };
}

// On a dark page a thin light line around a mark keeps dark colours apart from the ground; of a hollow mark it is the mark.
const outline = symbols => {
  const width = dark.matches ? 0.5 : 0, hollow = each => each.endsWith("-open");
  return { width: Array.isArray(symbols) ? symbols.map(each => hollow(each) ? 1.5 : width) : width, color: "rgba(255, 255, 255, 0.7)" };
};

// The models' names, with a line to marks that are further off; those of families that a reader hid are left out.
function names(div, log) {
  const { meta } = figures[Number(div.dataset.figure)].layout, css = getComputedStyle(document.body);
  const hidden = (div.data ?? []).filter(each => each.visible === "legendonly").map(each => each.meta?.trace);
  return (meta?.names?.[roomy.matches ? "wide" : "narrow"] ?? []).filter(each => !hidden.includes(each.trace)).map(
    ({ text, at: [x, y], by: [ax, ay], leader }) => ({
      text, x: log ? Math.log10(x) : x, y, ax, ay, xanchor: "center", yanchor: "middle", borderpad: 0, standoff: 7,
      font: { size: roomy.matches ? 13 : 11 }, arrowhead: 0, arrowwidth: 0.8, bgcolor: css.getPropertyValue("--veil").trim(),
      arrowcolor: leader ? css.getPropertyValue("--faint").trim() : "rgba(0,0,0,0)",
    }));
}
const isLog = div => div.parentElement.querySelector("input[data-log]")?.checked;

function drawFigure(div) {
  const { data, layout } = figures[Number(div.dataset.figure)];
  const ink = getComputedStyle(document.body).color, log = isLog(div), annotations = names(div, log);
  const size = ({ size }) => roomy.matches ? size : 0.7 * size;
  const shown = data.map(each => each.meta?.ring ? { ...each, marker: { ...each.marker, color: ink, size: size(each.marker) } }
    : each.mode?.startsWith("markers") ? { ...each, marker: { ...each.marker, size: size(each.marker), line: outline(each.marker.symbol) } } : each);
  if (!div.data) queueMicrotask(() => div.on("plotly_restyle", () => Plotly.relayout(div, { annotations: names(div, isLog(div)) })));
  if (log === undefined) return Plotly.react(div, shown, themed(div, { ...layout, annotations }), CONFIG);
  const input = div.parentElement.querySelector("input[data-log]");
  const scale = log ? logAxis(layout.meta.decades) : { type: "linear" };
  const kept = log === input.defaultChecked ? {} : { range: undefined }; // the range of the other kind
  Plotly.react(div, shown, themed(div, { ...layout, annotations, xaxis: { ...layout.xaxis, ...scale, ...kept, uirevision: scale.type } }), CONFIG);
}

const charts = [...document.querySelectorAll(".chart")];
charts.filter(div => div.dataset.figure).forEach(div => { div.redraw = () => drawFigure(div); });

const near = new IntersectionObserver(seen => seen.filter(each => each.isIntersecting).forEach(({ target }) => {
  near.unobserve(target);
  draw(target);
}), { rootMargin: "600px" });
function draw(div) {
  div.dataset.drawn = "";
  ready.then(() => div.redraw(), () => {});
}
const redrawAll = () => charts.filter(div => "drawn" in div.dataset).forEach(draw);
[wide, roomy, dark].forEach(query => query.addEventListener("change", redrawAll));
// Paper is light and of another width; at once, as printing waits for no promise. Afterwards again for the screen.
paper.addEventListener("change", () => {
  if (!window.Plotly) return;
  for (const div of charts.filter(div => !div.closest("details:not([open])"))) {
    div.redraw();
    if (!paper.matches) Plotly.Plots.resize(div);
  }
});
document.querySelectorAll("input[data-log]").forEach(input =>
  input.addEventListener("change", () => draw(input.closest("figure").querySelector(".chart"))));
addEventListener("DOMContentLoaded", () => charts.forEach(div => near.observe(div)));

// Under every chart: save it as a picture, or what it shows as a table.
const nameOf = div => `${div.closest("section").id}-${div.dataset.figure ?? "timm"}`;
function savePicture(div) {
  const { clientWidth: width, clientHeight: height } = div, ground = getComputedStyle(document.body).backgroundColor;
  const { data, layout } = div;
  Plotly.downloadImage({ data, layout: { ...layout, paper_bgcolor: ground } }, { format: "png", width, height, scale: 2, filename: nameOf(div) });
}
function tableOf(div) {
  const { xaxis, yaxis } = div._fullLayout, text = each => new DOMParser().parseFromString(each ?? "", "text/html").body;
  const rows = [["series", "name", xaxis.title.text, yaxis.title.text, "low", "high"]];
  for (const each of div._fullData.filter(each => each.hoverinfo !== "skip" && each.visible === true)) {
    const bars = [each.error_y, each.error_x].find(bar => bar?.array) ?? {}, along = bars === each.error_x ? each.x : each.y;
    each.x.forEach((x, i) => {
      const { array = [], arrayminus = array } = bars, bar = array[i] >= 0 ? [along[i] - arrayminus[i], along[i] + array[i]] : ["", ""];
      const name = each.customdata ? `seed ${each.customdata[i]}` : text(each.hovertext?.[i]).querySelector("b")?.textContent ?? "";
      if (Number.isFinite(x) && Number.isFinite(each.y[i])) rows.push([text(each.name).textContent, name, x, yaxis.ticktext?.[Math.round(each.y[i])] ?? each.y[i], ...bar]);
    });
  }
  const quoted = cell => /[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell;
  return rows.map(row => row.map(cell => quoted(typeof cell === "number" ? Number(cell.toPrecision(6)) : cell)).join(",")).join("\n") + "\n";
}
function saveTable(div) {
  const href = `data:text/csv;charset=utf-8,${encodeURIComponent(tableOf(div))}`;
  Object.assign(document.createElement("a"), { href, download: `${nameOf(div)}.csv` }).click();
}
charts.forEach(div => {
  const line = Object.assign(document.createElement("div"), { className: "save", textContent: "Save: " });
  for (const [text, save] of [["picture (PNG)", savePicture], ["data (CSV)", saveTable]]) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.addEventListener("click", () => save(div));
    line.append(button, " ");
  }
  div.after(line);
});

// What is folded away opens where a link leads to it.
function unfold() {
  const place = document.getElementById(location.hash.slice(1));
  place?.querySelectorAll(":scope > details").forEach(each => { each.open = true; });
  place?.scrollIntoView();
}
addEventListener("hashchange", unfold);
addEventListener("load", () => location.hash && unfold());
document.querySelectorAll("nav a").forEach(link => link.addEventListener("click", () => setTimeout(unfold)));
