"""`python -m gence.cli` is `gence`."""

from gence.cli import main

if __name__ == "__main__":
    main()
