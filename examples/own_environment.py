"""Train in an environment of your own: any Gymnasium environment, given by a function that makes it."""

import gymnasium as gym
import numpy as np

import spiking_wm


class Reach(gym.Env):
    """A point on a line is to reach a target that is shown beside it."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Begin with a point and a target at random places."""
        super().reset(seed=seed)
        self.state, self.steps = self.np_random.uniform(-1, 1, 2).astype(np.float32), 0
        return self.state.copy(), {}

    def step(self, action):
        """Move by up to a tenth; what counts is how near the target is."""
        self.state[0] = np.clip(self.state[0] + 0.1 * float(action[0]), -1, 1)
        self.steps += 1
        distance = abs(float(self.state[0] - self.state[1]))
        return self.state.copy(), -distance, False, self.steps == 30, {}


def main() -> None:
    """Train with dreams, and compare with the untrained policy."""
    run = spiking_wm.train(
        "popsan_dream",
        Reach,
        steps=1000,
        evaluation={"every": 500, "episodes": 5},
        actor={"hidden": [32, 32]},
        critic={"hidden": [64, 64]},
        warmup=200,
        learn_after=200,
    )
    first, *_, last = run.evaluations
    print(f"mean return before {first.mean:.1f}, after {last.mean:.1f}")

    policy, env = spiking_wm.load_policy(run), Reach()
    observation, _ = env.reset(seed=1)
    policy.reset()
    for _ in range(30):
        observation, *_ = env.step(policy.act(observation))
    print(f"point {observation[0]:.2f}, target {observation[1]:.2f}")


if __name__ == "__main__":
    main()
