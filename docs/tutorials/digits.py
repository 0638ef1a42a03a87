# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---
# %% [markdown]
# # 6. From perturbation to k-NN
#
# On images there is no formula for the truth, but there are labels that the training does not see. The recipe: perturb an image
# in ways that leave the digit what it is; train an encoder whose embeddings agree over such views; and ask whether the nearest
# neighbours of an image have its digit.
#
# The loss is that of [`jepa_ema`](../methods/jepa_ema.md), $2 - 2\cos(h(f(x')), \operatorname{sg} f'(x))$.

# %%
import torch
from tutorial import PARAMS, QUICK, show

from stages.metrics.neighbours import knn_classify
from stages.mnist.encoder import models, probes
from stages.mnist.encoder.embed import embed, for_knn
from stages.nn.batches import EpochBatches
from stages.nn.conv import as_images
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit
from stages.pipeline import artifacts, files
from stages.plots import sheets

# %% [markdown]
# The images are MNIST if the pipeline has fetched it (`dvc repro mnist_data`), else scikit-learn's small digits, enlarged.

# %%
if artifacts.data("mnist", "train").exists() and not QUICK:
    train, test = (files.read_arrays(artifacts.data("mnist", part)) for part in ("train", "test"))
    train, test = {k: v[:20_000] for k, v in train.items()}, {k: v[:2_000] for k, v in test.items()}
else:
    images, labels = probes.small_digits()
    train, test = {"images": images[:-300], "labels": labels[:-300]}, {"images": images[-300:], "labels": labels[-300:]}
print(f"{len(train['images']):,} training and {len(test['images']):,} test images")

# %%
method = models.untrained(PARAMS, "jepa_ema", augments=True)
generator = torch.Generator().manual_seed(0)
source = TrainingNoise(generator)
clean = torch.from_numpy(test["images"][:12])
views = [method.augment(as_images(clean), source).squeeze(1).clip(0, 1).numpy() for _ in range(4)]
show(
    sheets.sheet(
        {"original": clean.numpy(), **{f"view {k + 1}": view for k, view in enumerate(views)}}, "What the encoder trains on"
    )
)

# %% [markdown]
# Before training, the encoder is a random network. Its neighbours are not bad: small changes of an image move a random
# embedding a little.


# %%
def accuracy(method: torch.nn.Module) -> float:
    """The accuracy of k-NN with k = 5 on the test images."""
    index, queries = (
        for_knn(method, embed(method, torch.from_numpy(part["images"]), torch.device("cpu"))) for part in (train, test)
    )
    predicted = knn_classify(index, torch.from_numpy(train["labels"]), queries, 5).numpy()
    return float((predicted == test["labels"]).mean())


before = accuracy(method)
method.train()
batches = EpochBatches(torch.from_numpy(train["images"]), batch_size=64, generator=generator)
steps = 3 if QUICK else 1500
curves = fit(
    method, (as_images(batch) for batch in batches), name="jepa_ema", source=source, steps=steps, learning_rate=0.002,
    weight_decay=1e-4, schedule="cosine", warmup=steps // 10, log_every=100, snapshots=[], on_snapshot=print, report=False,
)  # fmt: skip
print(f"k-NN accuracy before {before:.3f}, after {steps} steps {accuracy(method):.3f}")

# %% [markdown]
# **What to see.** The accuracy rises although no label was used, and the neighbours of an image are the same digit in other
# hands:

# %%
z = for_knn(method, embed(method, torch.from_numpy(test["images"]), torch.device("cpu")))
queries, nearest = probes.examples(z, test["labels"], 10)
same = test["labels"][nearest] == test["labels"][queries][:, None]
show(sheets.neighbours(test["images"][queries], test["images"][nearest], same, "Test images and their nearest neighbours"))

# %% [markdown]
# **Exercises.**
#
# 1. Train without perturbations: `PARAMS.mnist_perturbations` with all probabilities 0. How much do they contribute?
# 2. Add the reflection of the image as a perturbation. For which digits is that wrong?
# 3. Evaluate on inverted images (`255 - test["images"]`). The encoder has seen some; has k-NN on raw pixels a chance?
