# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---
# %% [markdown]
# # 4. Collapse and its cures
#
# Views of one point should have similar embeddings. The loss that says only this has a trivial solution: one embedding for
# everything.
#
# $$\mathcal L = \mathbb E\lVert f(x) - f(x')\rVert^2$$
#
# Four methods differ in what they add: nothing (`jepa_basic`), a stop-gradient with a predictor and an EMA target (`jepa_ema`),
# a variance and a covariance term (`vicreg`), a test of normality (`sigreg`).

# %%
import numpy as np
import torch
from tutorial import points, show, train

from stages.metrics.collapse import normalised_std, rankme, total_variance
from stages.plots import embedding_space
from stages.plots.colours import method_colour
from stages.plots.comparison import Shown

METHODS = ("jepa_basic", "jepa_ema", "vicreg", "sigreg")
x, component = points(2000, seed=1)


def embed(method: torch.nn.Module) -> np.ndarray:
    """The embeddings of the test points (N, D)."""
    with torch.no_grad():
        return method.embed(x[None])[0].double().numpy()


# %%
before = embed(train("jepa_basic", steps=1))
after = {name: embed(train(name)) for name in METHODS}
print(f"{'':12}{'variance':>12}{'normalised std':>16}{'effective rank':>16}")
for name, z in {"untrained": before, **after}.items():
    one = z[None]
    print(f"{name:12}{total_variance(one)[0]:12.2e}{normalised_std(one)[0]:16.3f}{rankme(one)[0]:16.2f}")

# %% [markdown]
# No single number finds every collapse. The variance misses embeddings that grow in one direction; the normalised standard
# deviation and the rank miss embeddings that shrink as a whole. The project calls an embedding collapsed if the variance falls
# below a hundredth of its initial value *or* the normalised standard deviation below a tenth.

# %%
shown = {name: (Shown(name, method_colour(name)), z, bool(normalised_std(z[None])[0] < 0.1)) for name, z in after.items()}
show(embedding_space.overview(shown, component))

# %% [markdown]
# **What to see.** A point; bent lines; a small spot for each mode; three clusters that point in different directions. The
# spectrum below each shows how many dimensions are in use.
#
# **Exercises.**
#
# 1. `train("jepa_ema", stop_gradient=False, decay=0.0)`: which of the numbers shows the collapse?
# 2. `train("vicreg", covariance=0.0)`: the variance is kept. What happens to the rank?
# 3. The loss of `jepa_basic` is the smallest of all. Why is it no measure of quality?
