# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---
# %% [markdown]
# # 3. Why annealing
#
# Langevin dynamics samples a density from its score,
#
# $$x \leftarrow x + \eta\,\nabla\log p(x) + \sqrt{2\eta}\,\xi,\qquad \xi\sim\mathcal N(0,I).$$
#
# In the limit of many small steps its distribution is $p$. This tutorial gives it the *true* score, so that nothing is left to
# blame on learning, and looks at the weights of the modes.

# %%
import numpy as np
from tutorial import DESCRIBED, MIXTURE, QUICK, at, grid, show, train

from stages.mog.evaluation.langevin import annealed_langevin, langevin
from stages.mog.evaluation.sampling import region
from stages.mog.problem import setup
from stages.plots import landscape

COUNT, STEPS = (50, 10) if QUICK else (2000, 1000)
rng = np.random.default_rng(0)
start = setup.uniform_in_box(DESCRIBED, COUNT, rng)


def weights(samples: np.ndarray) -> np.ndarray:
    """The fraction of samples in each mode."""
    return MIXTURE.responsibilities(samples).mean(0).round(3)


# %%
shared = {"region": region(DESCRIBED, 10.0), "rng": rng}
single, _ = langevin(MIXTURE.smoothed(0.5).score, start, step_size=0.05, steps=STEPS, snapshots=[], **shared)
print("true weights:                       ", MIXTURE.weights)
print("Langevin with the true score, σ 0.5:", weights(single))

# %% [markdown]
# The weights are wrong, and more steps hardly help. A particle falls into the well whose basin it starts in, and between the
# wells the energy is four to fourteen nats higher: in finite time it hardly comes back out. The samples show the *areas* of
# the basins.
#
# **Annealing.** Smooth the density so much that it has one mode; there the particles mix. Then lower σ step by step.

# %%
sigmas = np.geomspace(10.0, 0.1, 12)
annealed, path = annealed_langevin(
    lambda x, sigma: MIXTURE.smoothed(sigma).score(x),
    start,
    sigmas=sigmas,
    step_ratio=0.2,
    steps=2 if QUICK else 20,
    snapshots=[(2 if QUICK else 20) * k for k in range(1, 13)],
    **shared,
)
print("annealed, with the true score:      ", weights(annealed))

# %% [markdown]
# A learned score at all these noise levels is a noise-conditional score network.

# %%
network = train("ncsn")
learned, _ = annealed_langevin(
    lambda x, sigma: at(lambda points: network.score_at(points, float(sigma)), x),
    start, sigmas=sigmas, step_ratio=0.2, steps=2 if QUICK else 20, snapshots=[], **shared,
)  # fmt: skip
print("annealed, with a learned score:     ", weights(learned))

# %%
axes, nodes = grid()
levels, particles = [], []
for level in (0, 3, 6, 8, 11):
    density = MIXTURE.smoothed(sigmas[level])
    energy = -density.log_density(nodes.reshape(-1, 2)).reshape(nodes.shape[:2])
    learned_score = at(lambda points, s=float(sigmas[level]): network.score_at(points, s), nodes)
    true_score = density.score(nodes.reshape(-1, 2)).reshape(nodes.shape)
    levels.append((sigmas[level], energy - energy.min(), learned_score, energy - energy.min(), true_score))
    particles.append(path[level])
show(
    landscape.noise_levels(
        axes, levels, particles, "The particles divide while the modes separate (energies: truth; arrows above: learned)"
    )
)

# %% [markdown]
# **What to see.** On the left one wide well collects all particles. As σ falls it splits, and each part keeps the particles
# that belong to it.
#
# **Exercises.**
#
# 1. Start the schedule at σ = 1. What are the weights, and what decides them?
# 2. Use three levels with as many steps each. Then give these three levels ten times as many.
# 3. Start all particles at one point. Does annealing still find the weights?
