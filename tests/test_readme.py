"""The README shows the committed results, and these reach their targets."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from stages.tools.readme import parts, with_part, with_parts

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_generated_parts_of_the_readme_are_up_to_date() -> None:
    assert with_parts(README, parts(ROOT)) == README


def test_a_readme_without_the_markers_of_a_part_is_rejected() -> None:
    with pytest.raises(ValueError, match="0 places for table"):
        with_part("nothing", "table", "text")


def test_every_linked_file_and_figure_is_committed() -> None:
    tracked = set(subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")}
    assert links
    for link in links:
        assert link in tracked or any(name.startswith(f"{link}/") for name in tracked), link


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    assert {"repro", "test"} <= named <= targets


def test_the_readme_states_the_measured_ceilings_of_r2() -> None:
    conditional = json.loads((ROOT / "reports/metrics/mog/jepa_masked.json").read_text())["conditional"]
    assert f"{conditional['r2_x1_given_x0_ceiling']:.3f} for x₁ from x₀" in README
    assert f"{conditional['r2_x0_given_x1_ceiling']:.3f} for x₀ from x₁" in README


def test_k_nn_on_mnist_embeddings_reaches_its_target() -> None:
    knn = json.loads((ROOT / "reports/metrics/mnist/jepa_ema.json").read_text())["knn"]
    assert min(knn[name]["mean"] for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro")) >= 0.9901


def test_only_jepa_basic_and_jepa_pairwise_collapse() -> None:
    collapsed = {
        path.stem: json.loads(path.read_text())["collapse"]["collapsed"]
        for path in (ROOT / "reports/metrics/mog").glob("*.json")
        if "collapse" in json.loads(path.read_text())
    }
    assert collapsed == {
        "contrastive": False,
        "jepa_basic": True,
        "jepa_pairwise": True,
        "jepa_masked": False,
        "jepa_masked_density": False,
        "jepa_ema": False,
        "vicreg": False,
        "sigreg": False,
    }


def metric(method: str, *keys: str) -> float:
    """The mean over seeds of a committed metric of a method on the mixture."""
    value = json.loads((ROOT / f"reports/metrics/mog/{method}.json").read_text())
    for key in keys:
        value = value[key]
    return value["mean"]


def test_the_committed_results_reach_the_accuracy_that_theory_permits() -> None:
    assert metric("dsm", "score", "relative_fisher_error") <= 0.015
    excess = json.loads((ROOT / "reports/metrics/mog/dsm.json").read_text())["denoising"]["excess_over_error"]["mean"]
    assert 0.9 <= excess <= 1.1
    assert metric("dsm_energy", "score", "relative_fisher_error") <= 0.015
    assert metric("dsm_energy", "score", "energy_spearman_within_modes") >= 0.98
    schedule = json.loads((ROOT / "reports/metrics/mog/ncsn.json").read_text())["score"]["per_sigma"]
    assert len(schedule) == 12 and max(level["mean"] for level in schedule.values()) <= 0.05
    assert metric("ncsn", "sampling", "annealed", "mode_weight_tv") <= 0.03
    assert metric("ism", "score", "relative_fisher_error") <= 0.03
    assert metric("contrastive_critic", "critic", "r2_pmi") >= 0.95
    excess = json.loads((ROOT / "reports/metrics/mog/contrastive_critic.json").read_text())["critic"]["excess_loss"]
    assert -3 * excess["std"] / 8**0.5 <= excess["mean"] <= 0.03
    assert metric("contrastive", "critic", "implied_relative_fisher_error") > 0.2
    assert metric("energy_contrastive", "score", "energy_spearman_box") >= 0.93
    assert metric("energy_contrastive", "score", "energy_spearman_support") >= 0.97
    assert metric("jepa_masked", "conditional", "r2_x1_given_x0") >= 0.88
    assert metric("jepa_masked_density", "conditional", "nll_x0_given_x1") <= 1.49


def test_links_of_the_guide_name_definitions_of_the_linked_files() -> None:
    links = re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", (ROOT / "docs/design.md").read_text(encoding="utf-8"))
    assert len(links) > 40
    for name, target in links:
        text = (ROOT / "docs" / target).read_text(encoding="utf-8")
        assert name == Path(target).name or re.search(rf"(def|class) {name}\b|^{name}\b", text, re.MULTILINE), (name, target)
