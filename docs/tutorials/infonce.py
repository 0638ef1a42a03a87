# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---
# %% [markdown]
# # 1. InfoNCE and mutual information
#
# Contrastive learning classifies: which of these views belongs to this point? Its optimal critic is no mystery, it is a
# formula. This tutorial derives it, computes it on the mixture, and trains two critics that try to reach it.
#
# Draw a point $x$ and a noisy view $x' = x + s\varepsilon$, and hide $x'$ among $B - 1$ views of other points. By Bayes' rule
# the probability that candidate $i$ is the right one is
#
# $$P(i \mid x, x'_1 \ldots x'_B) = \frac{p(x'_i \mid x) / p(x'_i)}{\sum_j p(x'_j \mid x) / p(x'_j)},$$
#
# a softmax of $c^*(x, x') = \log p(x'\mid x) - \log p(x')$, the pointwise mutual information (PMI). InfoNCE is the
# cross-entropy of this classification, so $c^*$ minimises it, and any $a(x)$ may be added.

# %%
import numpy as np
import torch
from tutorial import MIXTURE, PARAMS, at, points, show, train

from stages.metrics.determination import r2
from stages.plots import comparison
from stages.plots.comparison import Shown

NOISE = PARAMS.block("contrastive_critic")["view"]["noise"]

# %% [markdown]
# Two views of one point are alike, so their PMI is positive; views of points in different modes have a very negative one. How
# negative depends on how far apart the modes are: there is no bound.

# %%
x, component = points(2000, seed=1)
rng = np.random.default_rng(0)
view = x.numpy() + NOISE * rng.standard_normal(x.shape)
other = view[rng.permutation(len(view))]
same, different = (MIXTURE.pointwise_mutual_information(x.numpy(), v, 0.0, NOISE) for v in (view, other))
print(
    f"PMI of a point and its view: {same.mean():.2f} nats on average; with a view of another point: {different.mean():.0f} nats"
)

# %% [markdown]
# Now train. `contrastive` has a cosine critic, bounded by $\pm 1/\tau$; `contrastive_critic` is free. Both see the same loss
# and the same noise.

# %%
view_noise = {"noise": NOISE}
trained = {name: train(name, view=view_noise) for name in ("contrastive", "contrastive_critic")}
firsts, candidates = x.numpy()[:200], view[:200]
shown = {}
for name, method in trained.items():
    first_noise = NOISE if method.both_noisy else 0.0
    a = firsts + first_noise * rng.standard_normal(firsts.shape)
    with torch.no_grad():
        critic = method.critic(*(torch.tensor(v, dtype=torch.float32)[None] for v in (a, candidates)))[0].double().numpy()
    pmi = MIXTURE.pointwise_mutual_information(a[:, None], candidates[None], first_noise, NOISE)
    near = pmi > pmi.max() - 20
    learned, true = (np.where(near, v, np.nan) for v in (critic, pmi))
    learned, true = (v - np.nanmean(v, 1, keepdims=True) for v in (learned, true))
    learned, true = learned[near], true[near]
    shown[name] = (Shown(name, "#0072b2"), true, learned, float(r2(true, learned)))
    print(f"{name}: R² {shown[name][3]:.3f}")
show(comparison.critics(shown))

# %% [markdown]
# **What to see.** The free critic lies on the diagonal. The cosine critic follows it in the middle and bends at both ends: it
# can say "very like" and "very unlike", not "how much".
#
# **Exercises.**
#
# 1. Set `temperature=1.0` in `train("contrastive", temperature=1.0)`. Between which values does the critic lie now, and why?
# 2. The score of the smoothed density is hidden in the free critic: $-\partial c(x, x')/\partial x'$ at $x' = x$. Compare
#    `at(trained["contrastive_critic"].score, x)` with `MIXTURE.smoothed(NOISE).score(x)`.
# 3. Why must the critic be compared after subtracting a mean per row? (Hint: the softmax.)

# %%
learned, true = at(trained["contrastive_critic"].score, x), MIXTURE.smoothed(NOISE).score(x.numpy())
print(f"relative Fisher divergence of the implied score: {((learned - true) ** 2).sum() / (true**2).sum():.3f}")
