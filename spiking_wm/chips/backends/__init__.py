"""Backends that run the spiking network of a policy; ``policy_backend:=NAME`` chooses one.

A backend is a folder of this package with ``options.Options`` and ``backend.Backend``, named as the folder.
"""
