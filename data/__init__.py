"""CSV files read by ``causalweights.datasets``; README.md says what each holds."""
