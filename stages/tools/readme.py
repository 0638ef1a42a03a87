"""`make readme`: put the measured tables, the verdicts and the captions into README.md, each between its markers.

A test runs this and finds nothing to change: the README shows the committed figures.
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
HERE = "](reports/figures/"
"""How links of the reports begin in the README."""


def parts(root: Path = Path()) -> dict[str, str]:
    """The parts: four reports as they are; of every study its picture, its caption and where it stands; the graph of stages."""
    found = {name: (root / f"reports/{name}.md").read_text(encoding="utf-8").replace("](figures/", HERE) for name in PARTS}
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
    """The graph of the stages' names before the @, in the direction of the data, without edges that a longer way implies."""
    names = {stage: stage.split("@")[0] for stage in stages}
    joined = nx.DiGraph((names[source], names[stage]) for stage, source in stages.edges if names[stage] != names[source])
    joined.add_nodes_from(names.values())
    return nx.transitive_reduction(joined)


def mermaid(graph: nx.DiGraph) -> str:
    """A graph as a Mermaid block, which GitHub draws, as `dvc dag --md` writes it."""
    edges = "".join(f"  {source} --> {stage}\n" for source, stage in sorted(graph.edges))
    return f"```mermaid\nflowchart TD\n{edges}```\n"


def with_part(readme: str, name: str, text: str) -> str:
    """The README's text with what stands between the markers of a part replaced."""
    block = re.compile(rf"(<!-- {name}:start[^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    replaced, count = block.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", readme)
    if count != 1:
        raise ValueError(f"README.md has {count} places for {name}, expected 1")
    return replaced


def with_parts(readme: str, parts: Mapping[str, str]) -> str:
    """The README's text with all parts as they are in the reports."""
    for name, text in parts.items():
        readme = with_part(readme, name, text)
    return readme


def main() -> None:
    """Rewrite README.md."""
    readme = Path("README.md")
    readme.write_text(with_parts(readme.read_text(encoding="utf-8"), parts()), encoding="utf-8")


if __name__ == "__main__":
    main()
