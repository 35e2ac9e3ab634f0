"""One update of a phase: forward and backward passes of its terms, clipping, optimizer step."""

import logging
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Phase, Term
from gancli.models.base import Model
from gancli.nn import annealed
from gancli.nn.sync_norm import running
from gancli.training.runtime import Runtime
from gancli.training.schedules import Rates

log = logging.getLogger("gancli")


class Step:
    """Update the networks of one phase, and no others, with its terms.

    An update has a host part, prepare(), which depends on the clock, and a device part, compute(), which never reads
    the value of a tensor and takes the same path whenever the same terms are due.

    Args:
        model: the model whose children the phase names.
        phase: the networks to update and the terms to minimise.
        optimizer: makes the optimizer from parameter groups, one per network.
        runtime: device and precision.
        overrides: optimizer arguments that differ, per network (``optimizer.overrides``).
        accumulate: micro-batches per update; it must divide the batch size.
        clip: maximum norm of the phase's gradient; None for no clipping.
        rates: optimizer arguments that change over the run, each an Annealed or a sequence with one (``betas``);
            arguments in ``overrides`` may change, too.
    """

    def __init__(
        self,
        model: Model,
        phase: Phase,
        optimizer: Callable[..., torch.optim.Optimizer],
        runtime: Runtime,
        *,
        overrides: dict[str, dict[str, Any]] | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        rates: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.phase, self.runtime, self.accumulate, self.clip = model, phase, runtime, accumulate, clip
        given = [{**(rates or {}), **(overrides or {}).get(name, {})} for name in phase.networks]
        groups = [
            {key: annealed.value(number, 0.0) for key, number in each.items()}
            | {"params": list(model.get_submodule(name).parameters())}
            for name, each in zip(phase.networks, given)
        ]
        self.optimizer = optimizer(groups)
        for group in self.optimizer.param_groups if runtime.graphs else ():
            if "capturable" in group:
                group["capturable"] = True  # its counts live on the device, so that a replay moves them on
        self.numbers = [
            {"lr": group["lr"]} | {key: number for key, number in each.items() if annealed.changes(number)}
            for group, each in zip(self.optimizer.param_groups, given)
        ]  # what prepare() sets, for each group
        self.params = list(chain.from_iterable(group["params"] for group in groups))
        mine = {id(p) for p in self.params}
        self.others = [p for p in model.parameters() if id(p) not in mine]
        self.running = running(model) if runtime.world > 1 else []
        self.terms = self.due = self._compiled_terms()
        self.updates = 0

    def enter(self, *, reset: bool) -> None:
        """Follow the model into a new stage: recompile the terms, and clear the optimizer's state if ``reset``."""
        self.terms = self._compiled_terms()
        if reset:
            self.optimizer.state.clear()

    def _compiled_terms(self) -> list[Term]:
        if not self.runtime.compile:
            return list(self.phase.terms)
        return [term if term.second_order or term.eager else _compiled(term) for term in self.phase.terms]

    def prepare(self, share: float = 0.0, rates: Rates | None = None) -> None:
        """Prepare the next update: set_rates(), then begin()."""
        self.set_rates(share, rates)
        self.begin()

    def set_rates(self, share: float = 0.0, rates: Rates | None = None) -> None:
        """Set the optimizer's numbers for the next updates.

        Args:
            share: completed share of the run, in [0, 1], at which changing numbers are evaluated.
            rates: the schedule's factor on each group's learning rate and, if it sets one, its momentum.
        """
        for group, numbers in zip(self.optimizer.param_groups, self.numbers):
            group.update({key: annealed.value(number, share) for key, number in numbers.items()})
            if rates is not None:
                group["lr"] *= rates.lr
                if rates.momentum is not None and "momentum" in group:
                    group["momentum"] = rates.momentum

    def begin(self) -> None:
        """Count an update, enable gradients for the phase's networks only, and select the due terms."""
        for p in self.others:
            p.requires_grad_(False)
        for p in self.params:
            p.requires_grad_(True)
        self.due = [term for term, due in zip(self.terms, self.are_due(self.updates)) if due]
        self.updates += 1

    def are_due(self, update: int) -> tuple[bool, ...]:
        """Tell for each term whether it is part of an update, counted from 0."""
        return tuple(update % term.interval == 0 for term in self.terms)

    def __call__(self, batch: Batch, *, measure: bool = False) -> dict[str, Tensor]:
        """Prepare an update with the rates of the start of the run, and do it; see compute()."""
        self.prepare()
        return self.compute(batch, measure=measure)

    def compute(self, batch: Batch, *, measure: bool = False) -> dict[str, Tensor]:
        """Do the prepared update and return its scalars, detached, on the device.

        Args:
            batch: (N, C, H, W) images, which are split into ``accumulate`` micro-batches.
            measure: also return the gradient norm per network, which costs one more pass over the gradients.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with self.runtime.together():
            parts = [self._backward(micro) for micro in _split(batch, self.accumulate)]
        # Statistics of batch norm, each of its own images, come along: the processes' networks stay equal.
        self.runtime.all_reduce([*(p.grad for p in self.params if p.grad is not None), *self.running])
        scalars = parts[0] if len(parts) == 1 else {k: torch.stack([p[k] for p in parts]).mean() for k in parts[0]}
        if measure:
            scalars |= self._gradient_norms()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.params, self.clip)
        self.optimizer.step()
        torch.autograd.graph.increment_version(self.params)  # fused optimizers do not count their changes
        if self.phase.statistics is not None:
            self.runtime.all_reduce(self.phase.statistics(self.model))
        if self.phase.after is not None:
            with torch.no_grad():
                self.phase.after(self.model)
        return scalars

    def _backward(self, batch: Batch) -> dict[str, Tensor]:
        """Run the due terms and accumulate their gradients; return ``loss/<phase>`` and ``<phase>/<name>`` scalars."""
        name, total = self.phase.name, None
        scalars: dict[str, Tensor] = {}
        for term in self.due:
            with self.runtime.autocast(not term.second_order):
                values = term.fn(self.model, batch)
            for key, value in values.items():
                scalars[f"{name}/{key}"] = value.detach()
                if value.requires_grad:
                    scaled = value * term.interval if term.interval > 1 else value
                    total = scaled if total is None else total + scaled
        assert total is not None, f"phase {name} has nothing to train"
        scalars[f"loss/{name}"] = total.detach()
        (total / self.accumulate if self.accumulate > 1 else total).backward()
        return scalars

    def _gradient_norms(self) -> dict[str, Tensor]:
        groups = zip(self.phase.networks, self.optimizer.param_groups)
        return {
            f"grad_norm/{name}": torch.nn.utils.get_total_norm([p.grad for p in g["params"] if p.grad is not None])
            for name, g in groups
        }

    def settings(self) -> dict[str, dict[str, Any]]:
        """Return the optimizer's settings per network."""
        return dict(zip(self.phase.networks, self.optimizer.param_groups))

    def planned(self, share: float, factor: float) -> dict[str, float]:
        """Return the learning rates at a share of the run, with the schedule's factor, as ``lr/<network>``."""
        rates = [annealed.value(numbers["lr"], share) * factor for numbers in self.numbers]
        return {f"lr/{name}": rate for name, rate in zip(self.phase.networks, rates)}

    def rates(self) -> dict[str, float]:
        """Return the current learning rates as ``lr/<network>``."""
        return {f"lr/{name}": g["lr"] for name, g in zip(self.phase.networks, self.optimizer.param_groups)}

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore moments and counts; hyper-parameters stay those of the config, which may differ on resuming."""
        fresh = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and not _belongs(value, parameter):
                    raise ValueError(f"{name} of the optimizer does not belong to its parameter")
        for group, values in zip(self.optimizer.param_groups, fresh):
            group.update(values)
            self._place_counts(group)
        self.updates = state["updates"]

    def _place_counts(self, group: dict[str, Any]) -> None:
        """Move counts of updates to where this run's optimizer keeps them; that of the saved run may have had others.

        Torch places them by the saved settings. Counts on a GPU that belong on the host are read there one by one in
        every update, and fused or recorded updates refuse those on the host.
        """
        if not {"capturable", "fused"} & group.keys():
            return
        for parameter in group["params"]:
            count = self.optimizer.state.get(parameter, {}).get("step")
            if isinstance(count, Tensor):
                on_device = group.get("capturable") or group.get("fused")
                self.optimizer.state[parameter]["step"] = count.to(parameter.device if on_device else "cpu")


def _belongs(value: Tensor, parameter: Tensor) -> bool:
    """Tell whether a tensor can be an optimizer's state: a count, or as large as the parameter (some keep rows)."""
    rows = value.ndim == parameter.ndim and all(a in (1, b) for a, b in zip(value.shape, parameter.shape))
    return (value.ndim == 0 or rows) and not value.is_complex()


def _compiled(term: Term) -> Term:
    # Compiling the module instead would add "_orig_mod." to every key of the checkpoint.
    return term._replace(fn=torch.compile(term.fn))


def _split(batch: Batch, parts: int) -> list[Batch]:
    """Split every (N, ...) tensor of a batch into ``parts``; each part gets ``progress``."""
    if parts == 1:
        return [batch]
    cut = lambda x: [None] * parts if x is None else x.chunk(parts)  # noqa: E731
    columns = zip(batch.image.chunk(parts), cut(batch.label), cut(batch.source))
    return [Batch(image, label, source, batch.progress) for image, label, source in columns]
