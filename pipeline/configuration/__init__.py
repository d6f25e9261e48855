"""How a command of Hydra is read: configuration, files of conf/, launchers."""
