"use strict";

const at = (id) => document.getElementById(id);
let tasks = [];
let limits = {max_client_batch_size: 32};

function element(name, text, parent, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

function tell(sentence, isError) {
  at("status").textContent = sentence;
  at("status").className = isError ? "error" : "";
}

async function ask(path, body) {
  const headers = {"content-type": "application/json"};
  if (at("key").value) headers.authorization = "Bearer " + at("key").value;
  const options = body ? {method: "POST", headers, body: JSON.stringify(body)} : {headers};
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || "status " + response.status);
  return answer;
}

const numberOfTexts = () => Number(document.querySelector("input[name=kind]:checked").value);

function question() {
  const first = at("first").value;
  return numberOfTexts() === 2 ? {pairs: [[first, at("second").value]]} : {texts: first};
}

function bars(task, answer, parent) {
  const shown = Array.isArray(answer.label) ? answer.label.join(", ") || "none" : String(answer.label);
  element("h3", task.task + ": " + shown, parent);
  let rows = Object.entries(answer.probabilities || {});
  if (!rows.length && task.range) {
    const [low, high] = task.range;
    rows = [[low + " to " + high, (answer.score - low) / (high - low), answer.score.toFixed(2)]];
  }
  for (const [name, share, text] of rows) {
    const isBest = name === shown || (Array.isArray(answer.label) && answer.label.includes(name));
    const row = element("div", undefined, parent, isBest ? "bar best" : "bar");
    element("span", name, row);
    const track = element("div", undefined, row, "track");
    const bar = element("progress", undefined, track);
    bar.max = 1;
    bar.value = Math.max(0, Math.min(1, share));
    bar.setAttribute("aria-label", name);
    const cut = thresholdOf(task, name);
    if (cut !== undefined) {
      const mark = element("i", undefined, track, "mark");
      mark.style.left = 100 * cut + "%";
      mark.title = "threshold " + cut;
    }
    element("span", text || share.toFixed(3), row);
  }
}

function thresholdOf(task, name) {
  const place = task.classes.indexOf(name);
  if (task.kind === "multi-label") {
    return Array.isArray(task.threshold) ? task.threshold[place] : task.threshold ?? 0.5;
  }
  return task.kind === "binary" && place === 1 && typeof task.threshold === "number" ? task.threshold : undefined;
}

function asked() {
  const body = question();
  return body.pairs ? {pair: body.pairs[0]} : {text: body.texts};
}

// What was asked for beside the answers, in a place of its own: the sentence of a refusal as well.
async function explain(button, place, path, body, showIn) {
  button.disabled = true;
  place.replaceChildren();
  element("p", "looking…", place);
  try {
    const answer = await ask(path, body);
    place.replaceChildren();
    showIn(answer, place);
  } catch (error) {
    place.replaceChildren();
    element("p", error.message, place, "error");
  }
  button.disabled = false;
}

function showErrors(answer, place) {
  for (const [name, found] of Object.entries(answer.errors)) {
    element("h4", `${name}: ${found.known} known errors on dev`, place);
    const list = element("ol", undefined, place);
    for (const each of found.nearest) {
      const item = element("li", each.texts.join("  |  "), list);
      element("small", ` similarity ${each.similarity.toFixed(2)}, true ${each.label}, predicted ${each.prediction}`,
              item);
    }
  }
}

function showAttention(answer, place) {
  const label = element("label", "Layer ", place);
  const layer = element("select", undefined, label);
  answer.layers.forEach((_, n) => { element("option", String(n + 1), layer).value = n; });
  layer.value = answer.layers.length - 1;
  const tokens = element("p", undefined, place, "tokens");
  const shade = () => {
    const weights = answer.layers[layer.value];
    const most = Math.max(...weights) || 1;
    tokens.replaceChildren();
    answer.tokens.forEach((token, n) => {
      const shown = element("span", token, tokens);
      shown.style.backgroundColor = `rgb(59 125 216 / ${(0.6 * weights[n] / most).toFixed(3)})`;
      shown.title = `${(100 * weights[n]).toFixed(1)} % of the attention`;
      tokens.append(" ");
    });
  };
  layer.addEventListener("change", shade);
  shade();
}

function explanations(place) {
  const texts = numberOfTexts(), body = asked();
  const row = element("p", undefined, place, "row");
  const parts = element("div", undefined, place);
  const near = element("button", "Nearest known errors", row);
  const attention = element("button", "Attention", row);
  const choice = element("select", undefined, row);
  choice.setAttribute("aria-label", "Task whose attention is shown");
  for (const task of tasks) if (task.texts === texts) element("option", task.task, choice);
  const errorsPlace = element("section", undefined, parts);
  errorsPlace.id = "errors";
  const attentionPlace = element("section", undefined, parts);
  attentionPlace.id = "attention";
  near.type = attention.type = "button";
  near.addEventListener("click", () => explain(near, errorsPlace, "errors", body, showErrors));
  attention.addEventListener("click", () => explain(attention, attentionPlace, "attention",
                                                    {...body, task: choice.value}, showAttention));
}

function show(answer, milliseconds) {
  const place = at("answers");
  place.replaceChildren();
  const cut = answer.truncated.length ? ", the text was cut" : "";
  tell(`${milliseconds.toFixed(0)} ms, ${answer.tokens} tokens${cut}`, false);
  for (const [name, found] of Object.entries(answer.results[0])) {
    bars(tasks.find((task) => task.task === name), found, element("section", undefined, place, "task"));
  }
  explanations(place);
}

