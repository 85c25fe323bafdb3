"""Environments. Importing this package registers their ids; dependencies are imported when one is made."""

from spiking_wm.envs.registration import register

register()
