"""Hooks of MkDocs for the book (mkdocs.yml): what its pages link to outside docs/, tutorials, equations and graphs.

Pages are written for a Git host: pictures and sources are linked by relative paths, equations stand between dollar signs,
graphs in Mermaid blocks. For the site, linked pictures are copied, a linked source becomes a page of its own, a method's source
is shown in place, tutorials are executed, equations become MathML and graphs SVG, so that nothing is loaded from a network.
"""

from __future__ import annotations

import hashlib
import html
import os
import posixpath
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TUTORIALS = "tutorials"
"""The folder of the tutorials in docs/."""
HELPER = "tutorial.py"
"""The module that the tutorials share."""
TARGET = re.compile(r'(?P<before>\]\(|<img src=")(?P<path>[^)\s"#]+)(?P<after>(?:#[^)"]*)?(?:\)|"))')
"""A link or picture."""
SOURCE = re.compile(r"^\[stages/methods/(\w+)\.py\]\(\S+\)$", re.MULTILINE)
"""The line at which a method's source is shown."""
INLINE = re.compile(r'<span class="arithmatex">\\\((.+?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.+?)\\\]\s*</div>', re.DOTALL)
MERMAID = re.compile(r"^```mermaid\nflowchart TD\n(.+?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".txt": "text",
    ".in": "text",
    ".md": "markdown",
}
"""Language of a source by the ending of its file; others are text."""
LOADED = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)="(?P<address>(?:https?:)?//[^"]*)"')
"""An element whose content a browser fetches from a network."""
VARIANT = re.compile(r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>')
FENCE = '<mo stretchy="false">{}</mo>'
"""A bar as high as a letter."""
PICTURES = (".png", ".gif", ".svg")
REFERENCE = ("stages/methods", "stages/nn", "stages/metrics", "stages/mog/problem", "stages/mog/evaluation", "stages/plots")
"""Packages with a page of reference for each module."""
PAGE = ("reports/index.html", "reports/page_data", "reports/figures")
"""The interactive page, its data, and the pictures to which it links."""
WIDE = ("methods/index.md", "results.md", "studies.md")
"""Pages with wide tables, which get the place of the table of contents."""
HEIGHT, GAP = 30, (24, 46)
"""Height of a node of a graph, and the gaps between nodes."""
LETTER = 6.4
"""Width of a letter in it."""


_executed: dict[str, tuple[str, dict[str, bytes]]] = {}
"""Tutorials that this process has executed, by the digest of what they are made from: a server builds after every change."""


def on_startup(command: str, dirty: bool) -> None:
    """Let a server (`mkdocs serve`) run the tutorials with hardly any training."""
    if command == "serve":
        os.environ["ENERGY_WELLS_QUICK"] = "1"


def on_files(files: Any, config: Any) -> Any:
    """Add the linked files outside docs/, the pages of linked sources, the executed tutorials and the reference.

    Raises:
        PluginError: a page links to a file that is not there, or the pipeline has not been run.
    """
    from mkdocs.exceptions import PluginError

    def add(uri: str, **content: Any) -> None:
        from mkdocs.structure.files import File

        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, **content))

    for page in [file for file in files if file.src_uri.endswith(".md")]:
        for path in _outside(page.content_string, page.src_uri):
            if path.startswith("../") or not (ROOT / path).exists():
                raise PluginError(f"{page.src_uri} links to {path}, which does not exist: `make repro` makes pictures and page")
            if path.endswith(PICTURES):
                add(_uri(path), abs_src_path=str(ROOT / path))
            elif path not in PAGE:
                try:
                    add(_uri(path), content=_source_page(path))
                except UnicodeDecodeError:
                    raise PluginError(f"{page.src_uri} links to {path}, which is neither text nor a picture") from None
    for uri, content in _reference():
        add(uri, content=content)
    shared = _content(DOCS / TUTORIALS / HELPER, *sorted((ROOT / "stages").rglob("*.py")))
    for script in sorted((DOCS / TUTORIALS).glob("*.py")):
        if script.name != HELPER:
            key = hashlib.sha256(shared + _content(script)).hexdigest()
            if key not in _executed:
                _executed[key] = execute(script)
            text, pictures = _executed[key]
            add(f"{TUTORIALS}/{script.stem}.md", content=text)
            add(f"source/docs/{TUTORIALS}/{script.name}.md", content=_source_page(f"docs/{TUTORIALS}/{script.name}"))
            for name, data in pictures.items():
                add(f"{TUTORIALS}/{name}", content=data)
    for part in PAGE:
        place = ROOT / part
        for file in sorted(place.rglob("*.*")) if place.is_dir() else [place]:
            add(f"page/{file.relative_to(ROOT / 'reports').as_posix()}", abs_src_path=str(file))
    return files


