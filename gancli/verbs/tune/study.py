"""A search as Optuna knows it: what is tried next, what is given up early, and the journal that survives a kill.

Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (TPE); Li et al. 2018, Hyperband; Optuna's ask and
tell. The folder of the search is locked by its command, so that one process at a time writes the journal.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from gancli.config.space import Axis, Choice
from gancli.errors import UsageError

FILE, NAME = "study.jsonl", "gancli"
SPACE, OBJECTIVE = "space", "objective"  # what the journal notes beside the trials
STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
_PROPOSALS = 10  # of the sampler, before an untried combination is drawn at random

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Trial(NamedTuple):
    """What is trained once.

    Args:
        number: counted from 0.
        words: its values of the searched settings, as they are typed.
    """

    number: int
    words: list[str]


@dataclass(frozen=True)
class Settings:
    """How a search goes.

    Args:
        objective: the value of the evaluations that is optimised.
        higher: whether more of it is better.
        trials: their number, with those of earlier commands.
        sampler: ``tpe`` or ``random``.
        pruner: ``median``, ``hyperband`` or ``none``.
        every: images between the evaluations of a trial.
        evaluations: of one trial.
        seed: of the sampler.
    """

    objective: str
    higher: bool
    trials: int
    sampler: str = "tpe"
    pruner: str = "median"
    every: int = 1
    evaluations: int = 10
    seed: int = 0


class _Unlocked:
    """The lock of a journal in a folder that is locked as a whole; Optuna's own would outlive a killed process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        """Do nothing."""


