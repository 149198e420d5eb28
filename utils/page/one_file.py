"""The whole page in one HTML file, to be opened from a folder, kept on a stick or sent by mail.

Of a page that is opened from a folder, browsers load no module and no data, so all of it has to be inside. Each module becomes an
address of its own text (blob:); one_file.js makes them, those that others import first.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

IN_ONE_FILE = "playground-in-one-file.html"
FILES = (
    "stored.json",
    "engine/engine.wasm",
    "model/weights.bin",
    "model/config.json",
    "model/tokenizer.json",
    "model/data.json",
)
ENTRIES = ("engine/worker.mjs", "page.mjs")
IMPORT = re.compile(r'(?<=from )"(\./[^"]+)"')


def in_one_file(folder: Path, page: str) -> str:
    """The page of a built folder, with all its files inside. page: the HTML of its index.html."""
    modules: dict[str, str] = {}
    for entry in ENTRIES:
        _collect(folder, entry, modules)
    files = {name: base64.b64encode((folder / name).read_bytes()).decode() for name in FILES}
    loader = Path(__file__).with_name("one_file.js").read_text(encoding="utf-8")
    for name, value in (("FILES", files), ("MODULES", modules)):
        loader = loader.replace(name, json.dumps(value, ensure_ascii=False).replace("</", "<\\/"), 1)
    style = (folder / "style.css").read_text(encoding="utf-8")
    # The rules of the page's own address (self) mean nothing in a folder, where there is no such address.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy".*\n|<script .*></script>\n', "", page)
    page = page.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{style}</style>")
    return page.replace("</body>", f"<script>\n{loader}</script>\n</body>")


def _collect(folder: Path, name: str, modules: dict[str, str]) -> None:
    """Put a module and all that it imports into ``modules``, each after those it needs, with {{name}} in place of a path."""
    if name in modules:
        return
    source = (folder / name).read_text(encoding="utf-8")
    wanted = {path: (Path(name).parent / path).as_posix() for path in IMPORT.findall(source)}
    for other in wanted.values():
        _collect(folder, other, modules)
    modules[name] = IMPORT.sub(lambda found: f'"{{{{{wanted[found[1]]}}}}}"', source)
