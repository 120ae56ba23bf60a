// What the page carries: gzip of JSON, in base64 (reports/embedded.py).
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(text).json();
}

let unpacked;
const data = () => (unpacked ??= unpack("packed-results"));

// A text is quoted where it must be; a missing value is empty, a number its shortest exact text.
const quoted = (value) => {
  const text = value === null ? "" : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

const formats = {
  csv(columns, rows) {
    const names = Object.keys(columns);
    const lines = [names, ...Array.from({ length: rows }, (_, i) => names.map((name) => columns[name][i]))];
    return lines.map((line) => line.map(quoted).join(",") + "\n").join("");
  },
  json(columns, rows) {
    const row = (i) => Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]]));
    return JSON.stringify(Array.from({ length: rows }, (_, i) => row(i)), null, 1) + "\n";
  },
};
const types = { csv: "text/csv", json: "application/json" };

async function download({ study, analysis, download: format }) {
  const { columns, rows } = (await data())[study][analysis];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([formats[format](columns, rows)], { type: types[format] }));
  link.download = `${study.replace(/[^\w.-]+/g, "-")}-${analysis}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

for (const button of document.querySelectorAll("[data-download]"))
  button.addEventListener("click", () => download(button.dataset));
