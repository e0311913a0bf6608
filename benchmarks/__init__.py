"""What `make bench` runs: ours beside a reference, in turn, on the same machine."""
