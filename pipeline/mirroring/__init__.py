"""Records shown in experiment trackers, one module per tracker."""
