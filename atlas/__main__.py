"""``python -m atlas`` is ``atlas``; `torchrun … -m atlas train` starts it in several processes."""

from atlas.cli import main

if __name__ == "__main__":
    main(prog_name="atlas")
