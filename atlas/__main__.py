"""`python -m atlas`: the command line, where no script directory is on the path."""

from atlas.cli import main

main(prog_name="atlas")
