"""Agent names of earlier versions, so that old runs and bundles still load.

Former option names are declared with each option (``was=``); see `spiking_wm.core.options`.
"""

AGENTS = {"spiking_wm": "rssm"}  # agent names in bundles of version 0.1
