"""Training in one process, with no ROS: the reference that the graph must agree with."""

from collections.abc import Callable, Iterable

from spiking_wm.core.contract import Policy, Transition
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.player import Player
from spiking_wm.training.learner import Learner
from spiking_wm.training.session import Session


class Acting:
    """Who acts in training and in evaluations: the policy released last, with a state for each."""

    def __init__(self) -> None:
        self.version = 0
        self._players: dict[bool, Player] = {}  # by evaluation or not

    def take(self, policy: Policy, version: int) -> None:
        """Act by a newer policy; episodes go on."""
        self.version = version
        if not self._players:
            self._players = {evaluation: Player(policy) for evaluation in (False, True)}
        for player in self._players.values():
            player.policy = policy

    def of(self, evaluation: bool) -> Player:
        """The one that acts in training, or in evaluations."""
        return self._players[evaluation]


def train(
    learner: Learner,
    session: Session,
    acting: Acting,
    on_step: Callable[[int], None],
    on_update: Callable[[int, int], None],
    stopped: Callable[[], bool],
) -> None:
    """Learn from a session until the run is finished, or stopped.

    Args:
        learner: tells its observer of policies to act by, who hands them to ``acting``.
        session: the environment.
        acting: who acts.
        on_step: called with the number of training steps after each.
        on_update: called with the number of updates, and of how many, after each before the first step.
        stopped: whether to end, asked after each step and update.
    """
    exploration = Exploration(learner.options.seed)
    while not stopped() and learner.work():
        on_update(learner.updates, learner.agent.updates_first)
    while not (learner.finished or stopped()):
        pending = session.pending()
        player = acting.of(pending.evaluation)
        if pending.episode_step == 0:
            player.reset(pending.episode)
        rng = None if pending.evaluation else exploration.at(pending.step)
        transition = session.apply(player.act(pending.observation, rng), acting.version)
        player.rewarded(transition.reward)
        learner.observe(transition)
        on_step(learner.step)
        while (learner.finished or not stopped()) and learner.work():
            pass
    learner.end_dream()


def take_in(
    learner: Learner, transitions: Iterable[Transition], on_step: Callable[[int], None] = lambda step: None
) -> None:
    """Learn from what was recorded as from what comes: in order, each with all that is due after it."""
    for transition in transitions:
        learner.observe(transition._replace(step=learner.step))
        while learner.work():
            pass
        on_step(learner.step)
