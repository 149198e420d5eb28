// Starts the page in one file: gives each module an address of its own text, those that others import first.
{
  const addresses = {};
  for (const [name, source] of Object.entries(MODULES)) {
    const text = source.replace(/\{\{([\w./-]+)\}\}/g, (_, other) => addresses[other]);
    addresses[name] = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  }
  globalThis.packed = { files: FILES, worker: addresses["engine/worker.mjs"] };
  import(addresses["page.mjs"]);
}