def _content(*files: Path) -> bytes:
    """The contents of files, one after the other."""
    return b"".join(file.read_bytes() for file in files)


def _outside(markdown: str, uri: str) -> Iterator[str]:
    """The files of the project outside docs/ that a page links to, as paths from the project's folder."""
    for found in TARGET.finditer(markdown):
        path = _resolved(found["path"], uri)
        if path and not path.startswith("docs/"):
            yield path


def _resolved(target: str, uri: str) -> str | None:
    """A relative link of a page as a path from the project's folder; None for any other link."""
    if re.match(r"[a-z]+:|/", target):
        return None
    return posixpath.normpath(posixpath.join("docs", posixpath.dirname(uri), target))


def _uri(path: str) -> str:
    """Where the site has a file of the project."""
    if path == PAGE[0]:
        return "page/index.html"
    return f"files/{path}" if path.endswith(PICTURES) else f"source/{path}.md"


def _source_page(path: str) -> str:
    """A page that shows a source, or lists the files of a folder."""
    if (ROOT / path).is_dir():
        listed = ["git", "ls-files", "--", f"{path}/*"]
        tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
        names = dict.fromkeys(name.removeprefix(f"{path}/").split("/")[0] for name in tracked)
        return f"# {path}\n\n" + "".join(f"- {name}\n" for name in names)
    return f"# {path}\n\n{_code(path)}\n"


def _code(path: str) -> str:
    """A file as a block of code."""
    text = (ROOT / path).read_text(encoding="utf-8")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=2) + 1)
    fence = fence if len(fence) > 3 else "```"
    return f"{fence}{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}{fence}"


def _reference() -> Iterator[tuple[str, str]]:
    """The pages of the reference: one per module, and an index."""
    lines = ["# Reference", "", "Docstrings and signatures of the modules that hold the mathematics.", ""]
    for package in REFERENCE:
        lines += [f"## {package.replace('/', '.')}", ""]
        for file in sorted((ROOT / package).glob("[!_]*.py")):
            module = f"{package.replace('/', '.')}.{file.stem}"
            yield f"reference/{module}.md", f"# {module}\n\n::: {module}\n    options: {{show_root_heading: false}}\n"
            lines.append(f"- [{module}]({module}.md)")
        lines.append("")
    yield "reference/index.md", "\n".join(lines)


