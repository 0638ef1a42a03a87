"""`make readme`: put the measured tables into README.md, between its markers.

A test runs this and finds nothing to change: the README shows the committed figures.
"""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"(<!-- table:start[^>]*-->\n).*?(<!-- table:end -->)", re.DOTALL)


def with_table(readme: str, table: str) -> str:
    """The README's text with the table between its markers replaced."""
    text, count = BLOCK.subn(lambda match: f"{match[1]}\n{table}\n{match[2]}", readme)
    if count != 1:
        raise ValueError(f"README.md has {count} places for the table, expected 1")
    return text


def main() -> None:
    """Rewrite README.md."""
    readme = Path("README.md")
    table = Path("reports/table.md").read_text(encoding="utf-8")
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
