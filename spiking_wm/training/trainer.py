"""Training in one process, without ROS. The ROS graph must give the same results."""

from collections.abc import Callable, Iterable

from spiking_wm.core.contract import Policy, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.player import Player
from spiking_wm.training.learner import Learner
from spiking_wm.training.session import Session


class Acting:
    """The acting policy (the last one released), with a state of its own in every running episode.

    Args:
        envs: copies of the training environment.
    """

    def __init__(self, envs: int = 1) -> None:
        self.version, self._envs = 0, envs
        self._players: list[Player] = []  # one in each copy, then the one of evaluations

    def take(self, policy: Policy, version: int) -> None:
        """Replace the policy by a newer version; running episodes continue."""
        self.version = version
        if not self._players:
            self._players = [Player(policy, copy=copy) for copy in range(self._envs)] + [Player(policy)]
        for player in self._players:
            player.policy = policy

    def of(self, evaluation: bool, step: int = 0) -> Player:
        """The player for evaluations, or for a step of training."""
        return self._players[-1 if evaluation else step % self._envs]


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
    started = False
    while not (learner.finished or stopped()):
        if not started:
            _act(session, acting, exploration)
        transitions = session.finish(acting.version)
        for transition in transitions:
            acting.of(transition.evaluation, transition.step).rewarded(transition.reward)
        started = _decided(learner, session)
        if started:  # copies in processes of their own step while the learner learns
            _act(session, acting, exploration)
        for transition in transitions:
            learner.observe(transition)
            on_step(learner.step)
            while (learner.finished or not stopped()) and learner.work():
                pass
            if stopped() and not learner.finished:
                break  # the rest of the round is stepped again when the run is resumed
    learner.end_dream()


def _decided(learner: Learner, session: Session) -> bool:
    """True if what is learned from the last round cannot change the next one: the same policy acts in it."""
    until = learner.acting.until_step if learner.acting else 0
    return session.training_step < until and not session.over and not session.pending()[0].evaluation


def _act(session: Session, acting: Acting, exploration: Exploration) -> None:
    """Decide, and start the step."""
    actions = []
    for each in session.pending():
        player = acting.of(each.evaluation, each.step)
        if each.episode_step == 0:
            player.reset(each.episode)
        rng = None if each.evaluation else exploration.at(each.step)
        actions.append(player.act(each.observation, rng))
    session.start(actions)


def take_in(
    learner: Learner, transitions: Iterable[Transition], on_step: Callable[[int], None] = lambda step: None
) -> None:
    """Learn from recorded transitions in order, doing all work that is due after each.

    Raises:
        UserError: if the run has several copies of the environment, or the recording is of several.
    """
    learner.options.check_one_copy()
    before: Transition | None = None
    for transition in transitions:
        goes_on = before and not before.done and transition.step == before.step + 1
        if before and goes_on and transition.episode != before.episode:
            raise UserError("the recording is of several copies of an environment: record with envs:=1")
        before = transition
        learner.observe(transition._replace(step=learner.step))
        while learner.work():
            pass
        on_step(learner.step)