class Study:
    """The trials of a search: begun, told about, and given up.

    Args:
        axes: the searched settings.
        settings: how it goes.
        file: the journal, which is continued if it is there; None: the trials are forgotten.

    Raises:
        UsageError: the journal is one of another search, or cannot be read.
    """

    def __init__(self, axes: Mapping[str, Axis], settings: Settings, file: Path | None = None) -> None:
        self.axes, self.settings = axes, settings
        self.distributions = {key: _distribution(axis) for key, axis in axes.items()}
        self.study = optuna.create_study(
            storage=None if file is None else _storage(file), study_name=NAME, load_if_exists=True,
            direction="maximize" if settings.higher else "minimize", pruner=_pruner(settings),
        )  # fmt: skip
        facts = {SPACE: {key: axis.told() for key, axis in axes.items()}, OBJECTIVE: settings.objective}
        if self.study.user_attrs.get(SPACE, facts[SPACE]) != facts[SPACE]:
            raise UsageError(f"{file} is the journal of a search over other values; choose another hydra.sweep.dir=...")
        for key, value in facts.items():
            self.study.set_user_attr(key, value)
        listed = [axis.values() for axis in axes.values()]
        self.size = math.prod(len(each) if each is not None else math.inf for each in listed)  # combinations
        self._open: dict[int, optuna.trial.Trial] = {}

    def begun(self) -> list[Trial]:
        """Return the trials whose end was not told: an earlier command was killed meanwhile."""
        found = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for each in found:
            self._open[each.number] = optuna.trial.Trial(self.study, each._trial_id)
        return [self._trial(each.number, each.params) for each in found]

    def ask(self) -> Trial | None:
        """Begin another trial; None if there are as many as wanted, or every combination has been tried.

        The sampler is seeded by the number of trials, so that a search that was killed goes on as one that was not.
        """
        known = [each for each in self.study.get_trials(deepcopy=False) if each.state != TrialState.WAITING]
        if len(known) >= min(self.settings.trials, self.size):
            return None
        self.study.sampler = self._sampler(len(known))
        if self.size < math.inf:
            self._enqueue(known)
        trial = self.study.ask(self.distributions)
        self._open[trial.number] = trial
        return self._trial(trial.number, trial.params)

    def report(self, number: int, values: Mapping[int, float]) -> bool:
        """Note the evaluations of a trial so far, and tell whether it is given up; its end is told then.

        Args:
            number: of the trial.
            values: of the objective, by the images seen. Their steps, 1, 2, ..., are those of the same number of
                images in every trial, though some pass over a step in a turn of several updates.
        """
        new = self.note(number, values)
        if not new or max(new) >= self.settings.evaluations or not self._open[number].should_prune():
            return False
        self._end(number, TrialState.PRUNED)
        return True

    def note(self, number: int, values: Mapping[int, float]) -> dict[int, float]:
        """Note the evaluations of a trial that are new, whatever they say of it, and return them by their steps."""
        trial, known = self._open.get(number), self.frozen(number).intermediate_values
        steps = {self.step(images): value for images, value in values.items()}
        new = {step: value for step, value in steps.items() if step > max(known, default=0)}
        if trial is None:
            return {}
        for step, value in new.items():
            trial.report(value, step)
        return new

    def step(self, images: int) -> int:
        """Return the number of the evaluation after so many images, of those that are planned."""
        return max(1, images // self.settings.every)

    def done(self, number: int, value: float) -> None:
        """Tell the result of a trial, which is finite."""
        self._end(number, TrialState.COMPLETE, value)

    def failed(self, number: int) -> None:
        """Tell that a trial has no result."""
        self._end(number, TrialState.FAIL)

    def frozen(self, number: int) -> FrozenTrial:
        """Return what is known of a trial."""
        return self.study.get_trials(deepcopy=False)[number]

    def ended(self) -> list[str]:
        """Return how the trials ended whose end was told: done, pruned, failed."""
        return [STATES[each.state] for each in self.study.get_trials(deepcopy=False) if each.state in STATES]

    def best(self) -> FrozenTrial | None:
        """Return the best trial; None if none is complete."""
        return best(self.study)

    def _end(self, number: int, state: TrialState, value: float | None = None) -> None:
        if self._open.pop(number, None) is not None:  # one that was given up may still end well
            self.study.tell(number, value, state=state)

    def _trial(self, number: int, params: Mapping[str, Any]) -> Trial:
        return Trial(number, [f"{key}={axis.word(params[key])}" for key, axis in self.axes.items()])

    def _sampler(self, count: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self.settings.seed, count]).generate_state(1)[0])
        return TPESampler(seed=seed) if self.settings.sampler == "tpe" else RandomSampler(seed=seed)

    def _enqueue(self, known: Sequence[FrozenTrial]) -> None:
        """Make the next trial one of a combination that was not tried; a sampler may propose the same again.

        It is asked in a copy of the study, as what it proposes to the study itself is begun at once.
        """
        if self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):  # of a command that was killed here
            return
        tried = {self._key(each.params) for each in known}
        copy = optuna.create_study(direction=self.study.direction, sampler=self.study.sampler)
        copy.add_trials([each for each in known if each.state.is_finished()])
        for _ in range(_PROPOSALS):
            params = copy.ask(self.distributions).params
            if self._key(params) not in tried:
                self.study.enqueue_trial(params)
                return
        names, lists = list(self.axes), [axis.values() or [] for axis in self.axes.values()]
        every = [dict(zip(names, combination)) for combination in product(*lists)]
        left = [params for params in every if self._key(params) not in tried]
        self.study.enqueue_trial(random.Random(len(known)).choice(left))

    def _key(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(axis.word(params[key]) for key, axis in self.axes.items() if key in params)


def load(file: Path) -> optuna.Study:
    """Return the search that a journal holds.

    Raises:
        UsageError: there is none.
    """
    if not file.is_file():
        raise UsageError(f"{file.parent} holds no search: there is no {file.name}")
    try:
        return optuna.load_study(study_name=NAME, storage=_storage(file))
    except KeyError:
        raise UsageError(f"{file} is the journal of another search; choose another folder") from None


def best(study: optuna.Study) -> FrozenTrial | None:
    """Return the best of the complete trials of a study, the first of equals; None if there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(complete, key=lambda each: sign * each.value if each.value is not None else math.inf, default=None)


def _storage(file: Path) -> JournalStorage:
    lock: Any = _Unlocked()
    try:
        return JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
    except (ValueError, KeyError) as error:  # a JSONDecodeError is the former
        raise UsageError(
            f"{file} cannot be read: {' '.join(str(error).split())}; begin again with sweep=new"
        ) from error


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.words)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _pruner(settings: Settings) -> BasePruner:
    if settings.pruner == "median":  # the first scores of a GAN say little
        return MedianPruner(n_warmup_steps=settings.evaluations // 4)
    if settings.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=settings.evaluations)
    return NopPruner()
