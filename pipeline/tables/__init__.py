"""Records -> tables: the study's grid, leaderboards, correlations, intervals."""
