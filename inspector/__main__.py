"""`python -m inspector`, and the program `inspector`."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C ends it in silence, even while it is still being loaded."""
    try:
        from inspector.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
