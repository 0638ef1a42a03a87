"""Studies: results that need many settings, outside the DAG.

    python -m stages.studies.run [NAME] [--again] [--on here|queue|ray] [--jobs N] [--address auto|HOST:PORT] [--git URL]

Makes the runs of a study of studies.yaml that are not there yet, on this machine (here.py), by DVC's queue (experiments.py)
or on a Ray cluster (cluster.py). Every run is kept as it ends, in reports/studies/runs/NAME.json with all that was measured
in it and what decided that (store.py): a study that was stopped goes on where it was, and one that gets another cell runs
that alone.

Then writes reports/studies/NAME.json with `command`; `standing`, which says where and when the runs were made and confirmed;
the `blocks` of the methods' params; and `cells`, each with its `method`, its `settings`, the figures that the study keeps
and, where it decides claims, all `metrics` of its first run. On the mixture there is its `preset`, empty where cells differ
in it; on the images, where each method has one cell, its figures stand under the method's name too. It also writes
reports/studies/NAME.md, the same as a table, with the verdicts on the claims, and reports/figures/studies/NAME.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from stages.core.command import end
from stages.pipeline.concurrent import cores
from stages.studies import cluster, experiments, grid, here
from stages.studies.engine import Place, Project, complete, turn


def main(arguments: Sequence[str]) -> None:
    """Make what is missing of a study, then write its table and its picture."""
    parser = argparse.ArgumentParser(prog="python -m stages.studies.run", description=(__doc__ or " ").splitlines()[0])
    parser.add_argument(
        "study", nargs="?", help=f"one of {', '.join(grid.names())}; with --again by default the one whose turn it is"
    )
    parser.add_argument("--again", action="store_true", help="make all of its runs, also those that are there")
    parser.add_argument("--on", choices=("here", "queue", "ray"), default="here", help="where its runs are made")
    parser.add_argument("--jobs", type=int, help="how many at a time, here and in the queue; by default one a core")
    parser.add_argument("--address", help="of the Ray cluster, or auto; where there is none Ray starts on this machine")
    parser.add_argument("--git", help="from where the nodes of Ray clone and to where they push; by default this folder")
    options = parser.parse_args(arguments)
    if options.jobs is not None and options.jobs < 1:
        parser.error("--jobs: at least 1")
    if options.study is None and not options.again:
        parser.error("which study?")
    name, project = options.study or turn(datetime.now(tz=UTC).date()), Project.load()
    places: dict[str, Place] = {
        "here": here.place(project, options.jobs),
        "queue": experiments.queued(name, options.jobs or cores(), again=options.again),
        "ray": cluster.place(name, project, options.git, options.address, again=options.again),
    }
    complete(name, places[options.on], again=options.again)


if __name__ == "__main__":
    end(main)
