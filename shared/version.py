"""The version of Taskmill; a test holds it equal to the project file."""

from typing import Final

VERSION: Final = "0.1.0"
