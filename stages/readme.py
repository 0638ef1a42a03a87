"""`make readme`: put the measured tables, the verdicts and the captions into README.md, each between its markers.

A test runs this and finds nothing to change: the README shows the committed figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from stages import files

PARTS = ("table", "mnist", "claims", "lessons")
HERE = "](reports/figures/"
"""How links of the reports begin in the README."""


def parts(root: Path = Path()) -> dict[str, str]:
    """The parts that the reports give: four as they are, and of every study its picture and its caption."""
    found = {name: (root / f"reports/{name}.md").read_text(encoding="utf-8").replace("](figures/", HERE) for name in PARTS}
    captions = {
        file.stem: file.read_text(encoding="utf-8").split("\n")[0] for file in sorted((root / files.STUDIES).glob("*.md"))
    }
    sections = [f"![{name}](reports/figures/studies/{name}.png)\n\n{text}\n" for name, text in captions.items()]
    return {**found, "studies": "\n".join(sections)}


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
