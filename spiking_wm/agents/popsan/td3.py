"""TD3 (Fujimoto et al. 2018) with a spiking actor and a twin critic."""

import copy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.agents.popsan.critics import CRITICS
from spiking_wm.agents.popsan.network import PopSAN
from spiking_wm.agents.popsan.noise import NOISE, Noise
from spiking_wm.agents.popsan.options import Options
from spiking_wm.core.adam import Adam


class Proxy(nn.Sequential):
    """A ReLU network in the actor's place."""

    def decoded(self, observation: Tensor) -> Tensor:
        """Actions ``[B, A]`` before the tanh, for normalised observations ``[B, D]``."""
        return self(observation)


def make_proxy(observation_size: int, action_size: int, hidden: tuple[int, ...]) -> Proxy:
    """A proxy of the actor."""
    widths = (observation_size, *hidden)
    layers = [part for i, o in zip(widths, widths[1:]) for part in (nn.Linear(i, o), nn.ReLU(inplace=True))]
    return Proxy(*layers, nn.Linear(widths[-1], action_size))


class TD3(nn.Module):
    """Actor, critic, their target networks and optimisers, and one update of all of them.

    With ``proxy.target`` the target actor is a ReLU network that learns to imitate the actor (Xu et al.
    2025, arXiv 2505.24161). Spikes make the output of a slowly moving copy of the actor jump; the output
    of a proxy changes smoothly.

    Args:
        actor: maps normalised observations to actions in ``[-1, 1]``.
        observation_size, action_size: widths of the critic's input.
        options: hyper-parameters.
    """

    def __init__(self, actor: PopSAN, observation_size: int, action_size: int, options: Options):
        super().__init__()
        self.options = options
        self.actor = actor
        self.critic = CRITICS[options.critic.kind](observation_size, action_size, options.critic.hidden)
        self.target_critic = copy.deepcopy(self.critic) if self.critic.has_target else None
        self.noise: Noise = NOISE[options.actor.noise](action_size, options)
        self.averaged_actor = copy.deepcopy(actor) if options.actor.averaging < 1 else None
        acting = [*self.actor.parameters(), *self.noise.parameters()]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "actor": Adam(acting, options.actor.lr, (options.actor.beta1, 0.999), fused=True),
            "critic": Adam(
                self.critic.parameters(), options.critic.lr, (options.critic.beta1, 0.999), fused=True
            ),
        }
        self.target_actor: PopSAN | Proxy
        if options.proxy.target:
            self.target_actor = make_proxy(observation_size, action_size, options.actor.hidden)
            parameters = self.target_actor.parameters()
            self.optimisers["proxy"] = Adam(parameters, options.proxy.lr, fused=True)
        else:
            self.target_actor = copy.deepcopy(self.actor)
        self.updates = 0

    @property
    def acting_actor(self) -> PopSAN:
        """The actor to act with: averaged over updates, or the newest."""
        return self.actor if self.averaged_actor is None else self.averaged_actor

    def update(
        self, batch: dict[str, Tensor], generator: Generator, improve_actor: bool = True
    ) -> dict[str, float]:
        """One critic step, and every ``policy_delay`` updates one actor step and one target step.

        Args:
            batch: normalised ``observation`` and ``next_observation`` ``[B, D]``, ``action`` in
                ``[-1, 1]`` ``[B, A]``, ``reward`` ``[B, 1]``, and ``discount`` ``[B, 1]``, the factor on
                the next observation's value (0 if terminated).
            generator: source of target noise.
            improve_actor: False leaves the actor and what follows it as they are.
        """
        o = self.options
        observation, action, reward = batch["observation"], batch["action"], batch["reward"][:, 0]
        with torch.no_grad():
            decoded = self.target_actor.decoded(batch["next_observation"])
            next_action, bonus = self.noise.next(decoded, generator)
        values, next_values = self._values(observation, action, batch["next_observation"], next_action)
        target = reward + batch["discount"][:, 0] * (next_values.min(0).values + bonus)
        critic_loss = (values - target).square().mean(-1).sum()
        self._step("critic", critic_loss)
        self.updates += 1
        metrics = {"critic_loss": float(critic_loss.detach()), "value": float(values.detach().mean())}
        if self.updates % o.policy_delay == 0:
            if improve_actor:
                self._improve_actor(observation, generator)
            if self.target_critic is not None:
                self._follow(self.critic, self.target_critic, o.target.rate)
        return metrics

    def _values(
        self, observation: Tensor, action: Tensor, next_observation: Tensor, next_action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Values now, and for the targets the next ones, without gradients; both ``[2, B]``."""
        if self.target_critic is None:
            both = torch.cat([observation, next_observation]), torch.cat([action, next_action])
            values, next_values = self.critic(*both).chunk(2, -1)
            return values, next_values.detach()
        with torch.no_grad():
            next_values = self.target_critic(next_observation, next_action)
        return self.critic(observation, action), next_values

    def _improve_actor(self, observation: Tensor, generator: Generator) -> None:
        self.critic.requires_grad_(False)
        decoded = self.actor.decoded(observation)
        action, loss = self.noise.improve(decoded, generator)
        self._step("actor", (loss - self.critic.first(observation, action)).mean())
        self.critic.requires_grad_(True)
        if self.averaged_actor is not None:
            self._follow(self.actor, self.averaged_actor, self.options.actor.averaging)
        if self.options.proxy.target:
            for _ in range(self.options.proxy.updates):
                imitated = torch.tanh(self.target_actor.decoded(observation))
                self._step("proxy", F.mse_loss(imitated, torch.tanh(decoded.detach())))
        else:
            self._follow(self.actor, self.target_actor, self.options.target.rate)

    def _step(self, network: str, loss: Tensor) -> None:
        optimiser = self.optimisers[network]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    @torch.no_grad()
    def _follow(self, network: nn.Module, slow: nn.Module, rate: float) -> None:
        torch._foreach_lerp_([*slow.parameters()], [*network.parameters()], rate)
