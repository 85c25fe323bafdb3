"""Environments. Importing this registers their ids; a package that one needs is imported when it is made."""

from spiking_wm.envs.registration import register

register()