def execute(script: Path) -> tuple[str, dict[str, bytes]]:
    """A tutorial as Markdown with its outputs, and its pictures by name.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    import jupytext
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter

    notebook = jupytext.read(script)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(script.parent)}}).execute()
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    pictures = {f"{script.stem}_{name}": data for name, data in resources["outputs"].items()}
    for name in resources["outputs"]:
        text = text.replace(f"]({name})", f"]({script.stem}_{name})")
    title, _, rest = text.lstrip().partition("\n")
    return f"{title}\n\nThe output of [{script.name}](../../docs/{TUTORIALS}/{script.name}).\n{rest}", pictures


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links outside docs/ to their copies, show methods' sources in place, draw graphs."""
    uri = page.file.src_uri
    if uri in WIDE:
        page.meta["hide"] = ["toc"]

    def target(found: re.Match[str]) -> str:
        path = _resolved(found["path"], uri)
        if path is None:
            return found[0]
        if path.startswith(f"docs/{TUTORIALS}/") and path.endswith(".py"):
            place = path.removeprefix("docs/").removesuffix(".py") + ".md" if uri == f"{TUTORIALS}/README.md" else _uri(path)
        elif path.startswith("docs/"):
            return found[0]
        else:
            place = _uri(path)
        # MkDocs rewrites the paths of links, but not those of HTML tags: the latter are written as on the site.
        base = posixpath.dirname(uri)
        return f"{found['before']}{posixpath.relpath(place, base or '.')}{found['after']}"

    if uri.startswith("methods/"):
        markdown = SOURCE.sub(lambda found: _code(f"stages/methods/{found[1]}.py"), markdown)
    markdown = MERMAID.sub(lambda found: f'<div class="graph">{graph(found[1])}</div>', markdown)
    return TARGET.sub(target, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Turn equations into MathML.

    Raises:
        PluginError: the page would load something from a network.
    """
    from latex2mathml.converter import convert
    from mkdocs.exceptions import PluginError

    if foreign := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads {foreign['address']}: expected no content from a network")

    def mathml(latex: str, display: str) -> str:
        found = VARIANT.sub(lambda m: f"<mi>{_letter(m[2], m[1])}</mi>", convert(html.unescape(latex), display=display))
        return found.replace("<mo>&#x02016;</mo>", FENCE.format("&#x02016;")).replace("<mo>&#x0007C;</mo>", FENCE.format("|"))

    output = BLOCK.sub(lambda found: mathml(found[1], "block"), output)
    return INLINE.sub(lambda found: mathml(found[1], "inline"), output)


def _letter(letter: str, variant: str) -> str:
    """The Unicode character of a letter in an alphabet of mathematics; browsers ignore MathML's attribute `mathvariant`."""
    name = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT"}[variant]
    try:
        return unicodedata.lookup(f"MATHEMATICAL {name} CAPITAL {letter}")
    except KeyError:
        # Some letters have been in Unicode for longer than the alphabets.
        return unicodedata.lookup(f"{name} CAPITAL {letter}")


def graph(mermaid: str) -> str:
    """The lines of a Mermaid flowchart, paths `a["label"] --> b`, as SVG: the nodes in layers from top to bottom."""
    labels: dict[str, str] = {}
    edges = nx.DiGraph()
    for line in filter(str.strip, mermaid.splitlines()):
        path = []
        for node in line.split("-->"):
            name, _, label = node.strip().partition("[")
            labels[name] = label.strip('"]') or labels.get(name, name)
            path.append(name)
        nx.add_path(edges, path)
    layers = [sorted(layer) for layer in nx.topological_generations(edges)]
    wide = {name: LETTER * len(labels[name]) + 16 for name in edges}
    width = max(sum(wide[name] + GAP[0] for name in layer) for layer in layers)
    places = {}
    for row, layer in enumerate(layers):
        spare = (width - sum(wide[name] for name in layer)) / len(layer)
        x = 0.0
        for name in layer:
            x += spare / 2 + wide[name] / 2
            places[name] = (x, GAP[1] / 2 + row * (HEIGHT + GAP[1]) + HEIGHT / 2)
            x += spare / 2 + wide[name] / 2
    height = len(layers) * (HEIGHT + GAP[1])
    tip = '<path d="M0 0L8 4L0 8z" fill="#888"/>'
    arrow = f'<marker id="arrow" orient="auto" markerWidth="8" markerHeight="8" refX="7" refY="4">{tip}</marker>'
    parts = [f"<defs>{arrow}</defs>"]
    for tail, head in edges.edges:
        (x, y), (to_x, to_y) = places[tail], places[head]
        parts.append(
            f'<line x1="{x:.0f}" y1="{y + HEIGHT / 2:.0f}" x2="{to_x:.0f}" y2="{to_y - HEIGHT / 2:.0f}" stroke="#888" '
            'marker-end="url(#arrow)"/>'
        )
    for name, (x, y) in places.items():
        box = f'x="{x - wide[name] / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{wide[name]:.0f}" height="{HEIGHT}" rx="5"'
        parts.append(f'<rect {box} fill="#eef" stroke="#669"/>')
        style = 'text-anchor="middle" dominant-baseline="middle" font-size="11" fill="#222"'
        parts.append(f'<text x="{x:.0f}" y="{y:.0f}" {style}>{html.escape(labels[name])}</text>')
    return f'<svg viewBox="0 0 {width:.0f} {height}" role="img">{"".join(parts)}</svg>'
