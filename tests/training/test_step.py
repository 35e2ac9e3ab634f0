"""One phase update against a loop written by hand: what moves, by how much, and what stays."""

from functools import partial

import pytest
import torch
from fake_cuda import FakeCuda
from torch import nn

from gancli.data.spec import Batch, ImageSpec
from gancli.losses.base import Phase, Term
from gancli.models.base import Model
from gancli.training.runtime import Runtime
from gancli.training.schedules import Rates
from gancli.training.step import Step

CPU = Runtime(torch.device("cpu"))
SGD = partial(torch.optim.SGD, lr=0.1)


class Two(Model):
    """Two linear networks."""

    sampled = ("first",)

    def __init__(self):
        super().__init__(ImageSpec(1, 2, 2))
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 1)

    def sample(self, n, *, label=None, source=None, generator=None):
        return torch.zeros(n, 1, 2, 2)


def fit(model: Model, batch: Batch) -> dict:
    out = model.second(model.first(batch.image.flatten(1)))
    return {"square": out.square().mean(), "note": out.detach().mean()}


def batch(n: int = 8) -> Batch:
    return Batch(
        torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(1)), torch.arange(n), progress=torch.tensor(0.5)
    )


def test_only_the_phases_networks_move_and_by_the_gradient():
    model, twin = Two(), Two()
    step = Step(model, Phase("fit", ("first",), (Term(fit),)), SGD, CPU)
    scalars = step(batch())
    loss = fit(twin, batch())["square"]
    grads = torch.autograd.grad(loss, list(twin.first.parameters()))
    for p, q, g in zip(model.first.parameters(), twin.first.parameters(), grads):
        torch.testing.assert_close(p, q - 0.1 * g)  # some CPUs fuse the two operations
    assert all(torch.equal(p, q) for p, q in zip(model.second.parameters(), twin.second.parameters()))
    assert all(p.grad is None for p in model.second.parameters())
    assert set(scalars) == {"fit/square", "fit/note", "loss/fit"}
    assert not any(v.requires_grad for v in scalars.values())
    assert scalars["loss/fit"].item() == pytest.approx(loss.item())  # the detached note is not in the sum


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_gives_the_gradient_of_the_whole_batch(parts):
    models = [Two(), Two()]
    for model, accumulate in zip(models, (1, parts)):
        scalars = Step(model, Phase("fit", ("first", "second"), (Term(fit),)), SGD, CPU, accumulate=accumulate)(batch())
        assert scalars["loss/fit"].item() == pytest.approx(fit(Two(), batch())["square"].item(), rel=1e-6)
    for p, q in zip(*(m.parameters() for m in models)):
        assert torch.allclose(p, q, atol=1e-7)


def test_accumulation_cuts_every_tensor_of_the_batch():
    seen = []

    def look(model, part):
        seen.append(part)
        return fit(model, part)

    Step(Two(), Phase("fit", ("first",), (Term(look),)), SGD, CPU, accumulate=2)(batch())
    assert [len(p.image) for p in seen] == [4, 4]
    assert torch.equal(torch.cat([p.label for p in seen]), torch.arange(8))
    assert all(p.source is None and p.progress.item() == 0.5 for p in seen)


def test_clipping_bounds_the_update():
    model, twin = Two(), Two()
    step = Step(model, Phase("fit", ("first",), (Term(fit),)), SGD, CPU, clip=1e-3)
    norm = step(batch(), measure=True)["grad_norm/first"]
    moved = torch.cat([(p - q).flatten() for p, q in zip(model.first.parameters(), twin.first.parameters())])
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-3)
    assert norm > 1e-3  # measured before the clipping


def test_gradient_norms_are_per_network():
    model = Two()
    scalars = Step(model, Phase("fit", ("first", "second"), (Term(fit),)), SGD, CPU)(batch(), measure=True)
    for name in ("first", "second"):
        grads = torch.cat([p.grad.flatten() for p in model.get_submodule(name).parameters()])
        assert scalars[f"grad_norm/{name}"].item() == pytest.approx(grads.norm().item(), rel=1e-6)


