// Not a module, on purpose: of a page that is opened from a folder, browsers load no modules. The page in one file needs none.
if (location.protocol === "file:" && !globalThis.packed) {
  location.replace(`playground-in-one-file.html${location.search}${location.hash}`);
}
