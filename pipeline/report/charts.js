"use strict";
// Draws a chart when it comes near to what is seen, in the colours of the page, light or dark.
// Every `.chart` has a method `redraw`; a figure of the report is `data-figure`, its place in the list.
const figures = JSON.parse(document.getElementById("figures").textContent);
const wide = matchMedia("(min-width: 700px)"), roomy = matchMedia("(min-width: 900px)");
const dark = matchMedia("(prefers-color-scheme: dark)");
const CONFIG = { responsive: true, displaylogo: false, scrollZoom: false };

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

function themed(layout) {
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
  };
}

// Few enough ticks that plotly takes 1, 2 and 5, or in a narrow window powers of ten; zooming in adds some.
function logAxis(decades) {
  const apart = wide.matches || decades < 2 ? 0.4 : 0.75;
  return { type: "log", tickformat: "~s", nticks: Math.max(2, Math.floor(decades / apart)) };
}

// On a dark page a thin light line around a mark keeps dark colours apart from the ground.
const outline = () => ({ width: dark.matches ? 0.5 : 0, color: "rgba(255, 255, 255, 0.7)" });

function drawFigure(div) {
  const { data, layout } = figures[Number(div.dataset.figure)];
  const marked = each => each.mode?.startsWith("markers");
  // names next to the marks have other places in a narrow window, or none and are shown on hover
  const narrow = ({ meta }) => roomy.matches || !meta?.text ? {} : { text: meta.text, textposition: meta.place, textfont: { size: 11 } };
  const shown = data.map(each => marked(each) ? { ...each, ...narrow(each), marker: { ...each.marker, line: outline() } } : each);
  const log = div.parentElement.querySelector("input[data-log]");
  if (!log) return Plotly.react(div, shown, themed(layout), CONFIG);
  const scale = log.checked ? logAxis(layout.meta.decades) : { type: "linear" };
  const kept = log.checked === log.defaultChecked ? {} : { range: undefined }; // the range of the other kind
  Plotly.react(div, shown, themed({ ...layout, xaxis: { ...layout.xaxis, ...scale, ...kept, uirevision: scale.type } }), CONFIG);
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
addEventListener("beforeprint", () => { // at once: printing waits for no promise
  if (window.Plotly) charts.filter(div => !div.closest("details:not([open])")).forEach(div => div.redraw());
});
document.querySelectorAll("input[data-log]").forEach(input =>
  input.addEventListener("change", () => draw(input.closest("figure").querySelector(".chart"))));
addEventListener("DOMContentLoaded", () => charts.forEach(div => near.observe(div)));