function remember(body) {
  const text = body.pairs ? body.pairs[0].join("  |  ") : body.texts;
  const item = document.createElement("li");
  const button = element("button", text, item);
  button.type = "button";
  button.addEventListener("click", () => {
    choose(body.pairs ? 2 : 1);
    at("first").value = body.pairs ? body.pairs[0][0] : body.texts;
    at("second").value = body.pairs ? body.pairs[0][1] : "";
    send();
  });
  at("past").prepend(item);
  while (at("past").children.length > 20) at("past").lastElementChild.remove();
}

async function send() {
  const body = question();
  tell("asking…", false);
  const began = performance.now();
  try {
    show(await ask("predict", body), performance.now() - began);
    remember(body);
  } catch (error) {
    tell(error.message, true);
  }
}

function choose(texts) {
  document.querySelector(`input[name=kind][value="${texts}"]`).checked = true;
  at("pair").hidden = texts !== 2;
  at("second").required = texts === 2;
}

// RFC 4180: fields in quotes may hold commas, line ends and doubled quotes.
function readCsv(text) {
  const rows = [];
  let row = [], field = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { field += '"'; i++; }
      else if (c === '"') quoted = false;
      else field += c;
    } else if (c === '"' && field === "") quoted = true;
    else if (c === ",") { row.push(field); field = ""; }
    else if (c === "\n" || c === "\r") {
      if (c === "\r" && text[i + 1] === "\n") i++;
      row.push(field); field = "";
      if (row.length > 1 || row[0] !== "") rows.push(row);
      row = [];
    } else field += c;
  }
  if (quoted) throw new Error("the CSV ends inside a quoted field");
  if (field !== "" || row.length) { row.push(field); rows.push(row); }
  return rows;
}

function csvLine(fields) {
  return fields.map((field) => {
    const text = String(field);
    return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  }).join(",") + "\r\n";
}

async function answerFile(file) {
  const texts = numberOfTexts();
  const [header, ...rows] = readCsv(await file.text());
  if (!header || header.length < texts) throw new Error(`expected a header and at least ${texts} column(s)`);
  const wrong = rows.findIndex((row) => row.length !== header.length);
  if (wrong >= 0) throw new Error(`row ${wrong + 1} has ${rows[wrong].length} fields, expected ${header.length}`);
  const asked = tasks.filter((task) => task.texts === texts).map((task) => task.task);
  const lines = [csvLine([...header, ...asked.flatMap((name) => [name, name + "_score"])])];
  const bar = at("done");
  bar.hidden = false;
  const size = limits.max_client_batch_size;
  for (let start = 0; start < rows.length; start += size) {
    const part = rows.slice(start, start + size);
    const body = texts === 2 ? {pairs: part.map((row) => row.slice(0, 2))} : {texts: part.map((row) => row[0])};
    const answer = await ask("predict", body);
    answer.results.forEach((found, i) => {
      const cells = asked.flatMap((name) => [[].concat(found[name].label).join("|"),
                                             [].concat(found[name].score).join(" ")]);
      lines.push(csvLine([...part[i], ...cells]));
    });
    bar.value = Math.min(1, (start + size) / rows.length);
  }
  const link = at("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob(lines, {type: "text/csv"}));
  link.hidden = false;
  tell(`${rows.length} rows answered`, false);
}

async function takeFile(file) {
  at("download").hidden = true;
  try {
    await answerFile(file);
  } catch (error) {
    tell(`${file.name}: ${error.message}`, true);
  }
}

// The routes are those that the server itself describes, so this list cannot lag behind.
async function listRoutes() {
  const list = at("routes");
  try {
    const {paths} = await ask("openapi.json");
    list.replaceChildren();
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, route] of Object.entries(methods)) {
        element("code", `${method.toUpperCase()} ${path}`, element("dt", undefined, list));
        element("dd", route.summary, list);
      }
    }
  } catch (error) {
    list.replaceChildren();
    element("dd", "the routes could not be read: " + error.message, list);
  }
}

async function readTasks() {
  try {
    limits = await ask("info");
    tasks = limits.models[limits.model_id].tasks;
    at("about").textContent = `${limits.model_id}: ${tasks.map((task) => task.task).join(", ")}`;
    const kinds = new Set(tasks.map((task) => task.texts));
    at("kinds").hidden = kinds.size < 2;
    choose(kinds.has(numberOfTexts()) ? numberOfTexts() : Math.min(...kinds));
  } catch (error) {
    at("about").textContent = "the tasks could not be read: " + error.message;
  }
}

function start() {
  for (const radio of document.querySelectorAll("input[name=kind]")) {
    radio.addEventListener("change", () => choose(numberOfTexts()));
  }
  at("ask").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  at("curl").addEventListener("click", async () => {
    const body = JSON.stringify(question()).replaceAll("'", "'\\''");
    const address = new URL("predict", location.href);
    const key = at("key").value ? " -H 'authorization: Bearer YOUR-KEY'" : "";
    const line = `curl -s ${address} -H 'content-type: application/json'${key} -d '${body}'`;
    try {
      await navigator.clipboard.writeText(line);
      tell("copied", false);
    } catch {  // there is no clipboard on a page that is neither local nor https
      tell(line, false);
    }
  });
  at("file").addEventListener("change", () => at("file").files[0] && takeFile(at("file").files[0]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
  });
  const read = () => Promise.all([readTasks(), listRoutes()]);
  at("key").addEventListener("change", read);  // a server with keys answers nothing without one
  read();
}

start();
