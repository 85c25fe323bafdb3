"""Training in one process, without ROS. The ROS graph must give the same results."""

from collections.abc import Callable, Iterable

from spiking_wm.core.contract import Policy, Transition
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.player import Player
from spiking_wm.training.learner import Learner
from spiking_wm.training.session import Session


class Acting:
    """The acting policy (the last one released), with separate states for training and evaluations."""

    def __init__(self) -> None:
        self.version = 0
        self._players: dict[bool, Player] = {}  # key: True for evaluations

    def take(self, policy: Policy, version: int) -> None:
        """Replace the policy by a newer version; running episodes continue."""
        self.version = version
        if not self._players:
            self._players = {evaluation: Player(policy) for evaluation in (False, True)}
        for player in self._players.values():
            player.policy = policy

    def of(self, evaluation: bool) -> Player:
        """The player for evaluations (True) or for training (False)."""
        return self._players[evaluation]


def train(
    learner: Learner,
    session: Session,
    acting: Acting,
    on_step: Callable[[int], None],
    on_update: Callable[[int, int], None],
    stopped: Callable[[], bool],
) -> None:
    """Train on a session until the run is finished or stopped.

    Args:
        learner: the learner; its observer must pass released policies to ``acting``.
        session: the environments.
        acting: the acting policy.
        on_step: called after each training step with the number of steps so far.
        on_update: called after each update before the first step, with the number of updates so far and the
            number of updates before the first step.
        stopped: returns True to end; called after each step and update.
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
    """Learn from recorded transitions in order, doing all work that is due after each."""
    for transition in transitions:
        learner.observe(transition._replace(step=learner.step))
        while learner.work():
            pass
        on_step(learner.step)
