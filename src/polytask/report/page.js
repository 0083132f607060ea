// Lists of errors that can be filtered, searched and sorted; maps of attention that can be chosen; contents.
"use strict";
const held = id => JSON.parse(document.getElementById(id).textContent);

for (const box of document.querySelectorAll("[data-errors]")) {
  const data = held(box.dataset.errors);
  const [kind, search] = [box.querySelector("select"), box.querySelector("input")];
  const [body, count] = [box.querySelector("tbody"), box.querySelector(".count")];
  const state = {key: null, down: true, shown: 25};
  const cell = (row, text, name) => {
    const made = row.insertCell();
    if (name) made.className = name;
    made.dir = "auto";
    made.textContent = text;
    return made;
  };
  const folded = (row, text) => {
    if (text.length <= 240) return cell(row, text, "text");
    const made = cell(row, text.slice(0, 240) + "… ", "text");
    const more = document.createElement("button");
    more.className = "more";
    more.textContent = "more";
    more.onclick = () => { made.textContent = text; };
    made.append(more);
    return made;
  };
  const draw = () => {
    const wanted = search.value.toLowerCase();
    let rows = data.rows.filter(row => (kind.value === "" || row.c === +kind.value) &&
      (wanted === "" || row.x.some(text => text.toLowerCase().includes(wanted))));
    if (state.key !== null) {
      const value = row => state.key === "s" ? row.s : state.key === "w" ? row.x.join(" ").length :
        (isNaN(row[state.key]) ? row[state.key] : +row[state.key]);
      rows = [...rows].sort((a, b) => (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0) * (state.down ? -1 : 1));
    }
    body.replaceChildren();
    for (const item of rows.slice(0, state.shown)) {
      const row = body.insertRow();
      cell(row, data.kinds[item.c]);
      cell(row, item.t).dataset.name = "true";
      cell(row, item.p).dataset.name = "predicted";
      cell(row, item.s === null ? "" : item.s.toFixed(3), "n").dataset.name = "score";
      folded(row, item.x.join("\n"));
    }
    count.textContent = rows.length > state.shown ? `${state.shown} of ${rows.length} shown` : `${rows.length} shown`;
    box.querySelector(".next").hidden = rows.length <= state.shown;
  };
  kind.onchange = search.oninput = () => { state.shown = 25; draw(); };
  box.querySelector(".next").onclick = () => { state.shown += 100; draw(); };
  for (const button of box.querySelectorAll("th button"))
    button.onclick = () => {
      state.down = state.key === button.dataset.key ? !state.down : true;
      state.key = button.dataset.key;
      for (const each of box.querySelectorAll("th button")) {
        delete each.dataset.way;
        each.parentElement.removeAttribute("aria-sort");
      }
      button.dataset.way = state.down ? "↓" : "↑";
      button.parentElement.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      draw();
    };
  draw();
}

for (const box of document.querySelectorAll("[data-attention]")) {
  const data = held(box.dataset.attention), svg = box.querySelector("svg"), space = svg.namespaceURI;
  const [layer, head] = box.querySelectorAll("select");
  const bytes = Uint8Array.from(atob(data.maps), c => c.charCodeAt(0)), n = data.tokens.length;
  const add = (name, attributes, text) => {
    const made = document.createElementNS(space, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
    return made;
  };
  const draw = () => {
    svg.replaceChildren();
    const left = 90, size = 15, start = (+layer.value * data.heads + +head.value) * n * n;
    const side = left + n * size + 30; // the last name leans over the edge
    svg.setAttribute("viewBox", `0 0 ${side} ${side - 26}`);
    svg.style.maxWidth = `${side}px`;
    svg.style.minWidth = `${0.75 * side}px`;
    data.tokens.forEach((token, i) => {
      add("text", {x: left - 5, y: left + i * size + 11, "text-anchor": "end"}, token);
      const at = left + i * size + 11;
      add("text", {x: at, y: left - 5, transform: `rotate(-60 ${at} ${left - 5})`}, token);
      for (let j = 0; j < n; j++) {
        const value = bytes[start + i * n + j] / 255;
        const cell = add("rect", {x: left + j * size, y: left + i * size, width: size - 1, height: size - 1,
          fill: "var(--c0)", "fill-opacity": Math.sqrt(value).toFixed(3), class: "cell"});
        const title = document.createElementNS(space, "title");
        title.textContent = `${token} → ${data.tokens[j]}: ${value.toFixed(2)}`;
        cell.append(title);
      }
    });
  };
  layer.onchange = head.onchange = draw;
  draw();
}

const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(changes => {
  for (const {target, isIntersecting} of changes) links.get(target.id)?.classList.toggle("here", isIntersecting);
}, {rootMargin: "-20% 0px -60% 0px"});
for (const part of document.querySelectorAll("main > section")) seen.observe(part);
