"""The mitigation lab: training experiments in sweeps that can be killed, and what they say in numbers."""
