"""Data-parallel training: each process has an equal part of every batch, and all take the same optimizer step.

The step of N processes equals that of one process with the whole batch. A loss across the batch is computed by every process
on the gathered embeddings of all processes (`gather_outputs`), BatchNorm has the statistics of the whole batch (`synchronise`),
and DistributedDataParallel averages the gradients.

A gathered embedding enters the loss of every process, so its gradient is the sum over the processes, N times that of one loss;
the average over the processes removes the factor N. If the loss is a mean over images, each process has the mean of its part,
and the average of the gradients is the gradient of the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stages.nn.method import Method
from stages.nn.noise import TrainingNoise


class _Gather(torch.autograd.Function):
    """Concatenate the parts of all processes; backward, sum all processes' gradients of this process's part."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


class _Mean(torch.autograd.Function):
    """The mean over all processes; every process uses it, so the gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _mean(gradients[0])


def _mean(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()


def gather(part: Tensor) -> Tensor:
    """Concatenate the parts (B, ...) of all N processes to (N·B, ...); gradients flow back to all processes."""
    gathered: Tensor = _Gather.apply(part)
    return gathered


def gather_outputs(encoder: nn.Module) -> None:
    """Make an encoder in training mode return the embeddings of the whole batch, given this process's part of it."""
    encoder.register_forward_hook(lambda module, _, z: gather(z) if module.training else z)


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm with the mean and variance of the whole batch, on any device: torch's `SyncBatchNorm` requires GPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, ...)."""
        if not self.training:
            return super().forward(x)
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        mean = _Mean.apply(x.mean(dims))
        centred = x - mean.view(shape)
        variance = _Mean.apply(centred.square().mean(dims))
        count = x.numel() // x.shape[1] * dist.get_world_size()
        self._update_running(mean.detach(), variance.detach() * (count / (count - 1)))
        return centred * (self.weight * (variance + self.eps).rsqrt()).view(shape) + self.bias.view(shape)

    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        for running, new in ((self.running_mean, mean), (self.running_var, variance)):
            cast(Tensor, running).lerp_(new, cast(float, self.momentum))
        cast(Tensor, self.num_batches_tracked).add_(1)

    def _check_input_dim(self, _: Tensor) -> None:
        """Accept any number of dimensions after the channels."""


def synchronise(network: nn.Module) -> None:
    """Replace each BatchNorm of a network by one with the whole batch's statistics; parameters and buffers keep their names."""
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            replacement: nn.Module
            if any(parameter.is_cuda for parameter in child.parameters()):
                replacement = nn.SyncBatchNorm.convert_sync_batchnorm(child)
            else:
                replacement = SynchronisedBatchNorm(child.num_features, child.eps, child.momentum).to(child.weight)
                replacement.load_state_dict(child.state_dict())
                for own, other in zip(replacement.parameters(), child.parameters(), strict=True):
                    own.requires_grad_(other.requires_grad)
                replacement.train(child.training)
            setattr(network, name, replacement)
        else:
            synchronise(child)


class _Loss(nn.Module):
    """A method's loss as a forward pass, which DistributedDataParallel requires."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, x: Tensor, source: TrainingNoise) -> dict[str, Tensor]:
        """The loss and its named terms."""
        return self.method.loss(x, source)


def shared_loss(method: Method, *, some_unused: bool = False) -> Callable[[Tensor, TrainingNoise], dict[str, Tensor]]:
    """The method's loss on this process's part of a batch; its values and gradients are those of the whole batch.

    Args:
        method: has synchronised BatchNorm and, for a loss across the batch, gathered outputs.
        some_unused: some trainable parameters do not enter the loss.
    """
    wrapped = DistributedDataParallel(_Loss(method), forward_sync_buffers=False, find_unused_parameters=some_unused)

    def loss(x: Tensor, source: TrainingNoise) -> dict[str, Tensor]:
        parts: dict[str, Tensor] = wrapped(x, source)
        # The mean over processes as value, this process's gradient: DistributedDataParallel averages gradients.
        return {name: part + (_mean(part.detach()) - part.detach()) for name, part in parts.items()}

    return loss
