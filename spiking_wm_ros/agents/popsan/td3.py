"""TD3 (Fujimoto et al. 2018) with a spiking actor and a twin critic."""

import copy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm_ros.agents.popsan.options import Options
from spiking_wm_ros.snn.popsan import PopSAN
from spiking_wm_ros.snn.stacked import StackedLinear


class TwinCritic(nn.Module):
    """Two independent ReLU networks for the value of an action, evaluated together."""

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
        for layer in self.layers[:-1]:
            x = F.relu(torch.addmm(layer.bias[0], x, layer.weight[0]), inplace=True)
        return torch.addmm(self.layers[-1].bias[0], x, self.layers[-1].weight[0]).squeeze(-1)


class TD3(nn.Module):
    """Actor, critic, their targets and optimisers, and one update of them all.

    Args:
        actor: maps normalised observations to actions in ``[-1, 1]``.
        observation_size, action_size: widths of the critic's input.
        options: hyper-parameters.
    """

    def __init__(self, actor: PopSAN, observation_size: int, action_size: int, options: Options):
        super().__init__()
        self.options = options
        self.actor, self.critic = actor, TwinCritic(observation_size, action_size, options.critic_hidden)
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), options.actor_lr, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), options.critic_lr, fused=True)
        self.updates = 0

    def update(self, batch: dict[str, Tensor], generator: Generator) -> dict[str, float]:
        """One critic step, and every ``policy_delay``-th time an actor and target step.

        ``batch`` holds normalised ``observation`` and ``next_observation``, ``action`` in
        ``[-1, 1]``, ``reward`` and ``discount`` of the next observation's value ``[B, 1]``.
        """
        o = self.options
        observation, action, reward = batch["observation"], batch["action"], batch["reward"][:, 0]
        with torch.no_grad():
            noise = torch.randn(action.shape, generator=generator) * o.target_noise
            next_action = self.target_actor(batch["next_observation"])
            next_action = (next_action + noise.clamp(-o.noise_clip, o.noise_clip)).clamp(-1, 1)
            next_value = self.target_critic(batch["next_observation"], next_action).min(0).values
            target = reward + batch["discount"][:, 0] * next_value
        values = self.critic(observation, action)
        critic_loss = (values - target).square().mean(-1).sum()
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()
        self.updates += 1
        metrics = {"critic_loss": float(critic_loss.detach()), "value": float(values.detach().mean())}
        if self.updates % o.policy_delay == 0:
            self._improve_actor(observation)
        return metrics

    def _improve_actor(self, observation: Tensor) -> None:
        self.critic.requires_grad_(False)
        actor_loss = -self.critic.first(observation, self.actor(observation)).mean()
        self.actor_optimiser.zero_grad()
        actor_loss.backward()
        self.actor_optimiser.step()
        self.critic.requires_grad_(True)
        with torch.no_grad():
            for network, target in ((self.actor, self.target_actor), (self.critic, self.target_critic)):
                for online, slow in zip(network.parameters(), target.parameters()):
                    slow.lerp_(online, self.options.target_rate)
