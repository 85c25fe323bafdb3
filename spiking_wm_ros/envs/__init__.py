"""Environments as the stack sees them. No ROS here."""

import gymnasium

gymnasium.register("Rover-v0", "spiking_wm_ros.envs.rover:Rover", max_episode_steps=1000)
gymnasium.register("PongRam-v0", "spiking_wm_ros.envs.atari:PongRam", max_episode_steps=100)
gymnasium.register("PongPixels-v0", "spiking_wm_ros.envs.atari:PongPixels", max_episode_steps=100)
gymnasium.register("BoxingPixels-v0", "spiking_wm_ros.envs.atari:BoxingPixels", max_episode_steps=100)
