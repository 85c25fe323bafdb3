"""Actor and critic that learn from imagined rollouts (DreamerV3, Hafner et al. 2023)."""

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

_LEAST_DEVIATION, _MOST_DEVIATION = 0.1, 1.0  # standard deviation of continuous actions
_HALF_LOG_2_PI = 0.9189385
_UNIFORM = 0.01  # share of the uniform distribution in a policy over discrete actions
_QUANTILES = (0.05, 0.95)  # of returns, whose difference is their range
_RANGE_RATE, _LEAST_RANGE = 0.01, 1.0  # of the running range
_CLIP = 0.2  # largest change of the ratio of probabilities (PPO)


class Actor(nn.Module):
    """A policy over action codes ``[..., A]``: Gaussian, or categorical.

    Args:
        action: width ``A`` of a code.
        discrete: True if codes are one-hot.
        options: sizes.
    """

    def __init__(self, action: int, discrete: bool, options: Options):
        super().__init__()
        self.discrete = discrete
        outputs = action if discrete else 2 * action
        self.readout = Readout(outputs, options.sizes(), scale=0.1)

    def outputs(self, features: Features) -> tuple[Tensor, Tensor]:
        """Parameters of the policy: mean and standard deviation, or log-probabilities twice, ``[..., A]``."""
        y = self.readout(*features).float()
        if self.discrete:
            probabilities = (1 - _UNIFORM) * y.softmax(-1) + _UNIFORM / y.shape[-1]
            return (log := probabilities.log()), log
        mean, deviation = y.chunk(2, -1)
        span = _MOST_DEVIATION - _LEAST_DEVIATION
        return mean.tanh(), span * (deviation + 2).sigmoid() + _LEAST_DEVIATION

    def greedy(self, features: Features) -> Tensor:
        """The most probable codes."""
        mean, _ = self.outputs(features)
        return nn.functional.one_hot(mean.argmax(-1), mean.shape[-1]).float() if self.discrete else mean

    def draw(self, features: Features, noise: Tensor, least: float = 0.0) -> Tensor:
        """Sample codes ``[..., A]``.

        Continuous codes have a gradient, and may lie outside of -1 to 1: see `clip_code`.

        Args:
            features: of states.
            noise: ``[..., A]``, standard Gaussian for continuous codes, Gumbel for discrete ones.
            least: lower bound of the standard deviation of continuous codes.
        """
        return self.draw_from(self.outputs(features), noise, least)

    def draw_from(self, outputs: tuple[Tensor, Tensor], noise: Tensor, least: float = 0.0) -> Tensor:
        """`draw`, given `outputs`."""
        mean, deviation = outputs
        if self.discrete:
            return nn.functional.one_hot((mean + noise).argmax(-1), mean.shape[-1]).float()
        return mean + deviation.clamp_min(least) * noise

    def likelihood(self, outputs: tuple[Tensor, Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of codes ``[..., A]`` and the policy's entropy, ``[...]`` each, given `outputs`."""
        mean, deviation = outputs
        if self.discrete:
            return (mean * code).sum(-1), -(mean.exp() * mean).sum(-1)
        away = (code.detach() - mean) / deviation
        log = deviation.log() + _HALF_LOG_2_PI
        return -(away.square() / 2 + log).sum(-1), (log + 0.5).sum(-1)


def clip_code(code: Tensor) -> Tensor:
    """Codes limited to -1 to 1, the bounds of actions; the gradient passes."""
    return code / code.detach().abs().clamp_min(1)


class Rollouts(NamedTuple):
    """``R`` imagined rollouts of ``H`` steps."""

    features: Features  # of the states, starts included, [H + 1, R]
    code: Tensor  # actions drawn, [H, R, A]
    log_probability: Tensor  # of the codes, [H, R]
    entropy: Tensor  # of the policy, [H, R]


class Targets(NamedTuple):
    """What actor and critic learn from imagined rollouts."""

    features: Features  # of the states acted in, [H, R]
    code: Tensor  # actions drawn there, [H, R, A]
    log_probability: Tensor  # of the codes by the policy that drew them, [H, R]
    entropy: Tensor  # of that policy, [H, R]; with gradient "dynamics" it has a gradient
    returns: Tensor  # lambda-returns, [H, R]
    slow_value: Tensor  # values by the slow critic, [H, R]
    advantage: Tensor  # in ranges of returns, [H, R]; with gradient "dynamics" it has a gradient
    weight: Tensor  # probability that the step is reached, times discounts, [H, R]
    reward: Tensor  # [H, R]

    def split(self, count: int) -> "list[Targets]":
        """``count`` minibatches of whole rollouts."""
        fields = [x.chunk(count, 1) for x in self[1:]]
        spikes, samples = self.features.spikes.chunk(count, 2), self.features.sample.chunk(count, 1)
        return [Targets(Features(*f), *rest) for *f, rest in zip(spikes, samples, zip(*fields))]


class Behaviour(nn.Module):
    """Actor, critic and its slow copy, the running range of returns, and the offset of values.

    Args:
        options: sizes, and how they learn.
        action: width ``A`` of an action's code.
        discrete: True if codes are one-hot.
    """

    return_range: Tensor  # running quantiles of returns, [2]
    value_offset: Tensor  # added to all values of both critics, []

    def __init__(self, options: Options, action: int, discrete: bool):
        super().__init__()
        self.options, self._action = options, action
        self.actor = Actor(action, discrete, options)
        self._through_model = options.actor.gradient == "dynamics" and not discrete
        self.critic = Readout(TwoHot.width, options.sizes(), scale=0.0)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("return_range", torch.zeros(2))
        self.register_buffer("value_offset", torch.zeros(()))

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Noise ``[*shape, A]`` for `Actor.draw`."""
        if not self.actor.discrete:
            return torch.randn(*shape, self._action, generator=generator)
        return -(-torch.rand(*shape, self._action, generator=generator).log()).log()

    def value(self, critic: Readout, features: Features) -> Tensor:
        """Values ``[...]`` of states, by the critic or its slow copy."""
        return TwoHot(critic(*features).float()).mean() + self.value_offset

    def imagine(self, model: WorldModel, start: Latent, generator: Generator) -> Rollouts:
        """Act in the model; with the gradient "dynamics" the rollouts have a gradient.

        Args:
            model: the world model.
            start: states of ``R`` rows.
            generator: source of all noise.
        """
        horizon, rows, rssm = self.options.dream.horizon, start.sample.shape[0], model.rssm
        like = start.sample
        noise = self.noise((horizon, rows), generator).to(like.device)
        uniform = torch.rand(horizon, rows, rssm.width, generator=generator).to(like.device)
        latent, features, codes, likelihoods = start, [start.features()], [], []
        with torch.set_grad_enabled(self._through_model):
            for t in range(horizon):
                outputs = self.actor.outputs(features[-1].detach())
                codes.append(self.actor.draw_from(outputs, noise[t]))
                likelihoods.append(self.actor.likelihood(outputs, codes[-1]))
                latent = rssm.imagine(latent, clip_code(codes[-1]).to(like.dtype), uniform[t])
                features.append(latent.features())
        spikes, samples = zip(*features)
        states = Features(torch.stack(spikes, 1), torch.stack(samples))
        return Rollouts(states, torch.stack(codes), *map(torch.stack, zip(*likelihoods)))

    def targets(self, model: WorldModel, rollouts: Rollouts, alive: Tensor) -> Targets:
        """Returns, advantages and weights of rollouts; updates the running range of returns.

        Args:
            model: the world model that they were imagined in.
            rollouts: as `imagine` returns them.
            alive: 0 for rollouts that start in a terminal state, which get no weight, ``[R]``.
        """
        o, features = self.options, rollouts.features
        later = Features(features.spikes[:, 1:], features.sample[1:])
        acted_in = Features(features.spikes[:, :-1], features.sample[:-1]).detach()
        with torch.set_grad_enabled(self._through_model):
            reward = TwoHot(model.reward(*later).float()).mean()
            discount = o.discount * model.continues(*later)[..., 0].float().sigmoid()
            values = self.value(self.critic, features)
            returns = lambda_returns(reward, discount, values[1:], o.critic.trace_decay)
            advantage = (returns - values[:-1]) / self._return_scale(returns.detach())
        weight = torch.cat([alive[None], discount[:-1]]).cumprod(0).detach()
        with torch.no_grad():
            slow = self.value(self.slow_critic, acted_in)
        drawn = rollouts.code, rollouts.log_probability.detach(), rollouts.entropy
        return Targets(acted_in, *drawn, returns.detach(), slow, advantage, weight, reward.detach())

    def minibatches(self, targets: Targets) -> list[Targets]:
        """Targets of the updates to make, in order; with the gradient "dynamics" there is one update."""
        o = self.options.actor
        return [targets] if self._through_model else o.epochs * targets.split(o.minibatches)

    def losses(self, targets: Targets) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Loss of the actor, loss of the critic, and metrics."""
        gain, entropy = targets.advantage, targets.entropy
        if not self._through_model:  # clipped objective of PPO (Schulman et al. 2017)
            outputs = self.actor.outputs(targets.features)
            log_probability, entropy = self.actor.likelihood(outputs, targets.code)
            ratio = (log_probability - targets.log_probability).exp()
            gain = torch.minimum(ratio * gain, ratio.clamp(1 - _CLIP, 1 + _CLIP) * gain)
        actor_loss = -(targets.weight * (gain + self.options.actor.entropy * entropy)).mean()
        values = TwoHot(self.critic(*targets.features).float())
        likelihood = values.log_probability(targets.returns - self.value_offset)
        likelihood = likelihood + values.log_probability(targets.slow_value - self.value_offset)
        critic_loss = -(targets.weight * likelihood).mean()
        metrics = {
            "imagined_return": float(targets.returns.mean()),
            "imagined_reward": float(targets.reward.mean()),
            "entropy": float(entropy.detach().mean()),
            "actor_loss": float(actor_loss.detach()),
            "critic_loss": float(critic_loss.detach()),
        }
        return actor_loss, critic_loss, metrics

    def replay_loss(self, features: Features, batch: Batch) -> Tensor:
        """Loss of the critic on returns of replayed sequences (as in later versions of DreamerV3).

        Args:
            features: of the model's states, ``[T, L, B, N]`` and ``[L, B, Z]``.
            batch: the sequences, ``[L, B]``.
        """
        with torch.no_grad():
            values = self.value(self.slow_critic, features)
            discount = self.options.discount * (1 - batch.terminal)
            returns = replayed_returns(batch, discount, values, self.options.critic.trace_decay)
        but_last = Features(features.spikes[:, :-1], features.sample[:-1])
        predicted = TwoHot(self.critic(*but_last).float())
        return -predicted.log_probability(returns - self.value_offset).mean()

    def _return_scale(self, returns: Tensor) -> Tensor:
        """Running range from the 5 % to the 95 % quantile of returns, at least 1."""
        now = torch.quantile(returns.flatten(), returns.new_tensor(_QUANTILES))
        self.return_range.lerp_(now, _RANGE_RATE)
        return (self.return_range[1] - self.return_range[0]).clamp_min(_LEAST_RANGE)

    def update_offset(self, targets: Targets) -> None:
        """Shift all values by a share of the weighted mean of returns less values.

        Bootstrapped values alone grow by the rewards of one horizon at a time. The critic keeps the
        differences between states (as with centred rewards, Naik et al. 2024).
        """
        error = targets.weight * (targets.returns - targets.slow_value)
        self.value_offset += self.options.critic.offset_rate * error.sum() / targets.weight.sum()

    def update_slow_critic(self) -> None:
        """Move the slow critic towards the critic by the share ``critic.target_rate``."""
        with torch.no_grad():
            for slow, fast in zip(self.slow_critic.parameters(), self.critic.parameters()):
                slow.lerp_(fast, self.options.critic.target_rate)


def replayed_returns(batch: Batch, discount: Tensor, values: Tensor, decay: float) -> Tensor:
    """`lambda_returns` of replayed sequences that may contain several episodes, ``[L - 1, B]``.

    The return of the last state of an episode, or of a sequence, is its value.

    Args:
        batch: the sequences, ``[L, B]``.
        discount: of each step, 0 at terminal ones, ``[L, B]``.
        values: of the states, ``[L, B]``.
        decay: lambda.
    """
    later, returns = values[-1], []
    for t in range(len(values) - 2, -1, -1):
        ahead = (1 - decay) * values[t + 1] + decay * later
        later = batch.reward[t + 1] + discount[t + 1] * ahead
        later = torch.where(batch.first[t + 1] > 0, values[t], later)
        returns.append(later)
    return torch.stack(returns[::-1])


def lambda_returns(reward: Tensor, discount: Tensor, values: Tensor, decay: float) -> Tensor:
    """``R_t = r_t + d_t ((1 - lambda) v_t+1 + lambda R_t+1)``, ``[H, R]``, starting from the last value.

    Args:
        reward, discount: of each step, ``[H, R]``.
        values: of the states after each step, ``[H, R]``.
        decay: lambda.
    """
    later, returns = values[-1], []
    for r, d, v in zip(reward.flip(0), discount.flip(0), values.flip(0)):
        later = r + d * ((1 - decay) * v + decay * later)
        returns.append(later)
    return torch.stack(returns[::-1])
