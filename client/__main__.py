"""`python -m client` is the command `taskmill`."""

import sys

from client.command.app import main

if __name__ == "__main__":
    sys.exit(main())