def test_a_lazy_term_is_due_every_interval_and_scaled_by_it():
    calls = []

    def penalty(model, batch):
        calls.append(1)
        return {"penalty": model.first.weight.square().sum()}

    model = Two()
    step = Step(model, Phase("fit", ("first",), (Term(fit), Term(penalty, interval=3))), SGD, CPU)
    rows = [step(batch()) for _ in range(7)]
    assert len(calls) == 3 and [("fit/penalty" in row) for row in rows] == [True, False, False] * 2 + [True]
    first = rows[0]
    assert first["loss/fit"].item() == pytest.approx((first["fit/square"] + 3 * first["fit/penalty"]).item(), rel=1e-6)


def test_overrides_and_rates_per_network():
    step = Step(
        Two(),
        Phase("fit", ("first", "second"), (Term(fit),)),
        partial(SGD, momentum=0.9),
        CPU,
        overrides={"second": {"lr": 0.4}},
    )
    step.prepare(0.0, Rates(0.5))
    assert step.rates() == {"lr/first": pytest.approx(0.05), "lr/second": pytest.approx(0.2)}
    assert [g["momentum"] for g in step.optimizer.param_groups] == [0.9, 0.9]
    step.prepare(0.0, Rates(1.0, momentum=0.6))
    assert [g["momentum"] for g in step.optimizer.param_groups] == [0.6, 0.6]


def test_state_keeps_moments_and_counts_but_not_the_learning_rate():
    phase = Phase("fit", ("first",), (Term(fit),))
    old = Step(Two(), phase, partial(torch.optim.Adam, lr=0.1), CPU)
    for _ in range(3):
        old(batch())
    new = Step(Two(), phase, partial(torch.optim.Adam, lr=0.2), CPU)
    new.load_state_dict(old.state_dict())
    assert new.updates == 3 and new.optimizer.param_groups[0]["lr"] == 0.2
    for a, b in zip(old.params, new.params):
        assert torch.equal(old.optimizer.state[a]["exp_avg_sq"], new.optimizer.state[b]["exp_avg_sq"])


@pytest.mark.parametrize("fused", [False, True])
def test_an_update_tells_that_weights_have_changed(fused):
    """By torch's counts of changes, which fused optimizers leave as they are; mean styles are kept by them."""
    optimizer = partial(torch.optim.Adam, lr=0.1, fused=fused)
    step = Step(Two(), Phase("fit", ("first",), (Term(fit),)), optimizer, CPU)
    counts = [[p._version for p in step.model.parameters()]]
    for _ in range(2):
        step(batch())
        counts.append([p._version for p in step.model.parameters()])
    own = len(step.params)
    assert all(a < b for before, after in zip(counts, counts[1:]) for a, b in zip(before[:own], after))
    assert counts[0][own:] == counts[-1][own:]  # of the other network


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD])
@pytest.mark.parametrize("before", [{}, {"capturable": True}, {"fused": True}])
@pytest.mark.parametrize("now", [{}, {"capturable": True}, {"fused": True}])
def test_counts_lie_where_the_optimizer_of_this_run_keeps_them(optimizer, before, now):
    """Counts on a GPU that belong on the host would be read there in every update."""

    def step(settings):
        made = Step(Two(), Phase("fit", ("first",), (Term(fit),)), partial(optimizer, lr=0.1), CPU)
        for group in made.optimizer.param_groups:
            group.update({key: value for key, value in settings.items() if key in group})
        return made

    old, new, fake = step(before), step(now), FakeCuda()
    fake.module(new.model)
    new.optimizer.param_groups[0]["params"] = list(new.model.first.parameters())
    counted = optimizer is not torch.optim.SGD
    with fake.running(strict=False):
        old.optimizer.state.update({p: {"step": torch.ones(())} for p in old.params if counted})
        new.load_state_dict(old.state_dict())
    on_device = any(value for key, value in now.items() if key in new.optimizer.param_groups[0])
    found = [values["step"].device.type for values in new.optimizer.state.values()]
    assert found == ["cuda" if on_device else "cpu"] * len(old.params) * counted


def test_bf16_computes_first_order_terms_in_bf16_and_second_order_terms_in_fp32():
    types = []

    def look(model, batch):
        types.append(model.first(batch.image.flatten(1)).dtype)
        return fit(model, batch)

    runtime = Runtime(torch.device("cpu"), precision="bf16")
    Step(Two(), Phase("fit", ("first",), (Term(look), Term(look, second_order=True))), SGD, runtime)(batch())
    assert types == [torch.bfloat16, torch.float32]
