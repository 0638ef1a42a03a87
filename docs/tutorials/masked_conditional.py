# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---
# %% [markdown]
# # 5. The masked conditional
#
# Hide one coordinate of a point. What can be said of it? For a mixture of Gaussians the answer is explicit: given $x_1$, the
# hidden $x_0$ has a mixture of one-dimensional normal densities. Near $x_1 = 5$ it has two modes, at −5 and at 5.
#
# A *point* prediction that minimises the squared error is the conditional mean, and here that is a place where nothing is. A
# *density* can say "either here or there":
#
# $$p(x_0\mid x_1) = \sum_k P(k\mid x_1)\;\mathcal N(x_0;\,m_k,\,v_k),\qquad
# P(k\mid x_1) \propto w_k\,\mathcal N(x_1;\,\mu_{k1},\,C_{k11}),$$
#
# with the mean $m_k = \mu_{k0} + C_{k01}(x_1-\mu_{k1})/C_{k11}$ and the variance $v_k = C_{k00} - C_{k01}^2/C_{k11}$ of each
# mode.

# %%
import numpy as np
import torch
from tutorial import MIXTURE, points, show, train

from stages.metrics.neighbours import knn_regress
from stages.plots import comparison
from stages.plots.colours import method_colour
from stages.plots.comparison import Shown
from stages.plots.fields import Conditional

seen = MIXTURE.most_ambiguous(1, np.linspace(-5, 15, 200))
axis = np.linspace(-10, 10, 400)
line = np.stack((axis, np.full_like(axis, seen)), -1)
truth, mean = np.exp(MIXTURE.conditional_log_density(0, line)), float(MIXTURE.conditional_mean(0, np.array([seen]))[0])
at_mean = np.interp(mean, axis, truth)
print(f"given x₁ = {seen:.2f}: mean of x₀ {mean:.2f}, density there {at_mean:.1e}, at the modes {truth.max():.2f}")

# %% [markdown]
# `jepa_masked` predicts the embedding of the whole point from the visible coordinate. To see which $x_0$ the prediction means,
# average the $x_0$ of the 50 training points whose embeddings are nearest. `jepa_masked_density` has a second head, a density
# of the hidden coordinate.

# %%
visible = torch.tensor([0.0, 1.0])
train_points, _ = points(5000)
shown = {}
for name in ("jepa_masked", "jepa_masked_density"):
    method = train(name)
    with torch.no_grad():
        inputs = torch.tensor(line, dtype=torch.float32)[None]
        predicted = method.predict(inputs[:, :1], visible.expand(1, 1, 2))[0]
        index = method.embed(train_points[None])[0]
        density = (
            method.log_density(inputs, visible.expand(inputs.shape))[0].exp().numpy()
            if hasattr(method, "log_density")
            else None
        )
    point = float(knn_regress(index.double(), train_points[:, 0].double(), predicted.double(), 50)[0])
    fields = Conditional(seen=seen, axis=axis, true=truth, mean=mean, point=point, density=density)
    shown[name] = (Shown(name, method_colour(name)), fields)
    print(f"{name}: predicts {point:.2f}")
show(comparison.conditional(shown))

# %% [markdown]
# **What to see.** The point predictions lie between the modes, or on the flank of one. The density of the second method has two
# modes, at the right places and with the right masses.
#
# **Exercises.**
#
# 1. Hide the other coordinate: `visible = [1, 0]`, and exchange the indices 0 and 1 in `most_ambiguous`,
#    `conditional_log_density`, `conditional_mean`, `line`, `inputs[:, :1]` and `train_points[:, 0]`. Its conditional has one
#    mode almost everywhere: is the mean then a good answer?
# 2. `train("jepa_masked_density", components=1)`: what does the best single normal density look like?
# 3. Why is the mask an input of the encoder, and not just a zero in place of the hidden coordinate?
