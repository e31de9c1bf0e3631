"""`python -m client` is the command `taskmill`."""

import sys

if __name__ == "__main__":
    try:
        from client.command.app import main

        sys.exit(main())
    except KeyboardInterrupt:  # before there was anything to interrupt
        sys.exit(130)
