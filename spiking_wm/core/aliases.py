"""Names of earlier versions, by which old runs and bundles still load.

Former names of options stand where options are declared (``was=``); see `spiking_wm.core.options`.
"""

AGENTS = {"spiking_wm": "rssm"}  # agents that bundles of version 0.1 name
