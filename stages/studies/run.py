"""Run studies: grids of params outside the DAG.

    python -m stages.studies.run [NAME] [--again] [--on here|queue|ray] [--jobs N] [--address auto|HOST:PORT] [--git URL]
    python -m stages.studies.run --list
    python -m stages.studies.run [NAME] --publish

Computes the missing runs of a study of studies.yaml on this machine (here.py), in DVC's queue (experiments.py) or on a Ray
cluster (cluster.py). Each run is stored as it ends, in reports/studies/runs/NAME.json with all its metrics and its identity
(store.py): an interrupted study continues where it stopped, and a new cell causes no other run.

Then writes reports/studies/NAME.json with `command`; `standing`, the provenance of the runs; `notices`, `incomplete` and
`outdated`, if runs are missing or were computed by earlier code (state.py); `blocks`, the params of the methods; and `cells`,
each with its `method`, its `settings`, the reported metrics and, if the study decides claims, all `metrics` of its first run. A
study on the mixture also has its `preset`, empty if cells differ in it; a study on the images with one cell per method has the
metrics under the method's name too. It also writes reports/studies/NAME.md, the same as a table with the verdicts on the
claims, and reports/figures/studies/NAME.png.

`--list` prints the state of each study. `--publish` computes nothing: it writes the files of a study, or of all studies, again
if they differ from what the stored runs, the code and the params imply.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

from stages.core.command import end
from stages.pipeline.concurrent import cores
from stages.studies import cluster, experiments, grid, here
from stages.studies.engine import Backend, Project, complete, publish_changed, states, study_of_day


def main(arguments: Sequence[str]) -> None:
    """Compute the missing runs of a study, then publish its table and its picture; or list or only publish studies."""
    parser = argparse.ArgumentParser(prog="python -m stages.studies.run", description=(__doc__ or " ").splitlines()[0])
    parser.add_argument(
        "study",
        nargs="?",
        help=f"one of {', '.join(grid.names())}; with --again the default is the study of the day, with --publish all studies",
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--again", action="store_true", help="rerun the stored runs too and compare")
    action.add_argument("--list", action="store_true", help="print which studies are current, outdated or incomplete")
    action.add_argument("--publish", action="store_true", help="compute nothing; publish stored runs if that changes a file")
    parser.add_argument("--on", choices=("here", "queue", "ray"), default="here", help="where the runs are executed")
    parser.add_argument("--jobs", type=int, help="runs at a time, here and in the queue; by default one per core")
    parser.add_argument("--address", help="address of the Ray cluster, or auto; without one Ray starts on this machine")
    parser.add_argument("--git", help="repository that Ray nodes clone from and push to; by default this folder")
    options = parser.parse_args(arguments)
    if options.jobs is not None and options.jobs < 1:
        parser.error("--jobs: expected at least 1")
    if options.study is None and not (options.again or options.list or options.publish):
        parser.error("expected the name of a study, --again, --list or --publish")
    project = Project.load()
    if options.list:
        for name, state in states(project).items():
            print(f"{name}: {state.name}{''.join(f'; {sentence}' for sentence in state.notices(name))}")
        return
    if options.publish:
        changed = publish_changed([options.study] if options.study else grid.names(), project)
        print(f"published: {', '.join(changed) or 'nothing, all files are up to date'}")
        return
    name = options.study or study_of_day(datetime.now(tz=UTC).date(), states(project))
    backends: dict[str, Backend] = {
        "here": here.backend(project, options.jobs),
        "queue": experiments.queued(name, options.jobs or cores(), again=options.again),
        "ray": cluster.backend(name, project, options.git, options.address, again=options.again),
    }
    complete(name, backends[options.on], again=options.again)


if __name__ == "__main__":
    end(main)
