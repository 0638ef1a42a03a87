"""`make verify`: are the metrics in the working tree those of the last commit, within what chance explains?

On a machine like the committed run's they are equal to the last byte. Another processor gives other last digits, which a
On a machine like the committed one they are equal to the last byte. Another processor gives other last digits, which a
of two means. A figure of a single training has no spread of its own: a fraction p of N images may move by twice the four-σ
bound of its sampling error, 8 √(p(1 − p)/N), any other one by 10 %.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.errors import UserError

METRICS = Path("reports/metrics")
IMAGES = 2000
"""The fewest images that any fraction in the metrics is taken over."""


def figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All measured figures and verdicts with their dotted names."""
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "mean" not in value:
            yield from figures(value, f"{name}.")
        else:
            yield name, value


def allowed(name: str, figure: Mapping[str, Any]) -> float:
    """How far the mean of a committed figure may move."""
    mean, seeds = figure["mean"], len(figure["values"])
    if seeds > 1:
        return 4 * figure["std"] * math.sqrt(2 / seeds) + 1e-3 * abs(mean)
    if "reconstruction" not in name and 0 <= mean <= 1:
        return 8 * math.sqrt(max(mean * (1 - mean), 1 / IMAGES) / IMAGES)
    return 0.1 * abs(mean)


def deviations(name: str, committed: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """What differs between two metrics files: the figure, by how much, and whether that is within tolerance."""
    new = dict(figures(found))
    for key, old in figures(committed):
        label = f"{name}:{key}"
        if key not in new:
            yield label, "is missing", False
        elif not isinstance(old, Mapping):
            if isinstance(old, bool) and old != new[key]:
                yield label, f"was {old}, is {new[key]}", False
        else:
            moved, bound = abs(new[key]["mean"] - old["mean"]), allowed(key, old)
            if moved > 0:
                yield label, f"{old['mean']:g} -> {new[key]['mean']:g}, moved {moved:.2g} of {bound:.2g}", moved <= bound
    for key in new.keys() - dict(figures(committed)).keys():
        yield f"{name}:{key}", "is new", False


def committed_metrics() -> dict[Path, dict[str, Any]]:
    """The metrics files of the last commit."""
    names = _git("ls-tree", "-r", "--name-only", "HEAD", "--", str(METRICS)).split()
    return {Path(name): json.loads(_git("show", f"HEAD:{name}")) for name in names if not name.endswith("summary.json")}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    """Print every deviation; status 1 where one is out of tolerance."""
    try:
        committed = committed_metrics()
    except UserError as error:
        sys.exit(f"error: {error}")
    rows = []
    for path, metrics in committed.items():
        if path.exists():
            rows += list(deviations(path.stem, metrics, json.loads(path.read_text(encoding="utf-8"))))
        else:
            rows.append((str(path), "is missing", False))
    for label, what, fine in rows:
        print(f"{'ok  ' if fine else 'FAIL'}  {label}  {what}")
    failed = sum(not fine for _, _, fine in rows)
    total = sum(len(dict(figures(metrics))) for metrics in committed.values())
    print(f"{total} figures in {len(committed)} files: {len(rows)} moved, {failed} out of tolerance")
    return int(failed > 0 or not committed)


if __name__ == "__main__":
    sys.exit(main())
