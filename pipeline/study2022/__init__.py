"""The 2022 study, reproduced to the last printed digit and then redone."""
