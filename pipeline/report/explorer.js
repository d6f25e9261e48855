"use strict";
// The explorer: ImageNet accuracy against the speed in one benchmark file, chosen by mode, device and
// setup. explorer.py says what `data` holds. Names from a table are text: `plain` before plotly sees them.
(() => {
  const data = JSON.parse(document.getElementById("published").textContent);
  const root = document.getElementById("explorer"), chart = root.querySelector(".chart");
  const [mode, device, setup] = root.querySelectorAll("select"), input = root.querySelector("input");
  const MODES = { infer: "inference", train: "training" }, MOST_NAMED = 12;

  const plain = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const number = (value, digits = 0) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const distinct = values => [...new Set(values)];
  const searched = data.model.map((name, i) => `${name} ${data.families[data.family[i]].name} ${data.pretraining[i]} ${data.licence[i]}`.toLowerCase());

  function offer(select, options, wanted) { // options: [value, text]; the first, unless `wanted` is among them
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    if (options.some(([value]) => value === wanted)) select.value = wanted;
  }
  function offerFiles(wanted = {}) {
    offer(mode, distinct(data.files.map(file => file.mode)).map(each => [each, MODES[each] ?? each]), wanted.mode ?? mode.value);
    const here = data.files.filter(file => file.mode === mode.value);
    offer(device, distinct(here.map(file => file.device)).map(each => [each, each]), wanted.device ?? device.value);
    const files = here.filter(file => file.device === device.value);
    offer(setup, files.map(file => [file.name, file.setup]), wanted.name ?? setup.value);
  }

  function hover(i, file) {
    const speed = file.speed[i], batch = file.batch[i] ? `, batch ${file.batch[i]}` : "";
    return `<b>${plain(data.model[i])}</b><br>top-1 ${number(data.top1[i], 2)} % at ${data.pixels[i]} pixels<br>` +
      `${number(speed, speed < 100 ? 1 : 0)} samples/s${batch}<br>${number(data.params[i], 1)} million parameters<br>` +
      `${plain(data.families[data.family[i]].name)}, pretrained on ${plain(data.pretraining[i])}<br>licence ${plain(data.licence[i])}`;
  }
  function points(pairs, file) {
    return { type: "scatter", x: pairs.map(i => file.speed[i]), y: pairs.map(i => data.top1[i]) };
  }
  function front(pairs, file) { // the pairs that none beats in both, the slowest first
    const found = [];
    for (const i of [...pairs].sort((a, b) => file.speed[b] - file.speed[a] || data.top1[b] - data.top1[a]))
      if (!found.length || data.top1[i] > data.top1[found[0]]) found.unshift(i);
    return found;
  }
  function family(pairs, file, found, { name, colour, symbol, rank }) {
    return {
      ...points(pairs, file), mode: "markers", name: plain(name), uid: name, legendrank: rank, hoverinfo: "text",
      hovertext: pairs.map(i => hover(i, file)),
      marker: { color: colour, symbol, size: pairs.map(i => (wide.matches ? 7 : 5) * data.pixels[i] / 224), opacity: 0.75, line: outline() },
      selectedpoints: found && pairs.flatMap((i, place) => found.has(i) ? [place] : []),
      selected: { marker: { opacity: 1 } }, unselected: { marker: { opacity: 0.3 } },
    };
  }

  function explore() {
    const file = data.files.find(each => each.name === setup.value), words = wordsOf(input);
    const pairs = data.model.map((_, i) => i).filter(i => file.speed[i]);
    const found = words.length ? new Set(pairs.filter(i => words.every(word => searched[i].includes(word)))) : null;
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
    const inLegend = i => data.families[data.family[i]].legend;
    const others = pairs.filter(i => !inLegend(i)), count = distinct(others.map(i => data.family[i])).length;
    const named = found && found.size <= MOST_NAMED ? [...found].sort((a, b) => data.top1[b] - data.top1[a]) : [], own = data.studied.filter(i => file.speed[i]);
    const best = front(pairs, file), speeds = pairs.map(i => file.speed[i]);
    const traces = [
      family(others, file, found, { ...data.others, name: `${count} more`, rank: 2000 }),
      ...data.families.map((each, k) => each.legend && family(pairs.filter(i => data.family[i] === k), file, found, { ...each, rank: 1000 })).filter(Boolean),
      { ...points(best, file), mode: "lines", name: "front", uid: "front", hoverinfo: "skip", legendrank: 3000, line: { shape: "vh", width: 1.2, color: ink } },
      { ...points(own, file), mode: "markers", name: "of this study", uid: "own", hoverinfo: "skip", legendrank: 3001, visible: own.length <= MOST_NAMED || "legendonly", marker: { symbol: "circle-open", size: 15, color: ink, line: { width: 1.5 } } },
      { ...points(named, file), mode: "markers+text", marker: { size: 14, opacity: 0 }, text: named.map(i => plain(data.model[i])), textposition: named.map((_, place) => place % 2 ? "middle left" : "middle right"), hoverinfo: "skip", showlegend: false, uid: "named", cliponaxis: false },
    ].map(trace => ({ ...trace, showlegend: trace.showlegend ?? trace.x.length > 0 }));
    Plotly.react(chart, traces, themed(chart, {
      xaxis: { ...logAxis(Math.log10(Math.max(...speeds) / Math.min(...speeds))), title: { text: `${MODES[file.mode] ?? file.mode}, samples per second` }, uirevision: file.name },
      yaxis: { title: { text: "ImageNet top-1 (%)" }, uirevision: file.name },
    }), CONFIG);
    root.querySelector("[role=status]").textContent = found ? `${found.size} of ${number(pairs.length)}` : "";
    root.querySelector("figcaption b").textContent = file.name;
    root.querySelector("figcaption span").textContent = `n = ${number(pairs.length)}`;
  }

  offerFiles(data.files[data.start]);
  chart.redraw = explore;
  [mode, device, setup].forEach(select => select.addEventListener("change", () => { offerFiles(); draw(chart); }));
  input.addEventListener("input", () => draw(chart));
})();
