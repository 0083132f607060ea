"""The foundation: errors, the registry of components, settings, files on disk.

Imports nothing of polytask outside this folder, and no torch.
"""
