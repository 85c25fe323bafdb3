"""Greedy games by a policy, outside of any graph or training."""

import gymnasium as gym

from spiking_wm.core.contract import Policy


def play(policy: Policy, env: gym.Env, seed: int, longest: int = 1_000_000) -> float:
    """Return of a game; as far as it went after so many steps."""
    observation, _ = env.reset(seed=seed)
    state, total = policy.initial_state(seed), 0.0
    for _ in range(longest):
        action, state = policy.act(policy.spaces.check_observation(observation), state, None)
        observation, reward, terminated, truncated, _ = env.step(action if action.ndim else action[()])
        state, total = policy.rewarded(state, float(reward)), total + float(reward)
        if terminated or truncated:
            break
    return total
