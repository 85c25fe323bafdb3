"""PopSAN + TD3 + an ensemble of spiking world models with uncertainty-filtered dreaming."""

from spiking_wm_ros.agents.popsan.agent import PopSANAgent as Agent

__all__ = ["Agent"]
