"""Runs the command line as ``python -m rllama_sb3``."""

from rllama_sb3.cli import main

if __name__ == "__main__":
    main()
