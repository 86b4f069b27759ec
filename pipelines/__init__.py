"""One module a command: parse options, call gen and recon, show progress, write a run folder."""
