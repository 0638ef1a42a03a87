"""Studies: their cells, their digest, and what is committed of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.errors import UserError
from stages.study import Study, cells, digest, draw, load, run_cell, with_settings
from tests.imports import ROOT
from tests.small import merged

RAW: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
STUDIES = list(yaml.safe_load((ROOT / "studies.yaml").read_text()))
TINY = merged(
    RAW,
    {
        "seeds": 2,
        "threads": 1,
        "mog": {"train_points": 100, "test_points": 80, "structure_points": 40, "grid": 12, "snapshots": 3, "walk_points": 3},
        "langevin": {"particles": 20, "steps": 5, "frames": 3},
        "dsm": {"train": {"steps": 5, "batch_size": 16, "warmup": 1}},
    },
)


def example(**changes: Any) -> Study:
    grid = {"dsm.sigma": [0.3, 0.5], "dsm.train.steps": [4, 5]}
    return Study.model_validate({"methods": ["dsm"], "grid": grid, "keep": ["heldout_loss", "absent"], **changes})


def test_a_cell_is_every_combination_for_every_method() -> None:
    found = list(cells(example(methods=["dsm", "ism"])))
    assert len(found) == 8 and found[1] == ("dsm", {"dsm.sigma": 0.3, "dsm.train.steps": 5})


def test_settings_change_their_key_and_nothing_else() -> None:
    changed = with_settings(RAW, {"dsm.sigma": 0.1})
    assert changed["dsm"].pop("sigma") == 0.1
    assert changed == {**RAW, "dsm": {k: v for k, v in RAW["dsm"].items() if k != "sigma"}}


def test_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"there is no param dsm\.sgima"):
        with_settings(RAW, {"dsm.sgima": 1})


def test_a_study_that_is_not_there_or_badly_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'nothing' is no study of .*: expected one of sigma, gaps"):
        load("nothing", ROOT / "studies.yaml")
    file = tmp_path / "studies.yaml"
    file.write_text("bad: {methods: [dsm], grid: {}, keep: [x]}")
    with pytest.raises(UserError, match=r"bad\.grid: "):
        load("bad", file)


def test_the_digest_follows_params_and_cells() -> None:
    same = digest(example(), RAW)
    assert digest(example(), RAW) == same
    assert digest(example(keep=["other"]), RAW) == same
    assert digest(example(grid={"dsm.sigma": [0.3]}), RAW) != same
    assert digest(example(), merged(RAW, {"mog": {"train_points": 4999}})) != same
    assert digest(example(), merged(RAW, {"vicreg": {"variance": 1.0}})) == same


def test_a_cell_is_what_the_pipelines_stages_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    found = run_cell("dsm", {"dsm.sigma": 0.4}, ["heldout_loss", "score.relative_fisher_error", "collapse"], TINY)
    assert found["settings"] == {"dsm.sigma": 0.4} and "collapse" not in found
    assert len(found["heldout_loss"]["values"]) == 2 and found["score.relative_fisher_error"]["mean"] > 0


def test_a_cell_with_a_mistake_says_what_it_is() -> None:
    with pytest.raises(UserError, match=r"dsm\.sigma: -1 is not accepted"):
        run_cell("dsm", {"dsm.sigma": -1}, ["heldout_loss"], TINY)


@pytest.mark.parametrize("name", STUDIES)
def test_the_committed_study_is_that_of_the_committed_code(name: str) -> None:
    committed = json.loads((ROOT / f"reports/studies/{name}.json").read_text())
    found = load(name, ROOT / "studies.yaml")
    assert committed["digest"] == digest(found, RAW), f"stale: {committed['command']}"
    assert [(cell["method"], cell["settings"]) for cell in committed["cells"]] == list(cells(found))
    assert all(key in cell for cell in committed["cells"] for key in found.keep)
    assert (ROOT / f"reports/figures/studies/{name}.png").exists()
    assert draw(name, found, committed["cells"]).axes


def test_every_study_has_cells_of_methods_that_there_are() -> None:
    for name in STUDIES:
        for method, settings in cells(load(name, ROOT / "studies.yaml")):
            assert method in RAW["methods"]
            with_settings(RAW, settings)
