"""Backends that run the spiking network of a policy; ``policy_backend:=NAME`` chooses one.

A backend is a folder here with ``options.Options`` and ``backend.Backend``; its name is the folder's.
"""
