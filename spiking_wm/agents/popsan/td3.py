"""TD3 (Fujimoto et al. 2018) with a spiking actor and a twin critic."""

import copy
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.agents.popsan.network import PopSAN
from spiking_wm.agents.popsan.options import Options
from spiking_wm.neurons.stacked import StackedLinear


class TwinCritic(nn.Module):
    """Two independent ReLU networks for the value of an action, evaluated as one stacked network."""

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...]):
        super().__init__()
        widths = (observation_size + action_size, *hidden, 1)
        self.layers = nn.ModuleList(StackedLinear(2, i, o) for i, o in zip(widths, widths[1:]))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[2, B]`` for ``[B, D]`` and ``[B, A]``."""
        x = torch.cat([observation, action], -1).expand(2, -1, -1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x), inplace=True)
        return self.layers[-1](x).squeeze(-1)

    def first(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[B]`` of the first network alone."""
        x = torch.cat([observation, action], -1)
        *hidden, last = cast("Iterable[StackedLinear]", self.layers)
        for layer in hidden:
            x = F.relu(torch.addmm(layer.bias[0], x, layer.weight[0]), inplace=True)
        return torch.addmm(last.bias[0], x, last.weight[0]).squeeze(-1)


def make_proxy(observation_size: int, action_size: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """A ReLU network that maps normalised observations ``[B, D]`` to actions ``[B, A]`` in ``[-1, 1]``."""
    widths = (observation_size, *hidden)
    layers = [part for i, o in zip(widths, widths[1:]) for part in (nn.Linear(i, o), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers, nn.Linear(widths[-1], action_size), nn.Tanh())


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
        self.actor, self.critic = actor, TwinCritic(observation_size, action_size, options.critic.hidden)
        self.target_critic = copy.deepcopy(self.critic)
        self.target_actor: nn.Module
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "actor": torch.optim.Adam(self.actor.parameters(), options.actor.lr, fused=True),
            "critic": torch.optim.Adam(self.critic.parameters(), options.critic.lr, fused=True),
        }
        if options.proxy.target:
            self.target_actor = make_proxy(observation_size, action_size, options.critic.hidden)
            parameters = self.target_actor.parameters()
            self.optimisers["proxy"] = torch.optim.Adam(parameters, options.proxy.lr, fused=True)
        else:
            self.target_actor = copy.deepcopy(self.actor)
        self.updates = 0

    def update(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, float]:
        """One critic step, and every ``policy_delay`` updates one actor step and one target step.

        Args:
            batch: normalised ``observation`` and ``next_observation`` ``[B, D]``, ``action`` in
                ``[-1, 1]`` ``[B, A]``, ``reward`` ``[B, 1]``, and ``discount`` ``[B, 1]``, the factor on
                the next observation's value (0 if terminated).
            generator: source of target noise.
        """
        o = self.options
        observation, action, reward = batch["observation"], batch["action"], batch["reward"][:, 0]
        with torch.no_grad():
            noise = torch.randn(action.shape, generator=generator) * o.target.noise
            next_action = self.target_actor(batch["next_observation"])
            next_action = (next_action + noise.clamp(-o.target.noise_clip, o.target.noise_clip)).clamp(-1, 1)
            next_value = self.target_critic(batch["next_observation"], next_action).min(0).values
            target = reward + batch["discount"][:, 0] * next_value
        values = self.critic(observation, action)
        critic_loss = (values - target).square().mean(-1).sum()
        self._step("critic", critic_loss)
        self.updates += 1
        metrics = {"critic_loss": float(critic_loss.detach()), "value": float(values.detach().mean())}
        if self.updates % o.policy_delay == 0:
            self._improve_actor(observation)
        return metrics

    def _improve_actor(self, observation: Tensor) -> None:
        self.critic.requires_grad_(False)
        action = self.actor(observation)
        self._step("actor", -self.critic.first(observation, action).mean())
        self.critic.requires_grad_(True)
        self._follow(self.critic, self.target_critic)
        if self.options.proxy.target:
            for _ in range(self.options.proxy.updates):
                self._step("proxy", F.mse_loss(self.target_actor(observation), action.detach()))
        else:
            self._follow(self.actor, self.target_actor)

    def _step(self, network: str, loss: Tensor) -> None:
        optimiser = self.optimisers[network]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    @torch.no_grad()
    def _follow(self, network: nn.Module, target: nn.Module) -> None:
        torch._foreach_lerp_([*target.parameters()], [*network.parameters()], self.options.target.rate)
