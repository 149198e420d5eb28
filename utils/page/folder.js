// Not a module, on purpose: of a page that is opened from a folder, browsers load no modules, and somebody must say so.
if (location.protocol === "file:" && !globalThis.packed) {
  const problem = document.getElementById("problem");
  problem.textContent =
    "Browsers do not let a page that is opened from a folder load its parts. Open playground-in-one-file.html beside it instead; " +
    "or type python -m http.server in this folder and open http://localhost:8000.";
  problem.hidden = false;
}
