"""Actor and critic that learn in imagination alone (Hafner et al. 2023, DreamerV3)."""

import copy
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from spiking_wm.agents.rssm.network import Features, Latent
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.readout import Readout
from spiking_wm.agents.rssm.symlog import TwoHot
from spiking_wm.agents.rssm.world_model import WorldModel
from spiking_wm.memory.sequences import Batch

_LEAST_DEVIATION, _MOST_DEVIATION = 0.1, 1.0  # of continuous actions
_HALF_LOG_2_PI = 0.9189385
_UNIFORM = 0.01  # share of the uniform distribution over discrete ones
_RANGE_RATE, _LEAST_RANGE = 0.01, 1.0  # running range of returns
_QUANTILES = (0.05, 0.95)
_CLIP = 0.2  # of the ratio of probabilities


class Actor(nn.Module):
    """A policy over action codes ``[..., A]``: Gaussian, or categorical.

    Args:
        action: width.
        discrete: whether codes are one-hot.
        options: sizes.
    """

    def __init__(self, action: int, discrete: bool, options: Options):
        super().__init__()
        self.discrete = discrete
        outputs = action if discrete else 2 * action
        self.readout = Readout(outputs, options.layers, options.sizes(), scale=0.1)

    def outputs(self, features: Features) -> tuple[Tensor, Tensor]:
        """Mean and deviation, or log-probabilities twice, ``[..., A]``."""
        y = self.readout(*features).float()
        if self.discrete:
            probabilities = (1 - _UNIFORM) * y.softmax(-1) + _UNIFORM / y.shape[-1]
            return (log := probabilities.log()), log
        mean, deviation = y.chunk(2, -1)
        span = _MOST_DEVIATION - _LEAST_DEVIATION
        return mean.tanh(), span * (deviation + 2).sigmoid() + _LEAST_DEVIATION

    def greedy(self, features: Features) -> Tensor:
        """The codes most probable."""
        mean, _ = self.outputs(features)
        return nn.functional.one_hot(mean.argmax(-1), mean.shape[-1]).float() if self.discrete else mean

    def draw(self, features: Features, noise: Tensor, least: float = 0.0) -> Tensor:
        """Codes by Gaussian noise (or Gumbel noise, where they are discrete) ``[..., A]``.

        A gradient goes through continuous ones, which may lie beyond what can be done: see `done`.

        Args:
            features: of states.
            noise: ``[..., A]``.
            least: deviation of continuous ones that noise has at least.
        """
        return self.draw_of(self.outputs(features), noise, least)

    def draw_of(self, outputs: tuple[Tensor, Tensor], noise: Tensor, least: float = 0.0) -> Tensor:
        """`draw` by `outputs`."""
        mean, deviation = outputs
        if self.discrete:
            return nn.functional.one_hot((mean + noise).argmax(-1), mean.shape[-1]).float()
        return mean + deviation.clamp_min(least) * noise

    def judge(self, outputs: tuple[Tensor, Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of codes drawn, and the entropy of the policy, ``[...]``, by `outputs`."""
        mean, deviation = outputs
        if self.discrete:
            return (mean * code).sum(-1), -(mean.exp() * mean).sum(-1)
        away = (code.detach() - mean) / deviation
        log = deviation.log() + _HALF_LOG_2_PI
        return -(away.square() / 2 + log).sum(-1), (log + 0.5).sum(-1)


def done(code: Tensor) -> Tensor:
    """What is done of codes drawn: what is beyond the bounds, at the bounds; a gradient goes through."""
    return code / code.detach().abs().clamp_min(1)


class Imagined(NamedTuple):
    """A batch of ``R`` rollouts of ``H`` steps from where each starts."""

    features: Features  # of [H + 1, R] states
    code: Tensor  # drawn, [H, R, A]
    log_probability: Tensor  # of those, [H, R]
    entropy: Tensor  # of the policy, [H, R]


class Goals(NamedTuple):
    """What actor and critic learn from a batch of rollouts."""

    seen: Features  # of the [H, R] states in which was acted
    code: Tensor  # drawn there, [H, R, A]
    log_probability: Tensor  # of that, before anything is learned
    entropy: Tensor  # [H, R]; with a gradient where the model teaches
    returns: Tensor  # [H, R]
    slow_value: Tensor  # [H, R]
    advantage: Tensor  # [H, R]; with a gradient where the model teaches
    weight: Tensor  # [H, R]
    reward: Tensor  # [H, R]

    def parts(self, count: int) -> "list[Goals]":
        """The same, some rollouts in each."""
        fields = [x.chunk(count, 1) for x in self[1:]]
        spikes, samples = self.seen.spikes.chunk(count, 2), self.seen.sample.chunk(count, 1)
        return [Goals(Features(*seen), *rest) for *seen, rest in zip(spikes, samples, zip(*fields))]


class Behaviour(nn.Module):
    """Actor, critic and its slow copy, and the running range of returns."""

    def __init__(self, options: Options, action: int, discrete: bool):
        super().__init__()
        self.options, self._action = options, action
        self.actor = Actor(action, discrete, options)
        self._through_model = options.gradient == "dynamics" and not discrete
        self.critic = Readout(TwoHot.width, options.layers, options.sizes(), scale=0.0)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("range", torch.zeros(2))
        self.register_buffer("common", torch.zeros(()))  # part of all values

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """What `Actor.draw` takes."""
        if not self.actor.discrete:
            return torch.randn(*shape, self._action, generator=generator)
        return -(-torch.rand(*shape, self._action, generator=generator).log()).log()

    def value(self, critic: Readout, features: Features) -> Tensor:
        """Of states ``[..., N]``, by the critic or its slow copy."""
        return TwoHot(critic(*features).float()).mean() + self.common

    def imagine(self, model: WorldModel, start: Latent, generator: Generator) -> Imagined:
        """Act in the model from latents of ``R`` rows; a gradient goes through it where it is to teach."""
        horizon, rows, rssm = self.options.horizon, start.sample.shape[0], model.rssm
        like = start.sample
        noise = self.noise((horizon, rows), generator).to(like.device)
        chances = torch.rand(horizon, rows, rssm.width, generator=generator).to(like.device)
        latent, features, codes, judged = start, [start.features()], [], []
        with torch.set_grad_enabled(self._through_model):
            for t in range(horizon):
                outputs = self.actor.outputs(features[-1].detach())
                codes.append(self.actor.draw_of(outputs, noise[t]))
                judged.append(self.actor.judge(outputs, codes[-1]))
                latent = rssm.imagine(latent, done(codes[-1]).to(like.dtype), chances[t])
                features.append(latent.features())
        spikes, samples = zip(*features)
        course = Features(torch.stack(spikes, 1), torch.stack(samples))
        return Imagined(course, torch.stack(codes), *map(torch.stack, zip(*judged)))

    def goals(self, model: WorldModel, imagined: Imagined, alive: Tensor) -> Goals:
        """What rollouts came to.

        Args:
            model: that they were imagined in.
            imagined: the rollouts.
            alive: 0 for those that start where all is over, and teach nothing, ``[R]``.
        """
        o, features = self.options, imagined.features
        later = Features(features.spikes[:, 1:], features.sample[1:])
        seen = Features(features.spikes[:, :-1], features.sample[:-1]).detach()
        with torch.set_grad_enabled(self._through_model):
            reward = TwoHot(model.reward(*later).float()).mean()
            discount = o.discount * model.goes_on(*later)[..., 0].float().sigmoid()
            values = self.value(self.critic, features)
            returns = lambda_returns(reward, discount, values[1:], o.trace_decay)
            advantage = (returns - values[:-1]) / self._spread(returns.detach())
        # how likely it is that the step is reached
        weight = torch.cat([alive[None], discount[:-1]]).cumprod(0).detach()
        with torch.no_grad():
            slow = self.value(self.slow_critic, seen)
        drawn = imagined.code, imagined.log_probability.detach(), imagined.entropy
        return Goals(seen, *drawn, returns.detach(), slow, advantage, weight, reward.detach())

    def portions(self, goals: Goals) -> list[Goals]:
        """What updates are made with, one after the other; through the model all at once: it is one graph."""
        o = self.options
        return [goals] if self._through_model else o.epochs * goals.parts(o.parts)

    def losses(self, goals: Goals) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Of actor and critic, and what they are made of."""
        gain, entropy = goals.advantage, goals.entropy
        if not self._through_model:  # no more than a little at once (PPO, Schulman et al. 2017)
            log_probability, entropy = self.actor.judge(self.actor.outputs(goals.seen), goals.code)
            ratio = (log_probability - goals.log_probability).exp()
            gain = torch.minimum(ratio * gain, ratio.clamp(1 - _CLIP, 1 + _CLIP) * gain)
        actor_loss = -(goals.weight * (gain + self.options.entropy * entropy)).mean()
        values = TwoHot(self.critic(*goals.seen).float())
        targets = goals.returns - self.common, goals.slow_value - self.common
        likely = sum(values.log_probability(target) for target in targets)
        critic_loss = -(goals.weight * likely).mean()
        metrics = {
            "imagined_return": float(goals.returns.mean()),
            "imagined_reward": float(goals.reward.mean()),
            "entropy": float(entropy.detach().mean()),
            "actor_loss": float(actor_loss.detach()),
            "critic_loss": float(critic_loss.detach()),
        }
        return actor_loss, critic_loss, metrics

    def replay_loss(self, course: Features, batch: Batch) -> Tensor:
        """Of the critic, by what came after replayed states (as in DreamerV3's later versions).

        Args:
            course: the model's states in them, ``[T, L, B, N]``.
            batch: the sequences, ``[L, B]``.
        """
        with torch.no_grad():
            values = self.value(self.slow_critic, course)
            discount = self.options.discount * (1 - batch.terminal)
            returns = replayed_returns(batch, discount, values, self.options.trace_decay)
        seen = Features(course.spikes[:, :-1], course.sample[:-1])
        return -TwoHot(self.critic(*seen).float()).log_probability(returns - self.common).mean()

    def _spread(self, returns: Tensor) -> Tensor:
        """Range of most returns, at least 1, so that small ones are not blown up."""
        now = torch.quantile(returns.flatten(), returns.new_tensor(_QUANTILES))
        self.range.lerp_(now, _RANGE_RATE)
        return (self.range[1] - self.range[0]).clamp_min(_LEAST_RANGE)

    def rise(self, goals: Goals) -> None:
        """Have all values rise by some of what returns are above them on the mean (fall, if below).

        A critic alone is slow to: bootstrapped values grow by a horizon's rewards at a time. Differences of
        states are all that is left to it (as where rewards are centred, Naik et al. 2024).
        """
        ahead = goals.weight * (goals.returns - goals.slow_value)
        self.common += self.options.common_rate * ahead.sum() / goals.weight.sum()

    def follow(self) -> None:
        """Take the slow critic a little nearer."""
        with torch.no_grad():
            for slow, fast in zip(self.slow_critic.parameters(), self.critic.parameters()):
                slow.lerp_(fast, self.options.target_rate)


def replayed_returns(batch: Batch, discount: Tensor, values: Tensor, decay: float) -> Tensor:
    """`lambda_returns` of sequences that go through ends of episodes, ``[L - 1, B]``.

    Where an episode is over, or its sequence, a state is worth what its value says.
    """
    later, returns = values[-1], []
    for t in range(len(values) - 2, -1, -1):
        ahead = (1 - decay) * values[t + 1] + decay * later
        later = batch.reward[t + 1] + discount[t + 1] * ahead
        later = torch.where(batch.first[t + 1] > 0, values[t], later)
        returns.append(later)
    return torch.stack(returns[::-1])


def lambda_returns(reward: Tensor, discount: Tensor, values: Tensor, decay: float) -> Tensor:
    """``R_t = r_t + d_t ((1 - lambda) v_t+1 + lambda R_t+1)``, beginning with the last value.

    Args:
        reward, discount: of each step, ``[H, R]``.
        values: of the states that they lead to, ``[H, R]``.
        decay: lambda.
    """
    later, returns = values[-1], []
    for r, d, v in zip(reward.flip(0), discount.flip(0), values.flip(0)):
        later = r + d * ((1 - decay) * v + decay * later)
        returns.append(later)
    return torch.stack(returns[::-1])
