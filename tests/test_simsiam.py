"""SimSiam: the EMA JEPA without an EMA."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from stages.methods.jepa_ema import JepaEma
from stages.methods.simsiam import Simsiam
from tests.plane import domain, normal, source

SETTINGS = {"view": {"noise": 0.3}, "encoder": {"width": 8, "depth": 2, "dim": 4}, "predictor_width": 8}


def test_it_equals_jepa_ema_with_predictor_stop_gradient_and_no_decay() -> None:
    torch.manual_seed(0)
    ours = Simsiam(domain(), **SETTINGS)
    torch.manual_seed(0)
    other = JepaEma(domain(), **SETTINGS, predictor=True, stop_gradient=True, decay=0.0)
    assert ours.state_dict().keys() == {key for key in other.state_dict() if not key.startswith("target.")}
    x = normal(3, 16, 2).float()
    for step in range(3):
        losses = [method.loss(x, source(step))["loss"] for method in (ours, other)]
        assert_close(*losses, rtol=0, atol=0)
        for method, loss in zip((ours, other), losses, strict=True):
            method.zero_grad()
            loss.sum().backward()
            with torch.no_grad():
                for parameter in method.parameters():
                    parameter -= 0.1 * (0 if parameter.grad is None else parameter.grad)
            method.after_step(step / 2)
    assert_close(ours.embed(x), ours.encoder(x))


def test_target_branch_receives_no_gradient() -> None:
    torch.manual_seed(0)
    method = Simsiam(domain(), **SETTINGS).double()
    x = normal(3, 16, 2)
    method.loss(x, source())["loss"].sum().backward()
    grown = [parameter.grad for parameter in method.encoder.parameters()]
    prediction = method.predictor(method.encoder(x + 0.3 * source().normal(x)))
    target = method.encoder(x).detach()
    expected = torch.autograd.grad(
        (2 - 2 * torch.cosine_similarity(prediction, target, dim=-1).mean(-1)).sum(), list(method.encoder.parameters())
    )
    for found, wanted in zip(grown, expected, strict=True):
        assert_close(found, wanted)
