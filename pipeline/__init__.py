"""How the stages of `components` are joined, where they run, and the command line."""
