"""`make readme`: update what README.md and the book take from the committed results.

    <!-- NAME ARGUMENT ...:start --> ... <!-- NAME ARGUMENT ...:end -->    a block, a function of blocks.py
    <!--= KEY FORMAT -->...<!--/-->                                        a value in a sentence, `value` there

A test checks that all pages show the committed results.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import networkx as nx

from stages.core.command import end
from stages.core.errors import UserError
from stages.dag.graph import stage_graph
from stages.tools import blocks

BLOCK = re.compile(
    r"(?P<start><!-- (?P<name>[a-z_]+)(?P<arguments>(?: [\w.]+)*):start -->\n).*?"
    r"(?P<end><!-- (?P=name)(?P=arguments):end -->)",
    re.DOTALL,
)
"""A generated block."""
VALUE = re.compile(r"(?P<start><!--= (?P<key>\S+?)(?: (?P<spec>\S+))? -->)(?P<old>[^<]*)(?P<end><!--/-->)")
"""A generated value."""
MARKER = re.compile(r"<!-- [a-z_]+(?: [\w.]+)*:(?:start|end) -->|<!--= |<!--/-->")
"""The beginnings and ends of generated parts."""
LINK = re.compile(r'(?P<before>\]\(|src="|href=")/(?P<path>[^)"#]+)')
"""A link to a file of the project, from its folder."""


def groups(stages: nx.DiGraph) -> nx.DiGraph:
    """The transitively reduced graph of the stage names before the @, in the direction of the data flow."""
    names = {stage: stage.split("@")[0] for stage in stages}
    joined = nx.DiGraph((names[source], names[stage]) for stage, source in stages.edges if names[stage] != names[source])
    joined.add_nodes_from(names.values())
    return nx.transitive_reduction(joined)


def mermaid(graph: nx.DiGraph) -> str:
    """A graph as a Mermaid block, which GitHub renders; each line is a path, and each edge is on one of them."""
    left = nx.DiGraph(sorted(graph.edges))
    lines = []
    while left.edges:
        path = nx.dag_longest_path(left)
        left.remove_edges_from(pairwise(path))
        lines.append("  " + " --> ".join(path))
    return "```mermaid\nflowchart TD\n" + "\n".join(lines) + "\n```\n"


BLOCKS: Mapping[str, Callable[..., str]] = {
    "methods": blocks.methods,
    "overview": blocks.overview,
    "mnist": blocks.mnist,
    "paired": blocks.paired,
    "results": blocks.results,
    "claims": blocks.claims,
    "all_claims": blocks.all_claims,
    "studies": blocks.studies,
    "exercise": blocks.exercise,
    "report": blocks.report,
    "dag": lambda: mermaid(groups(stage_graph())),
}
"""The blocks by name."""


def pages() -> Iterator[Path]:
    """README.md and all pages of the book."""
    yield Path("README.md")
    yield from sorted(Path("docs").rglob("*.md"))


def updated(text: str, page: Path) -> str:
    """The text of a page with its generated parts anew.

    Raises:
        UserError: a generated part is unknown or has no end.
    """

    def block(found: re.Match[str]) -> str:
        if found["name"] not in BLOCKS:
            raise UserError(f"{page}: there is no block {found['name']}: expected any of {', '.join(BLOCKS)}")
        made = BLOCKS[found["name"]](*found["arguments"].split())
        return f"{found['start']}\n{relative(made, page)}\n{found['end']}"

    def value(found: re.Match[str]) -> str:
        return f"{found['start']}{blocks.value(found['key'], found['spec'] or '')}{found['end']}"

    expected = 2 * (len(BLOCK.findall(text)) + len(VALUE.findall(text)))
    if re.search(r"^\s*<!--=", text, re.MULTILINE):
        raise UserError(f"{page}: a value at the start of a line ends the paragraph: join it with the line before")
    if len(MARKER.findall(text)) != expected:
        raise UserError(f"{page}: a generated part has no start or no end")
    return VALUE.sub(value, BLOCK.sub(block, text))


def relative(text: str, page: Path) -> str:
    """A text whose links start at the project's folder, with links relative to a page."""
    return LINK.sub(lambda found: found["before"] + os.path.relpath(found["path"], page.parent), text)


def main() -> None:
    """Rewrite all pages."""
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = updated(old, page)
        if new != old:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    end(lambda _: main())
