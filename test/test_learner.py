"""The schedule of a run, with a stand-in agent that only counts (the real ones are in conformance)."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.core.contract import Agent, Budget, DreamProgress, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override
from spiking_wm.core.schedule import DreamSchedule, Schedule
from spiking_wm.training.learner import Evaluation, Learner, Observer, counters, restore_counters


class Counting(Agent):
    can_dream = True

    def __init__(self):
        self.log = []

    def policy_weights(self):
        self.log.append("release")
        return {"n": torch.tensor(len(self.log))}

    def observe(self, transition):
        self.log.append("observe")

    def learn(self):
        self.log.append("learn")
        return {}

    def dream(self, budget):
        for n in range(1, (budget.rollouts or 10**9) + 1):
            self.log.append("dream")
            yield DreamProgress(n, 0, {})

    def snapshot(self):
        return {}

    def restore(self, snapshot):
        pass


def transition(step, **changes):
    zero = np.zeros(1, np.float32)
    return Transition(zero, zero, 1.0, zero, False, False, 0, step, 1)._replace(**changes)


def run(learner, steps, first=0):
    for step in range(first, first + steps):
        learner.observe(transition(step))
        while learner.work():
            pass


def learner(observer=None, **options):
    given = {"learn_after": 0, "evaluation.every": 0, "checkpoint_every": 0, "steps": 10**6}
    made = Learner(Counting(), override(Schedule(), given | options), observer or Observer())
    while made.work():
        pass
    return made


@given(ratio=st.sampled_from([0.0, 0.25, 0.3, 1.0, 2.5]), steps=st.integers(1, 60), after=st.integers(0, 20))
def test_the_ratio_of_updates_to_steps_holds_exactly(ratio, steps, after):
    made = learner(updates_per_step=ratio, learn_after=after)
    run(made, steps)
    assert made.updates == max(0, int(max(0, steps - after) * ratio + 1e-9))


def test_policies_are_released_on_the_beat_and_learning_comes_first():
    made = learner(policy_every=5)
    assert made.acting[:3] == (1, 0, 5)
    run(made, 10)
    assert made.acting[:3] == (3, 10, 15)
    assert made.agent.log[-2:] == ["learn", "release"]


def test_scheduled_dreams_come_after_the_updates_and_before_the_release():
    made = learner(policy_every=5, dream_every=10, dream_after=10, dream_rollouts=2)
    run(made, 30)
    assert made.dreams == 3 and made.dream_rollouts == 6
    assert made.agent.log[-4:] == ["learn", "dream", "dream", "release"]


def test_scheduled_dreams_become_rarer_and_rarer():
    always, rarer = (DreamSchedule(every=10, after=100, halving=h) for h in (0, 200))
    assert [step for step in range(151) if always.due(step)] == [100, 110, 120, 130, 140, 150]
    counts = [sum(map(rarer.due, range(start, start + 200))) for start in (100, 300, 500, 700)]
    assert counts == pytest.approx([14.4, 7.2, 3.6, 1.8], abs=1)  # 20 / (2 ln 2) to begin with
    assert rarer.due(100) and sum(map(rarer.due, range(10_000))) == 29


def test_lost_and_doubled_transitions_are_reported():
    made = learner()
    run(made, 3)
    with pytest.raises(UserError, match="transition of step 4, expected step 3"):
        made.observe(transition(4))
    with pytest.raises(UserError, match="transition of step 2, expected step 3"):
        made.observe(transition(2))


def test_a_dream_on_request_releases_a_policy_and_can_be_ended():
    made = learner()
    run(made, 3)
    version = made.version
    made.start_dream(Budget())
    assert made.phase == "dreaming"
    with pytest.raises(UserError, match="a dream phase is running"):
        made.start_dream(Budget())
    made.work()
    made.end_dream()
    assert made.phase == "awake" and made.version == version + 1 and made.step == 3
    made.end_dream()  # without a dream it does nothing


def test_evaluations_are_told_whole_and_end_the_run_when_solved():
    told = []

    class Listening(Observer):
        def evaluated(self, evaluation):
            told.append(evaluation)

    made = learner(
        Listening(), evaluate_every=10, evaluation_episodes=2, stop_when_solved=True, solved_at=5.0
    )
    run(made, 4)

    def evaluate(rewards):
        step = 0
        for episode, reward in enumerate(rewards):
            for last in (False, True):
                made.observe(
                    transition(step, evaluation=True, episode=episode, terminated=last, reward=reward / 2)
                )
                step += 1

    evaluate([2.0, 4.0])
    assert told == [Evaluation(4, 1, (2.0, 4.0))] and not made.finished
    evaluate([5.0, 6.0])
    assert told[1].mean == 5.5 and made.finished
    assert made.updates == 4  # evaluations are not learned from


def test_checkpoints_are_due_on_the_beat():
    asked = []

    class Saving(Observer):
        def save_due(self, step):
            asked.append(step)

    made = learner(Saving(), checkpoint_every=4)
    run(made, 9)
    assert asked == [4, 8]


def test_a_learner_saved_before_its_first_release_goes_on_without_one():
    schedule = override(Schedule(), {"learn_after": 0, "policy_every": 5})
    whole, first = (Learner(Counting(), schedule, Observer()) for _ in range(2))
    facts = json.loads(json.dumps(counters(first)))
    resumed = Learner(Counting(), schedule, Observer())
    restore_counters(resumed, facts, {}, first.episodes)
    for made in (whole, resumed):
        while made.work():
            pass
        run(made, 12)
    assert counters(resumed) == counters(whole) and resumed.acting[:3] == (3, 10, 15)
