"""Replay memories of several copies: what comes out together came one after the other in one copy."""

import numpy as np
import pytest
import torch

from spiking_wm.agents.spiking_dt.experience import make_replay, newest_of_all
from spiking_wm.core.contract import Transition
from spiking_wm.memory.frames import Frames
from spiking_wm.memory.lanes import locate
from spiking_wm.memory.sequences import Sequences
from spiking_wm.memory.transitions import Replay

LANES, FAR = 3, 100_000  # observations count from copy * FAR on; each episode leaves one number out
LENGTHS = (7, 61, 23)  # of episodes, by copy
STACKED = 2


def taking_turns(steps: int) -> list[Transition]:
    """Steps of several copies, in order."""
    seen, now, at, episode, episodes = (
        [],
        [FAR * copy for copy in range(LANES)],
        [0] * LANES,
        [0, 1, 2],
        LANES,
    )
    for step in range(steps):
        copy = step % LANES
        at[copy] += 1
        done = at[copy] == LENGTHS[copy]
        before, after = (np.float32([now[copy] + k + j for j in range(STACKED)]) for k in (0, 1))
        flags = {"terminated": done and copy == 0, "truncated": done and copy > 0}
        numbers = {"episode": episode[copy], "step": step, "policy_version": 0}
        seen.append(Transition(before, np.asarray(copy), float(now[copy]), after, **flags, **numbers))
        now[copy] += 1
        if done:
            now[copy] += STACKED
            at[copy], episode[copy], episodes = 0, episodes, episodes + 1
    return seen


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def replay(seen: list[Transition], capacity: int, restored: bool) -> Replay:
    memory = Replay.of_transitions(capacity, STACKED, 1, LANES)
    for transition in seen:
        memory.add(transition, transition.step % LANES)
    if not restored:
        return memory
    again = Replay.of_transitions(capacity, STACKED, 1, LANES)
    again.restore(memory.snapshot())
    for transition in taking_turns(len(seen) + 10)[-10:]:
        again.add(transition, transition.step % LANES)
    return again


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("steps, capacity", [(2000, 9000), (4001, 9000), (6007, 3600)])  # also overwritten
def test_transitions(steps, capacity, restored):
    memory = replay(taking_turns(steps), capacity, restored)
    assert len(memory) == min(steps + 10 * restored, 3600 if capacity == 3600 else 9600)
    found = []
    for horizon in (1, 5):
        segments = memory.held_out(horizon)
        observation = memory.at(segments)["observation"][..., 0]
        assert len(segments) and ((observation[:, 1:] - observation[:, :-1]) == 1).all()
        found.append(set(segments.flatten().tolist()))
        newest = observation[-len(observation) // 4 :, 0] // FAR
        assert set(newest.tolist()) == set(range(LANES))  # not of the last copy alone
    drawn = memory.sample_training((200_000,), generator())
    assert not found[0] & set(drawn.tolist())
    assert set(drawn.tolist()) | found[0] == set(memory.sample((200_000,), generator()).tolist())
    copies = memory.at(memory.sample((30_000,), generator()))["observation"][:, 0].div(FAR).floor()
    assert (copies.long().bincount() / 30_000 - 1 / LANES).abs().max() < 0.02


def filled(empty, fill, transitions, restored):
    """A memory with these transitions, restored from a snapshot before the last ten, if asked for."""
    memory = fill(empty(), transitions[:-10])
    if restored:
        kept, memory = memory.snapshot(), empty()
        memory.restore(kept)
    return fill(memory, transitions[-10:])


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("steps, capacity", [(1000, 9000), (6007, 3000)])
def test_stacked_pictures(steps, capacity, restored):
    def fill(memory, transitions):
        for transition in transitions:
            memory.add(transition, transition.reward, transition.step % LANES)
        return memory

    def empty():
        return Frames(capacity, (STACKED,), torch.float32, STACKED, lanes=LANES)

    seen = taking_turns(steps)
    memory = filled(empty, fill, seen, restored)
    by_start = {transition.reward: transition for transition in seen}
    rows = memory.sample(20_000, generator())
    assert len(set(rows.tolist())) > 0.9 * min(steps, capacity * 0.9)
    three = memory.at(rows, 3, discount=1.0)
    for start, action, after, reward, final in zip(
        three.observation[:500].tolist(),
        three.action[:500],
        three.next_observation,
        three.reward,
        three.final,
    ):
        first = by_start[start[0]]
        assert start == first.observation.tolist() and int(action) == int(first.action)
        chain = [first]
        while not chain[-1].done and len(chain) < 3 and chain[-1].step + LANES < steps:
            chain.append(by_start[chain[-1].next_observation[0]])
        assert after.tolist() == chain[-1].next_observation.tolist()
        assert float(reward) == pytest.approx(sum(t.reward for t in chain)) and float(final) == first.final
    held = memory.held_out(5, 200)
    observation = memory.at(held.flatten()).observation[:, 0].view(held.shape)
    assert held.shape[1] and (observation[1:] - observation[:-1] == 1).all()
    training = memory.sample(20_000, generator(), held_out=False)
    assert not set(held.flatten().tolist()) & set(training.tolist())


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("steps", [100, 4001, 20_000])  # in one block; in several; and overwritten
def test_sequences(steps, restored):
    def fill(memory, transitions):
        for transition in transitions:
            code = np.float32([transition.reward])
            memory.add(transition, code, transition.reward, transition.step % LANES)
        return memory

    def empty():
        return Sequences(6000, (STACKED,), torch.float32, 1, LANES)

    seen = taking_turns(steps)
    memory = filled(empty, fill, seen, restored)
    assert memory.holds(20) and not memory.holds(999)
    drawn = memory.sample(3000, 20, generator())
    numbers = drawn.observation[..., 0]
    goes_on, first = numbers[1:] - numbers[:-1] == 1, drawn.first[1:] == 1
    # the last observation of an episode and the first of the next one are not one apart
    assert (goes_on ^ first).all() and (numbers.div(FAR).floor().std(0) == 0).all()
    assert (drawn.reward[1:][~first] == numbers[:-1][~first]).all()
    assert set(numbers.div(FAR).floor().flatten().tolist()) == set(range(LANES))
    held = memory.held_out(20, 6)
    if steps > 4000:
        numbers = held.observation[..., 0]
        assert numbers.shape[1] and (numbers[1:] - numbers[:-1] == 1).all()
        assert not set(numbers.flatten().tolist()) & set(drawn.observation[..., 0].flatten().tolist())


def test_too_little_in_every_lane_is_too_little():
    memory = Sequences(6000, (STACKED,), torch.float32, 1, LANES)
    for transition in taking_turns(30):
        memory.add(transition, np.zeros(1, np.float32), 0.0, transition.step % LANES)
    assert len(memory) > 20 and not memory.holds(20) and memory.holds(11)
    with pytest.raises(ValueError, match="no sequence of 20 steps"):
        memory.sample(1, 20, generator())


def test_segments_of_own_steps_beside_demonstrations():
    """Demonstrations come first, and stay in one piece; own steps follow, each copy's in its lane."""
    demonstrated, length = 50, 8
    memory = make_replay(900, STACKED, 1, LANES, demonstrated)
    names = ("reward", "terminated", "truncated", "return_to_go")
    one = {name: torch.zeros(demonstrated) for name in names}
    numbers = torch.arange(demonstrated, dtype=torch.float32)
    states = {name: numbers[:, None].repeat(1, STACKED) - FAR for name in ("observation", "next_observation")}
    memory.extend(one | states | {"action": numbers, "step": numbers})
    assert (memory.fields["step"][:demonstrated, 0] == numbers).all()
    at = [0] * LANES
    for transition in taking_turns(200):
        copy = transition.step % LANES
        arrays = {"observation": transition.observation, "next_observation": transition.next_observation}
        flags = {"terminated": transition.terminated, "truncated": transition.truncated}
        scalars = {"reward": transition.reward, "action": copy, "return_to_go": 0.0, "step": at[copy]} | flags
        memory.extend(
            {name: torch.from_numpy(array)[None] for name, array in arrays.items()}
            | {name: torch.tensor([float(value)]) for name, value in scalars.items()},
            copy,
        )
        at[copy] = 0 if transition.done else at[copy] + 1
    segments = newest_of_all(memory, [67, 67, 66], length)
    observation, here = segments.trajectory.observation[..., 0], segments.valid > 0
    assert float(segments.learned.sum()) == 200
    steps = here[:, 1:] & here[:, :-1]
    assert ((observation[:, 1:-1] - observation[:, :-2])[steps] == 1).all()
    assert (segments.reward[here] == observation[:, :-1][here]).all()
    # what is linked is followed by the next in time, in the order in which advantages are summed
    along, linked = segments.reward[segments.learned > 0], segments.linked[segments.learned > 0]
    follows = torch.diff(along, append=torch.tensor([-1.0])) == 1
    assert (linked.bool() == follows).all() and int((~follows).sum()) >= LANES


def test_numbers_of_lanes():
    lane, number = locate(torch.arange(7), [2, 0, 5])
    assert lane.tolist() == [0, 0, 2, 2, 2, 2, 2] and number.tolist() == [0, 1, 0, 1, 2, 3, 4]
