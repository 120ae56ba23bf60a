// Tables are sorted by the exact values behind their texts. A row takes the printed figure and the difference
// below it along; a name that spans rows is repeated in each of them, since they may come apart.
const collator = new Intl.Collator("en", { numeric: true });

function units(body, heads) {
  const found = [];
  let names = [];
  for (const row of body.rows) {
    const own = [...row.children].filter((cell) => /\bhead-/.test(cell.className));
    names = [...names.slice(0, heads - own.length), ...own];
    if (row.matches(".printed, .difference")) {
      found.at(-1).below.push(row);
    } else {
      const cells = [...row.children].slice(own.length);
      found.push({ row, names, cells, below: [], fixed: row.matches(".reference") });
    }
  }
  return found;
}

function key(unit, column, heads) {
  if (column < heads) return unit.names[column].textContent;
  const { value } = unit.cells[column - heads].dataset;
  return value === undefined ? unit.cells[column - heads].textContent.trim() : Number(value);
}

// Numbers before texts, what is missing last, whichever the direction; equal ones keep their order.
function compare(a, b, sign) {
  const kind = (x) => (typeof x === "number" ? (Number.isNaN(x) ? 2 : 0) : x === "" || x === "-" ? 2 : 1);
  if (kind(a) !== kind(b)) return kind(a) - kind(b);
  if (kind(a) === 2) return 0;
  return sign * (kind(a) === 0 ? a - b : collator.compare(a, b));
}

function standing(unit) {
  const names = unit.names.map((name, i) => {
    const copy = name.cloneNode(true);
    const last = i === unit.names.length - 1;
    copy.rowSpan = last ? 1 : 1 + unit.below.length;
    return copy;
  });
  const row = unit.row.cloneNode(false);
  row.append(...names, ...unit.cells.map((cell) => cell.cloneNode(true)));
  return [row, ...unit.below.map((below) => below.cloneNode(true))];
}

function sortable(table) {
  const heads = Number(table.dataset.sortable);
  const body = table.tBodies[0];
  const original = [...body.rows];
  const all = units(body, heads);
  if (all.filter((unit) => !unit.fixed).length < 2) return;
  const columns = [...table.tHead.rows[0].cells];
  const next = { none: "ascending", ascending: "descending", descending: "none" };

  function sort(column) {
    const order = next[columns[column].ariaSort ?? "none"];
    for (const head of columns) head.ariaSort = null;
    if (order === "none") return body.replaceChildren(...original);
    columns[column].ariaSort = order;
    const sign = order === "ascending" ? 1 : -1;
    const free = all.filter((unit) => !unit.fixed);
    free.sort((a, b) => compare(key(a, column, heads), key(b, column, heads), sign));
    body.replaceChildren(...[...all.filter((unit) => unit.fixed), ...free].flatMap(standing));
  }

  columns.forEach((head, column) => {
    if (head.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
}

for (const table of document.querySelectorAll("table[data-sortable]")) sortable(table);
