"""`make readme`: update the generated parts of README.md, each between its markers.

A test checks that the README shows the committed results.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import networkx as nx

from stages.core import paths
from stages.dag.graph import stage_graph

PARTS = ("table", "mnist", "claims", "comparison")
"""Reports that the README includes in full."""
FIGURE_LINK = "](reports/figures/"
"""The start of a link to a figure in the README."""


def parts(root: Path = Path()) -> dict[str, str]:
    """The generated parts by name: four reports; figure, caption and provenance of each study; the stage graph."""
    found = {
        name: (root / f"reports/{name}.md").read_text(encoding="utf-8").replace("](figures/", FIGURE_LINK) for name in PARTS
    }
    captions = {
        file.stem: _first_and_last(file.read_text(encoding="utf-8")) for file in sorted((root / paths.STUDIES).glob("*.md"))
    }
    sections = [f"![{name}](reports/figures/studies/{name}.png)\n\n{text}\n" for name, text in captions.items()]
    with contextlib.chdir(root):
        graph = groups(stage_graph())
    return {**found, "studies": "\n".join(sections), "dag": mermaid(graph)}


def _first_and_last(text: str) -> str:
    lines = text.strip().split("\n")
    return f"{lines[0]}\n\n{lines[-1]}"


def groups(stages: nx.DiGraph) -> nx.DiGraph:
    """The transitively reduced graph of the stage names before the @, in the direction of the data flow."""
    names = {stage: stage.split("@")[0] for stage in stages}
    joined = nx.DiGraph((names[source], names[stage]) for stage, source in stages.edges if names[stage] != names[source])
    joined.add_nodes_from(names.values())
    return nx.transitive_reduction(joined)


def mermaid(graph: nx.DiGraph) -> str:
    """A graph as a Mermaid block, which GitHub renders, in the format of `dvc dag --md`."""
    edges = "".join(f"  {source} --> {stage}\n" for source, stage in sorted(graph.edges))
    return f"```mermaid\nflowchart TD\n{edges}```\n"


def with_part(readme: str, name: str, text: str) -> str:
    """The README's text with the block between the markers of a part replaced.

    Raises:
        ValueError: the README does not have exactly one such block.
    """
    block = re.compile(rf"(<!-- {name}:start[^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    replaced, count = block.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", readme)
    if count != 1:
        raise ValueError(f"README.md has {count} places for {name}, expected 1")
    return replaced


def with_parts(readme: str, parts: Mapping[str, str]) -> str:
    """The README's text with all parts replaced."""
    for name, text in parts.items():
        readme = with_part(readme, name, text)
    return readme


def main() -> None:
    """Rewrite README.md."""
    readme = Path("README.md")
    readme.write_text(with_parts(readme.read_text(encoding="utf-8"), parts()), encoding="utf-8")


if __name__ == "__main__":
    main()
