"""The whole page in one HTML file, to be opened from a folder, kept on a stick or sent by mail.

Of a page that is opened from a folder, browsers load no module and no data, so all of it has to be inside: the files as text, and
the modules as functions of one script, those that others import first.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

IN_ONE_FILE = "playground-in-one-file.html"
FILES = ("stored.json", "engine/engine.wasm", "model/weights.bin", "model/model.json.gz")
# What the modules use of JavaScript's ways to import and export: names in braces, or all of a module.
IMPORT = re.compile(r'^import (\{[^}]*\}|\* as \w+) from "(\./[^"]+)";\n', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?(?:class|function|const) (\w+))", re.M)


def in_one_file(folder: Path, page: str) -> str:
    """The page of a built folder, with all its files inside. page: the HTML of its index.html."""
    files = {name: base64.b64encode((folder / name).read_bytes()).decode() for name in FILES}
    packed = json.dumps({"files": files, "worker": bundle(folder, "engine/worker.mjs")}, ensure_ascii=False)
    script = f"globalThis.packed = {packed};\n{bundle(folder, 'page.mjs')}".replace("</script", "<\\/script")
    style = (folder / "style.css").read_text(encoding="utf-8")
    # The rules of the page's own address (self) mean nothing in a folder, where there is no such address.
    outside = (
        r'<meta http-equiv="Content-Security-Policy".*\n|<link rel="(?:module)?preload".*\n|<script .*></script>\n'
    )
    page = re.sub(outside, "", page)
    page = page.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{style}</style>")
    return page.replace("</body>", f"<script>\n{script}</script>\n</body>")


def bundle(folder: Path, entry: str) -> str:
    """One script that does what a module does with all that it imports.

    Raises ValueError for a module that imports or exports in a way that is not known here.
    """
    modules: dict[str, str] = {}
    _collect(folder, entry, modules)
    return "(async () => {\nconst modules = {};\n" + "".join(modules.values()) + "})();\n"


def _collect(folder: Path, name: str, modules: dict[str, str]) -> None:
    """Put a module into ``modules`` as a function that gives its exports, after all that it imports."""
    if name in modules:
        return
    source = (folder / name).read_text(encoding="utf-8")
    exports = EXPORT.findall(source)
    for _, path in IMPORT.findall(source):
        _collect(folder, (Path(name).parent / path).as_posix(), modules)

    def constant(found: re.Match) -> str:
        names, path = found[1].removeprefix("* as ").replace(" as ", ": "), (Path(name).parent / found[2]).as_posix()
        return f"const {names} = modules[{json.dumps(path)}];\n"

    text = EXPORT.sub("", IMPORT.sub(constant, source))
    if unknown := re.search(r"^(import|export)\b.*|import\.meta", text, re.M):
        raise ValueError(
            f"{name} has {unknown[0]!r}; write it as the other modules do, or teach one_file.py to read it."
        )
    modules[name] = (
        f"modules[{json.dumps(name)}] = await (async () => {{\n{text}return {{ {', '.join(exports)} }};\n}})();\n"
    )
