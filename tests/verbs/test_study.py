"""The logic of a search, on objectives with known answers that are computed, not trained."""

import math
from collections import Counter
from statistics import median

import pytest

pytest.importorskip("optuna")
from optuna.trial import TrialState

from gancli.config.space import Choice, Number
from gancli.errors import UsageError
from gancli.verbs.tune.study import Settings, Study, Trial, load

AXES = {"lr": Number(1e-5, 1e-1, log=True), "beta": Number(0.0, 1.0)}


def settings(**own) -> Settings:
    return Settings(**{"objective": "fid", "higher": False, "trials": 30} | own)


def loss(trial: Trial) -> float:
    """A bowl with its bottom, 0, at lr = 1e-3 and beta = 0.7."""
    lr, beta = (float(word.partition("=")[2]) for word in trial.words)
    return (math.log10(lr) + 3) ** 2 + (3 * (beta - 0.7)) ** 2


def run(study: Study, most: int = 10**6) -> list[Trial]:
    """Run trials until there are enough; each is told at once."""
    found: list[Trial] = []
    while len(found) < most and (trial := study.ask()) is not None:
        found.append(trial)
        study.done(trial.number, loss(trial))
    return found


def test_on_a_known_answer_it_beats_random_search_in_the_median_of_five_seeds() -> None:
    found = {}
    for sampler in ("tpe", "random"):
        each = [Study(AXES, settings(sampler=sampler, seed=seed)) for seed in range(5)]
        assert [len(run(study)) for study in each] == [30] * 5
        found[sampler] = median(study.best().value for study in each)
    assert found["tpe"] < found["random"] / 2 and found["tpe"] < 0.05


def test_more_can_be_better() -> None:
    study = Study(AXES, settings(higher=True, trials=12))
    trials = run(study)
    assert study.best().value == max(map(loss, trials))


def test_a_search_that_is_killed_goes_on_as_one_that_was_not(tmp_path) -> None:
    """The trial that was being trained is gone on with, and nothing is tried twice."""
    whole = run(Study(AXES, settings(trials=14), tmp_path / "whole"))
    first = Study(AXES, settings(trials=14), tmp_path / "killed")
    before = run(first, most=11)
    lost = first.ask()  # its end is never told
    second = Study(AXES, settings(trials=14), tmp_path / "killed")
    assert second.begun() == [lost]
    second.done(lost.number, loss(lost))
    assert [*before, lost, *run(second)] == whole and len({tuple(trial.words) for trial in whole}) == 14
    third = Study(AXES, settings(trials=14), tmp_path / "killed")
    assert third.ask() is None and third.begun() == [] and third.best().value == min(map(loss, whole))
    longer = Study(AXES, settings(trials=16), tmp_path / "killed")
    assert [trial.number for trial in run(longer)] == [14, 15]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_combination_of_a_finite_space_is_tried_once(tmp_path, sampler: str) -> None:
    axes = {"loss": Choice(("hinge", "lsgan", "minimax")), "repeat": Number(1, 5, whole=True, step=2.0)}
    words = []
    while True:  # every trial is one of another command
        study = Study(axes, settings(sampler=sampler), tmp_path / "journal")
        assert study.size == 9
        if (trial := study.ask()) is None:
            break
        study.done(trial.number, float(len(words)))
        words.append(tuple(trial.words))
    every = {(f"loss={loss}", f"repeat={n}") for loss in ("hinge", "lsgan", "minimax") for n in (1, 3, 5)}
    assert len(words) == 9 and set(words) == every


@pytest.mark.parametrize("pruner, some", [("median", True), ("hyperband", True), ("none", False)])
def test_what_is_bad_so_far_is_given_up(pruner: str, some: bool) -> None:
    study = Study(AXES, settings(pruner=pruner, every=100, evaluations=8, trials=40))
    ends: Counter[str] = Counter()
    while (trial := study.ask()) is not None:
        final, curve = loss(trial), {}
        for step in range(1, 9):
            curve[100 * step] = final + 5 / step
            if study.report(trial.number, curve):
                break
        else:
            study.done(trial.number, final)
        frozen = study.frozen(trial.number)
        ends[frozen.state.name] += 1
        assert frozen.state == (TrialState.COMPLETE if len(frozen.intermediate_values) == 8 else TrialState.PRUNED)
    assert ends.total() == 40 and ends["COMPLETE"] >= 5 and (ends["PRUNED"] >= 5) == some
    assert study.best().state == TrialState.COMPLETE


def test_evaluations_are_told_once_and_by_their_images() -> None:
    """A turn of several updates passes over one; a trial that resumes has told some already."""
    study = Study(AXES, settings(every=100, evaluations=4))
    trial = study.ask()
    assert not study.report(trial.number, {}) and not study.report(trial.number, {210: 3.0})
    assert not study.report(trial.number, {210: 3.0, 401: 2.0})
    assert study.frozen(trial.number).intermediate_values == {2: 3.0, 4: 2.0}
    study.failed(trial.number)
    assert study.frozen(trial.number).state == TrialState.FAIL and not study.report(trial.number, {500: 1.0})
    study.done(trial.number, 1.0)  # its end was told
    assert study.best() is None and study.ended() == ["failed"]


def test_a_journal_of_other_values_is_refused(tmp_path) -> None:
    run(Study(AXES, settings(), tmp_path / "journal"), most=1)
    with pytest.raises(UsageError, match="a search over other values; choose another hydra.sweep.dir"):
        Study({"lr": AXES["lr"]}, settings(), tmp_path / "journal")
    with pytest.raises(UsageError, match="holds no search"):
        load(tmp_path / "none")
    (tmp_path / "damaged").write_text("{\n{\n")
    with pytest.raises(UsageError, match="damaged cannot be read: .*; begin again with sweep=new"):
        load(tmp_path / "damaged")
