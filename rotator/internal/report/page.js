"use strict";
(() => {
  const page = 100;
  const find = (id) => document.getElementById(id);
  const body = find("rows");
  if (!body) return;
  const data = JSON.parse(find("data").textContent);
  const filter = find("filter"), state = find("state"), order = find("order"), count = find("count");
  const back = find("back"), next = find("next");
  const columns = data.columns;
  const reported = columns.indexOf("Reported");
  const rows = data.workers.map((cells) => ({ cells, text: cells.join("\n").toLowerCase() }));
  const collator = new Intl.Collator("en", { numeric: true });
  let shown = rows, from = 0, by = -1, down = false;

  const ago = (s) => {
    if (s === "") return "-";
    if (s < 100) return s + "s ago";
    if (s < 6000) return Math.floor(s / 60) + "m ago";
    return s < 172800 ? Math.floor(s / 3600) + "h ago" : Math.floor(s / 86400) + "d ago";
  };
  const words = (cell, i) => (i === reported ? ago(cell) : cell);
  const mood = (cell, i) => (columns[i] === "Worker" || columns[i] === "Address" ? "mono" : data.moods[columns[i] + " " + cell] || "");

  const draw = () => {
    const part = document.createDocumentFragment();
    for (const row of shown.slice(from, from + page)) {
      const tr = document.createElement("tr");
      tr.setAttribute("role", "row");
      row.cells.forEach((cell, i) => {
        const td = document.createElement("td");
        td.setAttribute("role", "cell");
        td.dataset.label = columns[i];
        td.textContent = words(cell, i);
        td.className = mood(cell, i);
        tr.append(td);
      });
      part.append(tr);
    }
    body.replaceChildren(part);
    const last = Math.min(from + page, shown.length);
    const range = shown.length > page ? " Rows " + (from + 1) + " to " + last + "." : "";
    count.textContent = shown.length + " of " + rows.length + " workers." + range;
    back.disabled = from === 0;
    next.disabled = last === shown.length;
    find("pager").hidden = shown.length <= page;
  };

  const apply = () => {
    const wanted = filter.value.trim().toLowerCase().split(/\s+/);
    shown = rows.filter((row) => (!state.value || row.cells[data.state] === state.value) && wanted.every((word) => row.text.includes(word)));
    if (by >= 0) {
      const compare = by === reported ? (a, b) => a - b : collator.compare;
      shown.sort((a, b) => compare(a.cells[by], b.cells[by]) * (down ? -1 : 1));
    }
    from = 0;
    draw();
  };

  const heads = [...body.parentElement.querySelectorAll("th")];
  const sort = (column, descending) => {
    by = column;
    down = descending;
    heads.forEach((th, i) => (i === by ? th.setAttribute("aria-sort", down ? "descending" : "ascending") : th.removeAttribute("aria-sort")));
    order.value = by < 0 ? "" : String(by);
    apply();
  };
  heads.forEach((th, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    button.addEventListener("click", () => sort(i, by === i && !down));
    th.replaceChildren(button);
    const option = document.createElement("option");
    option.value = String(i);
    option.textContent = "by " + columns[i].toLowerCase();
    order.append(option);
  });
  filter.addEventListener("input", apply);
  state.addEventListener("change", apply);
  order.addEventListener("change", () => sort(order.value === "" ? -1 : Number(order.value), false));
  back.addEventListener("click", () => { from -= page; draw(); });
  next.addEventListener("click", () => { from += page; draw(); });
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  find("controls").hidden = false;
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
  apply();
})();
