# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---
# %% [markdown]
# # 2. Denoising score matching
#
# The score $\nabla\log p$ points uphill. It needs no normalisation, and it is all that a sampler uses. Can it be learned from
# samples?
#
# Add noise, $\tilde x = x + \sigma\varepsilon$. For the noisy density $p_\sigma$, Tweedie's formula says
#
# $$\nabla\log p_\sigma(\tilde x) = \mathbb E[-\frac{\varepsilon}{\sigma}\,|\,\tilde x],$$
#
# so the best prediction of $-\varepsilon/\sigma$ from $\tilde x$, in the sense of least squares, *is* the score.

# %%
import numpy as np
from tutorial import MIXTURE, at, grid, points, show, train

from stages.metrics.score_error import potential
from stages.plots import landscape

SIGMA = 0.5

# %% [markdown]
# Tweedie's formula first, without a network: average $-\varepsilon/\sigma$ over the draws that landed near one place.

# %%
rng = np.random.default_rng(0)
clean, _ = MIXTURE.sample(2_000_000, rng)
noise = rng.standard_normal(clean.shape)
noisy = clean + SIGMA * noise
place = np.array([0.5, 1.0])
close = np.linalg.norm(noisy - place, axis=1) < 0.05
print(f"average of −ε/σ over {close.sum()} draws: {(-noise[close] / SIGMA).mean(0).round(2)}")
print(f"score of the smoothed density:      {MIXTURE.smoothed(SIGMA).score(place[None])[0].round(2)}")

# %% [markdown]
# A network does the same everywhere at once.

# %%
method = train("dsm", sigma=SIGMA)
density = MIXTURE.smoothed(SIGMA)
x = density.sample(20_000, rng)[0]
learned, true = at(method.score, x), density.score(x)
print(f"relative Fisher divergence: {((learned - true) ** 2).sum() / (true**2).sum():.4f}; a zero score has 1")

# %% [markdown]
# What the loss exceeds its minimum by is the same error, measured without knowing the score. With $s^*$ the true score,
# $\mathcal L(\theta) - \mathcal L(s^*) = \mathbb E\lVert s_\theta - s^*\rVert^2$:

# %%
losses = [((at(method.score, noisy[:200_000]) + noise[:200_000] / SIGMA) ** 2).sum(-1).mean()]
losses += [((density.score(noisy[:200_000]) + noise[:200_000] / SIGMA) ** 2).sum(-1).mean()]
error = ((at(method.score, noisy[:200_000]) - density.score(noisy[:200_000])) ** 2).sum(-1).mean()
print(f"loss {losses[0]:.4f} − minimum {losses[1]:.4f} = {losses[0] - losses[1]:.4f}; Fisher divergence {error:.4f}")

# %%
axes, nodes = grid()
score, exact = at(method.score, nodes), density.score(nodes.reshape(-1, 2)).reshape(nodes.shape)
dx, dy = axes.x[1] - axes.x[0], axes.y[1] - axes.y[0]
truth = -density.log_density(nodes.reshape(-1, 2)).reshape(nodes.shape[:2])
energies = (potential(score, dx, dy, SIGMA) - truth.min(), truth - truth.min())
show(landscape.score(axes, energies, (score, exact), points(1000)[0].numpy(), "learned", "truth"))

# %% [markdown]
# **What to see.** The arrows agree on the data. Between the clusters the learned energy has valleys where the truth has ridges,
# and the depths of the wells differ: there were no noisy points to learn from.
#
# **Exercises.**
#
# 1. Repeat with `SIGMA = 0.2` and `SIGMA = 2.0`. Which is learned better, and what is lost?
# 2. The loss of a zero score is $2/\sigma^2$. Check it, and compare with the minimum.
# 3. Use `train("dsm_energy", sigma=SIGMA)`. Why can its wells be deeper or shallower than the truth although the loss is as
#    small?
