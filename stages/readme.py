"""`make readme`: put the measured tables, the verdicts and the captions into README.md, each between its markers.

A test runs this and finds nothing to change: the README shows the committed figures.
"""

from __future__ import annotations

import re
from pathlib import Path

PARTS = {name: Path(f"reports/{name}.md") for name in ("table", "claims", "lessons")}


def with_part(readme: str, name: str, text: str) -> str:
    """The README's text with what stands between the markers of a part replaced."""
    block = re.compile(rf"(<!-- {name}:start[^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    replaced, count = block.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", readme)
    if count != 1:
        raise ValueError(f"README.md has {count} places for {name}, expected 1")
    return replaced


def with_parts(readme: str, parts: dict[str, Path]) -> str:
    """The README's text with all parts as they are in the reports."""
    for name, path in parts.items():
        readme = with_part(readme, name, path.read_text(encoding="utf-8"))
    return readme


def main() -> None:
    """Rewrite README.md."""
    readme = Path("README.md")
    readme.write_text(with_parts(readme.read_text(encoding="utf-8"), PARTS), encoding="utf-8")


if __name__ == "__main__":
    main()
